# SPDX-License-Identifier: Apache-2.0
"""The dashboard in a real browser, where one is installed (package chromium or
chromium-headless-shell): it shows the figures, and nothing is refused or fails."""

import json
import os
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
    found = re.search(rf'id="{element}"[^>]*>(.*?)</(?:div|table)>\s*<'
                      r"(?:div|h2|canvas|script|/?main)", dom, re.S)
    return re.sub(r"<[^>]+>", " ", found.group(1))


SITE = """
    <Location /deep/below/dash>
        SetHandler stm-dashboard
    </Location>
    <Location /waits>
        SetHandler stm-threads
    </Location>
    <Location /figures>
        SetHandler stm-metrics
    </Location>
    <Location /server-status>
        SetHandler server-status
        {access}
    </Location>
    """
DASHBOARD = "/deep/below/dash"

# Waits for the figures, then notes how wide the page's contents are in a frame of that width.
FRAME = """<!DOCTYPE html><body>
<iframe src="{path}" style="width: {width}px; height: 5000px; border: 0"></iframe>
<p id="wide"></p><script>
setInterval(() => {{
  const page = document.querySelector("iframe").contentDocument;
  if (page.body && page.body.innerText.includes("as of"))
    document.getElementById("wide").textContent = page.documentElement.scrollWidth;
}}, 500);
</script>"""


class Front(ThreadingHTTPServer):
    """Passes requests on to the server, as a proxy would. Can pretend that it has gone after some
    figures, and has pages with the dashboard in a frame, which its policy forbids elsewhere."""

    daemon_threads = True

    def __init__(self, server, figures=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind, self.left = server, figures
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *exc):
        self.shutdown()
        super().__exit__(*exc)


class Handler(BaseHTTPRequestHandler):
    """One request to Front."""

    def do_GET(self):
        if self.path.startswith("/frame/"):
            self.reply(FRAME.format(path=DASHBOARD, width=self.path.rpartition("/")[2]).encode(),
                       "text/html")
            return
        if self.path.endswith("?json") and self.server.left is not None:
            if self.server.left == 0:
                return  # closes the connection: nobody is there any more
            self.server.left -= 1
        got = self.server.behind.get(self.path)
        self.reply(got.body, got.headers["content-type"])

    def reply(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def dashboard(serve):
    """A factory of servers with the pages."""
    def start(access=""):
        return serve(processes=2, modules=("status",), directives=SITE.format(access=access))
    return start


def bars(dom):
    """(value, limit, percentage of the bar's width) of everything that says "3 of 64"."""
    return [(int(value), int(limit), float(width)) for width, value, limit in re.findall(
        r'class="bar" style="width: ([\d.]+)%;"></span></span>(\d+) of (\d+)', dom)]


def test_in_a_browser(dashboard, tmp_path):
    server = dashboard()
    server.allowed.append(r"AH00052|died of signal")
    victim = server.children()[0]
    os.kill(victim, 9)
    wait_for(lambda: victim not in server.children() and len(server.children()) == 2,
             "a replacement")
    server.wait_ready()
    dom, console = browse(tmp_path, f"http://127.0.0.1:{server.port}{DASHBOARD}", 5000)
    assert console == []
    assert re.search(r'<h1 id="host">[^<]*127\.0\.0\.1', dom)
    assert re.search(r'id="about">Apache/[^<]*, MPM stm, up \d+ (s|min)<', dom)
    assert ('<a href="../../server-status">status</a><a href="../../waits">threads</a>'
            '<a href="../../figures">metrics</a>') in dom
    assert "as of " in text_of(dom, "note")
    assert re.search(r"\d+ +requests per second", text_of(dom, "tiles"))
    for pid in server.children():
        assert str(pid) in text_of(dom, "vps")
    assert f"127.0.0.1:{server.port}" in text_of(dom, "listeners")
    assert re.search(r"VP \d +incarnation 2 ", text_of(dom, "restarts"))
    assert "under 64 µs" in text_of(dom, "turns") and "from 1 s" in text_of(dom, "turns")


def test_bars_are_as_long_as_they_say(dashboard, tmp_path):
    """One of 64 threads is busy serving the page itself."""
    server = dashboard()
    dom, _ = browse(tmp_path, f"http://127.0.0.1:{server.port}{DASHBOARD}", 3000)
    found = bars(dom)
    assert {limit for _, limit, _ in found} > {64} and any(value for value, _, _ in found)
    for value, limit, width in found:
        assert width == pytest.approx(100 * value / limit, abs=0.01)
    shares = [(float(said), float(width)) for said, width in re.findall(
        r'<td>([\d.]+) %</td><td><span class="bar" style="width: ([\d.]+)%', dom)]
    assert len(shares) > 16
    for said, width in shares:
        assert said == pytest.approx(width, abs=0.51)


def test_it_links_only_to_what_the_client_may_see(dashboard):
    about = json.loads(dashboard("Require all denied").get(f"{DASHBOARD}?about").text)
    assert about["mpm"] == "stm" and about["metrics"] == "/figures" and "status" not in about
    assert about["threads"] == "/waits"


def test_a_server_that_is_gone(dashboard, tmp_path):
    """The last figures stay, dimmed, and the page says since when."""
    with Front(dashboard(), figures=2) as front:
        dom, _ = browse(tmp_path, f"{front.url}{DASHBOARD}", 15000)
        assert front.left == 0
    assert '<body class="gone">' in dom
    assert re.search(r"No figures since \d+:\d\d:\d\d.*\(\d+ s\): the server cannot be reached",
                     text_of(dom, "note"))
    assert len(re.findall(r"\d of 64", text_of(dom, "vps"))) == 2


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(dashboard, tmp_path, width):
    with Front(dashboard()) as front:
        dom, _ = browse(tmp_path, f"{front.url}/frame/{width}", 8000)
    assert re.search(r'id="wide">(\d*)<', dom).group(1) == str(width)


def test_a_page_that_breaks_the_policy_would_be_seen(serve, tmp_path):
    """Checks that an empty console means something."""
    server = serve(modules=("headers",), directives="""
        Header set Content-Security-Policy "default-src 'none'"
        """)
    server.page("bad.html", "<html><body><script>document.title = 'x'</script></body></html>")
    _, console = browse(tmp_path, f"http://127.0.0.1:{server.port}/bad.html", 1000)
    assert any("Content Security Policy" in line for line in console)
