# SPDX-License-Identifier: Apache-2.0
"""Tests that drive a live server."""
