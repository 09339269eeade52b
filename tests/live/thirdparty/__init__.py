# SPDX-License-Identifier: Apache-2.0
"""Requests that wait in third-party modules."""
