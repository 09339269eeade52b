# SPDX-License-Identifier: Apache-2.0
"""A server whose module has been stripped, as a package ships it."""

import subprocess

from harness import places, wait_for


def start_stripped(server):
    """Starts the server with a copy of the module that has no debugging information, and no symbols
    but the dynamic ones. Returns the copy's path."""
    module = server.private_folder("module") / "mod_mpm_stm.so"
    subprocess.run(["strip", "-o", module, places.STM_MODULE], check=True)
    server.configure()
    server.conf.write_text(server.conf.read_text().replace(str(places.STM_MODULE), str(module)))
    assert server.control("-k", "start").returncode == 0
    server.master = wait_for(server.pid_in_file, "the pid file")
    server.wait_ready()
    return module
