# SPDX-License-Identifier: Apache-2.0
"""The memory of idle connections by protocol."""
