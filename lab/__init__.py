# SPDX-License-Identifier: Apache-2.0
"""The lab: what each MPM does with many connections, to be watched."""
