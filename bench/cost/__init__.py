# SPDX-License-Identifier: Apache-2.0
"""httpd under load: stm beside the other MPMs and nginx."""
