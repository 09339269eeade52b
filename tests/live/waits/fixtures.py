# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests with waits: an event loop, gates and backends, which end with the tests that
use them."""

import pytest

from .gates import FileGate, Loop


@pytest.fixture(scope="session")
def loop():
    """The event loop on which all backends live."""
    made = Loop()
    yield made
    made.end()


@pytest.fixture(scope="module")
def backend(loop):
    """backend(Kind, ...) starts one of the backends of backends.py."""
    made = []

    def make(kind, *arguments, **more):
        made.append(kind(loop, *arguments, **more))
        return made[-1]
    yield make
    for each in made:
        each.gate.open()
        each.end()


@pytest.fixture
def file_gate():
    """file_gate(folder) makes a gate for processes, which opens when the test ends."""
    made = []

    def make(folder):
        made.append(FileGate(folder))
        return made[-1]
    yield make
    for each in made:
        each.end()
