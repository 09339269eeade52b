# SPDX-License-Identifier: Apache-2.0
"""The short form of `make soak`: every fault once, and some at random, under all kinds of load."""

import os
import subprocess
import sys

import pytest
from harness import BUILD

pytestmark = [pytest.mark.stm_only, pytest.mark.needs_root]


def test_short_soak():
    """Nothing is lost except with VPs that were ended on purpose; nothing else ends, nothing
    leaks."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.soak.soak", "--duration", "12", "--pause", "0.5",
         "--each"], env={**os.environ, "STM_TEST_BUILD": str(BUILD)}, timeout=300, check=False,
        capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
