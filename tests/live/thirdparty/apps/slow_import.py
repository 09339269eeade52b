# SPDX-License-Identifier: Apache-2.0
"""A module that takes a while to import: others that import it meanwhile must wait until that is
done."""

import sys
import time

TIMES = getattr(sys, "slow_imports", 0) + 1
sys.slow_imports = TIMES
time.sleep(0.2)
ANSWER = 42
