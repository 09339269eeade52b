# SPDX-License-Identifier: Apache-2.0
"""Private httpd servers, raw clients, inspection of processes, and plots of measurements.

Used by the tests, the benchmarks and the lab.
"""

from .client import Conn, Response
from .places import BUILD, MODULES, MPM, ROOT, tool
from .server import Server, StartError
from .waiting import wait_for

__all__ = ["BUILD", "MODULES", "MPM", "ROOT", "Conn", "Response", "Server", "StartError", "tool",
           "wait_for"]
