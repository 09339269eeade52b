# SPDX-License-Identifier: Apache-2.0
"""How deeply modules use a state thread's stack."""
