# SPDX-License-Identifier: Apache-2.0
"""OpenMetrics, read by Prometheus's own parser, and the dashboard."""

import json
import re

import pytest
from harness import MPM, wait_for
from harness.scoreboard import stmstat

prometheus = pytest.importorskip("prometheus_client.openmetrics.parser")
pytestmark = pytest.mark.skipif(MPM != "stm", reason="STM's own metrics")

PAGES = """
    ScoreboardDir scoreboards
    <Location /metrics>
        SetHandler stm-metrics
    </Location>
    <Location /below/a/prefix/dash>
        SetHandler stm-dashboard
    </Location>
    """


@pytest.fixture(name="server", scope="module")
def _server(serve_module):
    return serve_module(processes=2, directives=PAGES)


def families(text):
    """The parsed metrics, by name."""
    return {family.name: family for family in prometheus.text_string_to_metric_families(text)}


def value(text, name):
    """Sum of a metric's samples."""
    family = families(text)[name.removesuffix("_total")]
    return sum(sample.value for sample in family.samples if sample.name == name)


def test_the_parser_takes_it(server):
    got = server.get("/metrics")
    assert got.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    found = families(got.text)
    for name, family in found.items():
        assert family.documentation, name
        assert name.startswith("stm_")
        for sample in family.samples:
            assert set(sample.labels) <= {"vp", "address", "le"}
    assert found["stm_vp_requests"].type == "counter"
    assert found["stm_vp_sent_bytes"].unit == "bytes"
    assert found["stm_vp_turn_seconds"].type == "histogram"
    assert found["stm_listener_connections"].samples[0].labels["address"] == \
        f"127.0.0.1:{server.port}"


def test_values(server):
    def counted():
        return value(stmstat("-d", server.root / "scoreboards", "-o").stdout,
                     "stm_vp_requests_total")
    server.get("/")
    # A response can arrive before its request has been counted.
    start = wait_for(lambda: (lambda n: n if n == len(server.access_log()) else 0)(counted()),
                     "the requests so far")
    for _ in range(10):
        server.get("/")
    wait_for(lambda: counted() == start + 10, "ten more")
    text = server.get("/metrics").text
    assert (value(text, "stm_vp_requests_total"), value(text, "stm_vp_up")) == (start + 10, 2)


def test_stmstat_prints_the_same(server):
    mine = families(stmstat("-d", server.root / "scoreboards", "-o").stdout)
    theirs = families(server.get("/metrics").text)
    assert list(mine) == list(theirs)
    for name, family in mine.items():
        assert [(sample.name, sample.labels) for sample in family.samples] == \
            [(sample.name, sample.labels) for sample in theirs[name].samples]


def test_grafana_asks_for_metrics_that_exist(server):
    from harness import ROOT
    board = json.loads((ROOT / "docs/grafana/stm.json").read_text())
    samples = {sample.name for family in families(server.get("/metrics").text).values()
               for sample in family.samples}
    asked = set()
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            asked |= set(re.findall(r"\bstm_\w+", target["expr"]))
    assert asked and asked <= samples


def test_head_and_other_methods(server):
    assert server.get("/metrics", method="HEAD").status == 200
    assert server.get("/metrics", method="POST", body=b"x").status == 405


def test_dashboard_page(server):
    got = server.get("/below/a/prefix/dash")
    policy = got.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy).group(1)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert got.text.count(f'nonce="{nonce}"') == 2
    assert "@NONCE@" not in got.text
    # Nothing from other hosts, no script or style that the policy would refuse.
    assert not re.findall(r'(?:src|href)="(?!data:,)', got.text)
    assert not re.findall(r"\bstyle=|\bon\w+=|https?:", got.text)
    again = server.get("/below/a/prefix/dash").headers["content-security-policy"]
    assert again != policy


def test_dashboard_figures(server):
    page = server.get("/below/a/prefix/dash").text
    got = server.get("/below/a/prefix/dash?json")
    assert got.headers["content-type"] == "application/json"
    figures = json.loads(got.text)
    assert [vp["vp"] for vp in figures["vps"]] == [0, 1]
    for name in set(re.findall(r"\ball\.(\w+)", page)) | set(re.findall(r"\bc\.(\w+)", page)):
        assert name in figures["vps"][0]["counters"], name
    for name in re.findall(r'\["(conns_\w+)", ', page):
        assert name in figures["all"], name


def test_heartbeat_without_traffic(server):
    def beat():
        return value(stmstat("-d", server.root / "scoreboards", "-o").stdout,
                     "stm_vp_heartbeat_time_seconds")
    first = beat()
    wait_for(lambda: beat() > first, "a heartbeat of a server that idles")
