# SPDX-License-Identifier: Apache-2.0
"""The live tests' harness: private httpd servers, raw clients, and a look at processes.

Used by tests/live/test_*.py and by bench/httpd/.
"""

from .client import Conn, Response
from .places import BUILD, MODULES, MPM, ROOT, tool
from .server import Server, StartError
from .waiting import wait_for

__all__ = ["BUILD", "MODULES", "MPM", "ROOT", "Conn", "Response", "Server", "StartError", "tool",
           "wait_for"]
