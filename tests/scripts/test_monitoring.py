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
    names = {"stm_vp_up"}
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


def panels():
    """The dashboard's panels."""
    return json.loads((TOP / "docs/grafana/stm.json").read_text())["panels"]


def test_panels_say_what_they_show_and_of_which_server():
    for panel in panels():
        assert len(panel["description"]) > 30, panel["title"]
        for target in panel["targets"]:
            assert "{{instance}}" in target["legendFormat"], panel["title"]
            assert 'instance=~"$instance"' in target["expr"], panel["title"]
            for labels in re.findall(r"\bby \((.*?)\)", target["expr"]):
                assert "instance" in labels, panel["title"]
            assert not re.match(r"(sum|max)\(", target["expr"]), "it adds up servers"


def test_promtool_takes_the_panels_expressions(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("promtool (package prometheus) is not installed")
    rules = [{"record": f"panel:{number}:{part}", "expr": target["expr"].replace(
        "$instance", ".*").replace("$__rate_interval", "5m")}
        for number, panel in enumerate(panels()) for part, target in
        enumerate(panel["targets"])]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "p", "rules": rules}]}))
    done = run(["promtool", "check", "rules", "rules.yml"], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


VP = '{instance="a",vp="0"}'
# What happens to a server: it is well in the first minute, and ill for long enough in the last.
ALARMS = {
    "StmDown": ({'up{job="stm",instance="a"}': "1x2 0x20"}, 10),
    "StmVpNotBeating": ({f"stm_vp_heartbeat_time_seconds{VP}": "0+60x3 180x20",
                         f"stm_vp_up{VP}": "1x30"}, 10),
    "StmVpMissing": ({f"stm_vp_up{VP}": "1x2 0x20", f"stm_vp_generation{VP}": "3x30",
                      'stm_vp_up{instance="a",vp="1"}': "0x30",  # given up by the last restart
                      'stm_vp_generation{instance="a",vp="1"}': "2x30"}, 10),
    "StmVpsDie": ({f"stm_vp_start_time_seconds{VP}": "0x2 0+1x20"}, 10),
    "StmStalls": ({f"stm_vp_stalls_total{VP}": "0x2 0+5x30"}, 20),
    "StmThreadsNearLimit": ({f"stm_vp_threads_busy{VP}": "1x2 95x20",
                             f"stm_vp_threads_limit{VP}": "100x30"}, 10),
    "StmHelpersExhausted": ({f"stm_vp_helper_limit_waits_total{VP}": "0x2 0+1x30"}, 10),
    "StmServerErrors": ({f"stm_vp_responses_5xx_total{VP}": "0x2 0+60x30",
                         f"stm_vp_requests_total{VP}": "0+600x30"}, 20),
}


@pytest.mark.parametrize("name", ALARMS)
def test_alerts_go_off(tmp_path, name):
    if not shutil.which("promtool"):
        pytest.skip("promtool (package prometheus) is not installed")
    series, minute = ALARMS[name]
    rule = alerts()[name]
    found = dict(re.findall(r'(\w+)="(.*?)"', next(iter(series))))
    if "by (instance)" in rule["expr"].partition("==")[0]:
        found.pop("vp")
    labels = {**found, **rule["labels"]}
    summary = re.sub(r"{{ \$labels\.(\w+) }}", lambda match: labels[match[1]],
                     rule["annotations"]["summary"])
    checks = [{"eval_time": "1m", "alertname": name, "exp_alerts": []},
              {"eval_time": f"{minute}m", "alertname": name,
               "exp_alerts": [{"exp_labels": labels, "exp_annotations": {"summary": summary}}]}]
    (tmp_path / "test.yml").write_text(json.dumps({
        "rule_files": [str(FOLDER / "alerts.yml")], "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "alert_rule_test": checks, "input_series": [
            {"series": which, "values": values} for which, values in series.items()]}]}))
    done = run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


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
