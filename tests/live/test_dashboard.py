# SPDX-License-Identifier: Apache-2.0
"""The dashboard in a real browser, where one is installed (package chromium or
chromium-headless-shell): it shows the figures, and nothing is refused or fails."""

import os
import re
import shutil
import subprocess

import pytest
from harness import MPM, wait_for

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
pytestmark = [pytest.mark.skipif(MPM != "stm", reason="STM's own dashboard"),
              pytest.mark.skipif(BROWSER is None, reason="there is no chromium")]


def browse(tmp_path, url, milliseconds):
    """The page after this many (virtual) milliseconds, and the output of the browser's console."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    run = subprocess.run(
        [BROWSER, "--headless", *sandbox, "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path}", f"--virtual-time-budget={milliseconds}", "--dump-dom", url],
        capture_output=True, text=True, timeout=120, check=True)
    return run.stdout, re.findall(r"CONSOLE.*", run.stderr)


def text_of(dom, element):
    """The text of the element with the given id."""
    found = re.search(rf'id="{element}"[^>]*>(.*?)</(?:div|table)>\s*<(?:div|h2|canvas|script)',
                      dom, re.S)
    return re.sub(r"<[^>]+>", " ", found.group(1))


def test_in_a_browser(serve, tmp_path):
    server = serve(processes=2, directives="""
        <Location /deep/below/dash>
            SetHandler stm-dashboard
        </Location>
        """)
    server.allowed.append(r"AH00052|died of signal")
    victim = server.children()[0]
    os.kill(victim, 9)
    wait_for(lambda: victim not in server.children() and len(server.children()) == 2,
             "a replacement")
    server.wait_ready()
    dom, console = browse(tmp_path, f"http://127.0.0.1:{server.port}/deep/below/dash", 5000)
    assert console == []
    assert "as of " in text_of(dom, "note")
    assert re.search(r"\d+ +requests/s", text_of(dom, "tiles"))
    for pid in server.children():
        assert str(pid) in text_of(dom, "vps")
    assert f"127.0.0.1:{server.port}" in text_of(dom, "listeners")
    assert re.search(r"VP \d +incarnation 2 ", text_of(dom, "restarts"))
    assert "under 64 us" in text_of(dom, "turns")


def test_a_page_that_breaks_the_policy_would_be_seen(serve, tmp_path):
    """Checks that an empty console means something."""
    server = serve(modules=("headers",), directives="""
        Header set Content-Security-Policy "default-src 'none'"
        """)
    server.page("bad.html", "<html><body><script>document.title = 'x'</script></body></html>")
    _, console = browse(tmp_path, f"http://127.0.0.1:{server.port}/bad.html", 1000)
    assert any("Content Security Policy" in line for line in console)
