# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of waits."""

import pytest

from .fixtures import backend, file_gate, loop  # noqa: F401 (used by name)

# What a VP serves it serves itself, even if the machine stands still now and then.
STAY = """
<IfModule mpm_stm_module>
    RunOn state
</IfModule>
"""


@pytest.fixture(name="serve")
def serve_here(serve):
    """The factory, of servers none of whose requests is moved to a kernel thread."""
    serve.always = STAY
    return serve


@pytest.fixture(name="serve_module", scope="module")
def serve_module_here(serve_module):
    """The same for all tests of a file."""
    serve_module.always = STAY
    return serve_module
