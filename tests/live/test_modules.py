# SPDX-License-Identifier: Apache-2.0
"""Every module that Debian ships loads with the MPM and serves a page."""

import re
import shutil
import subprocess

import pytest
from harness import MODULES
from harness.places import APXS

# A module must come after those it calls.
FIRST = ("cache", "dav", "dbd", "ldap", "proxy", "session", "slotmem_shm", "socache_shmcb",
         "watchdog", "xml2enc", "authn_core", "authz_core", "http2")


def shipped_files():
    """What apache2-bin puts into the folder of modules; other packages put theirs there, too.
    Another httpd's folder (STM_TEST_APXS) has only its own."""
    there = set(MODULES.glob("mod_*.so"))
    if APXS or not shutil.which("dpkg-query"):
        return there
    run = subprocess.run(["dpkg-query", "-L", "apache2-bin"], capture_output=True, text=True,
                         check=False)
    shipped = {MODULES / line.rsplit("/", 1)[-1] for line in run.stdout.splitlines()
               if "/modules/mod_" in line}
    return there & shipped if shipped else there


def stock_modules():
    """Names of all of httpd's own modules except the MPMs, in an order in which they load."""
    names = {path.name.removeprefix("mod_").removesuffix(".so") for path in shipped_files()}
    names = {name for name in names if not name.startswith("mpm_")}
    return [name for name in FIRST if name in names] + sorted(names - set(FIRST))


@pytest.mark.parametrize("one_process", [False, True], ids=["normal", "one_process"])
def test_all_together(serve, one_process):
    server = serve.make(modules=stock_modules(), tls=True, directives="ScriptSock cgisock\n")
    if one_process:
        server.start_attached("-X")
    else:
        server.start()
    for _ in range(20):
        assert "It works!" in server.get("/").text
    with server.connect_tls() as conn:
        assert "It works!" in conn.get("/").text
    listed = server.control("-M").stdout
    missing = [name for name in stock_modules() if not re.search(rf" {name}_module ", listed)]
    assert missing == []


@pytest.mark.parametrize("name", stock_modules())
def test_alone(serve, name):
    """Each module by itself, with what it needs; -t is enough, since the server starts with all
    above."""
    needs = [first for first in FIRST if name.startswith(first + "_")]
    needs += {"authnz_ldap": ["ldap"], "proxy_html": ["xml2enc"], "authn_dbd": ["dbd"],
              "heartbeat": ["watchdog"], "md": ["watchdog"],
              "authz_dbd": ["dbd"], "session_dbd": ["dbd"], "authn_socache": ["socache_shmcb"],
              "proxy_hcheck": ["slotmem_shm"], "cache_socache": ["socache_shmcb"]}.get(name, [])
    server = serve.make(modules=[*needs, name])
    server.configure()
    run = server.control("-t")
    assert run.returncode == 0, run.stderr
