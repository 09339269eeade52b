# SPDX-License-Identifier: Apache-2.0
"""Third-party modules: gates and backends are those of tests/live/waits."""

import pytest

pytest.register_assert_rewrite(f"{__package__}.pair")

# pylint: disable=wrong-import-position
from tests.live.waits.fixtures import backend, file_gate, loop  # noqa: F401 (used by name)
