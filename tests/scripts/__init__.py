# SPDX-License-Identifier: Apache-2.0
"""Tests of the scripts that build, start, stop, install and count."""
