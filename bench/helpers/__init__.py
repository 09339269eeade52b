# SPDX-License-Identifier: Apache-2.0
"""The memory of look-ups that wait."""
