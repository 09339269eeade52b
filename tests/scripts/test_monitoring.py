# SPDX-License-Identifier: Apache-2.0
"""docs/monitoring: rules and panels ask for metrics that there are."""

import json
import re
import shutil

import pytest

from .checkout import BUILD, TOP, run

STMSTAT = BUILD / "stmstat/stmstat"
FOLDER = TOP / "docs/monitoring"
pytestmark = pytest.mark.skipif(not STMSTAT.exists(), reason="not built")


def metrics():
    """The names of all metrics, as Prometheus has them, by stmstat's list of counters."""
    names = set()
    text = run([STMSTAT, "-l"]).stdout
    rows = re.findall(r"^vp\.N\.(listener\.ADDRESS\.)?(\w+)\n +.* \((\w+)", text, re.M)
    for listener, name, kind in rows:
        part = "listener" if listener else "vp"
        names |= {f"stm_{part}_{name}" + ("_total" if kind == "counter" else "")}
        if kind == "histogram":
            names |= {f"stm_{part}_{name}_{end}" for end in ("bucket", "count", "sum")}
    return names


def asked(text):
    """The names of metrics in an expression."""
    return set(re.findall(r"\bstm_\w+", text))


def alerts():
    """Rules as (name, expression)."""
    yaml = pytest.importorskip("yaml")
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_rules_ask_for_metrics_that_there_are():
    known = metrics()
    for name, rule in alerts().items():
        wanted = asked(rule["expr"])
        assert wanted or "up{" in rule["expr"], name
        assert wanted <= known, name
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]


def test_panels_ask_for_metrics_that_there_are():
    board = json.loads((TOP / "docs/grafana/stm.json").read_text())
    expressions = " ".join(target["expr"] for panel in board["panels"]
                           for target in panel.get("targets", []))
    assert len(asked(expressions)) > 15
    assert asked(expressions) <= metrics()


def test_each_alert_is_explained():
    page = (TOP / "docs/monitoring.md").read_text()
    assert set(re.findall(r"^\| (Stm\w+) \|", page, re.M)) == set(alerts())


def test_the_page_shows_the_configuration():
    """What is to be copied is what lies beside it."""
    yaml = pytest.importorskip("yaml")
    shown = re.search(r"```yaml\n(.*?)```", (TOP / "docs/monitoring.md").read_text(), re.S).group(1)
    whole = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert yaml.safe_load(shown)["scrape_configs"] == whole["scrape_configs"]
    assert all((FOLDER / name).exists() for name in whole["rule_files"])


def test_promtool_takes_them():
    if not shutil.which("promtool"):
        pytest.skip("promtool (package prometheus) is not installed")
    done = run(["promtool", "check", "config", "prometheus.yml"], cwd=FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr
