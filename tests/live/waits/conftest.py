# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of waits."""

from .fixtures import backend, file_gate, loop  # noqa: F401 (used by name)
