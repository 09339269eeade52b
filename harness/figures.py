# SPDX-License-Identifier: Apache-2.0
"""How the reports of benchmarks and lab write figures."""


def shown(value):
    """A figure with few digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"
