# SPDX-License-Identifier: Apache-2.0
"""How deep modules use a state thread's stack."""
