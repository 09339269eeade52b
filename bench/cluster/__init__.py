# SPDX-License-Identifier: Apache-2.0
"""The memory cost of waiting look-ups."""
