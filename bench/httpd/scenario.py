# SPDX-License-Identifier: Apache-2.0
"""The parts of a scenario of the comparison. The scenarios are in scenarios.py and holdups.py."""

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
    against: str = ""        # a server to compare with; none: the figure itself
    at_least: float = 0
    at_most: float = 0
    stretch: bool = False    # hoped for


@dataclass
class Scenario:
    """One family of rows of the result."""

    name: str
    title: str
    measure: Callable
    need: Need
    targets: list = field(default_factory=list)
    backend: bool = False  # needs the backend of the proxy scenarios
    things: dict = field(default_factory=dict)  # what else it needs: functions, by name in Need
    rounds: int = 0        # maximum number of rounds; 0: as many as requested
    about: float = 4       # seconds that a round takes, for the first estimate of the time left
    bound: int = 0         # seconds after which it has failed; 0: compare.STEP_BOUND
    without: dict = field(default_factory=dict)  # servers that cannot do it, and why
