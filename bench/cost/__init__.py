# SPDX-License-Identifier: Apache-2.0
"""What a request costs: user instructions and system calls."""
