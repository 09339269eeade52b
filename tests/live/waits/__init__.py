# SPDX-License-Identifier: Apache-2.0
"""Requests that wait, for whatever httpd's own modules wait for."""
