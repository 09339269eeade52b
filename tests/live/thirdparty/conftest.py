# SPDX-License-Identifier: Apache-2.0
"""Other people's modules: gates and backends are those of tests/live/waits."""

import sys

import pytest
from harness import ROOT

pytest.register_assert_rewrite("pair")
sys.path.append(str(ROOT / "tests/live/waits"))

from fixtures import backend, file_gate, loop  # noqa: E402,F401 (the path comes first)
