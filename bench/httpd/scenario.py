# SPDX-License-Identifier: Apache-2.0
"""What a scenario of the comparison is made of. scenarios.py and holdups.py have them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from .servers import Need


@dataclass
class Run:
    """How long a measurement may take."""

    seconds: int = 3   # of load
    warm_up: int = 1


@dataclass
class Target:
    """What a figure of stm, or its ratio to another server's, should be."""

    figure: str
    against: str = ""        # a server; none: the figure itself
    at_least: float = 0
    at_most: float = 0
    stretch: bool = False    # hoped for


@dataclass
class Scenario:
    """One row family of the result."""

    name: str
    title: str
    measure: Callable
    need: Need
    targets: list = field(default_factory=list)
    backend: bool = False  # needs the backend of the proxy scenarios
    things: dict = field(default_factory=dict)  # what else it needs: makers, by the name in Need
    rounds: int = 0        # how many rounds at most; 0: as many as asked for
    about: float = 4       # seconds that a round takes, for the first estimate of the time left
    without: dict = field(default_factory=dict)  # servers that cannot, and why
