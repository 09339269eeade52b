# SPDX-License-Identifier: Apache-2.0
"""The lab: watch what each MPM does with many connections."""
