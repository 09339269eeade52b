# SPDX-License-Identifier: Apache-2.0
"""Hours of mixed load, with something going wrong every few seconds: docs/soak.md."""
