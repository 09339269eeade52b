# SPDX-License-Identifier: Apache-2.0
"""Requests that wait in other people's modules."""
