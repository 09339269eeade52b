# SPDX-License-Identifier: Apache-2.0
"""How costs grow with connections and with VPs."""
