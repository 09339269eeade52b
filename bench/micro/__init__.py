# SPDX-License-Identifier: Apache-2.0
"""Microbenchmarks of libst's primitives."""
