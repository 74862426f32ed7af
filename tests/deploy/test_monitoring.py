"""Alerts, dashboard and scaling: understood by Prometheus, about metrics that exist, and firing when they should."""

import json
import re
import shutil

import pytest
import yaml
from manifests import KUBERNETES, ROOT, documents, of_kind
from tools import HERE, run, tools

MONITORING = KUBERNETES / "components/monitoring"
METRIC = re.compile(r"\bbroadway_(?:api|scheduler)_[a-z_]+\b")
SUFFIXES = ("_bucket", "_sum", "_count")


@pytest.fixture(scope="module")
def promtool():
    return "promtool" if tools("promtool") else None


@pytest.fixture(scope="module")
def rules():
    """The groups of the PrometheusRule, as Prometheus itself wants them."""
    resource = yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))
    return {"groups": resource["spec"]["groups"]}


def alerts(rules):
    return [rule for group in rules["groups"] for rule in group["rules"]]


def known_metrics():
    """Of both binaries' tables."""
    names = set()
    for table in ("api/api_metrics.h", "scheduler/scheduler_metrics.h"):
        names |= set(re.findall(r'"(broadway_[a-z_]+)"', (ROOT / table).read_text(encoding="utf-8")))
    return names


def panels():
    """(title, expression) of everything that the dashboard shows."""
    board = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    return [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]


def test_prometheus_takes_the_rules(promtool, rules, tmp_path):
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    status, said = run([promtool, "check", "rules", "--lint=all", "--lint-fatal", tmp_path / "alerts.yaml"])
    assert status == 0, said


def run_alert_tests(promtool, rules, directory):
    (directory / "alerts.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    shutil.copy(HERE / "alerts.test.yaml", directory)
    return run([promtool, "test", "rules", directory / "alerts.test.yaml"])


def test_alerts_fire_when_they_should_and_not_before(promtool, rules, tmp_path):
    status, said = run_alert_tests(promtool, rules, tmp_path)
    assert status == 0, said


def test_every_alert_has_a_test_of_its_firing_and_of_its_silence(rules):
    tests = yaml.safe_load((HERE / "alerts.test.yaml").read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    for rule in alerts(rules):
        own = [bool(case["exp_alerts"]) for case in cases if case["alertname"] == rule["alert"]]
        assert True in own and False in own, rule["alert"]


def test_a_changed_alert_fails_its_test(promtool, rules, tmp_path):
    for index, rule in enumerate(alerts(rules)):
        changed = json.loads(json.dumps(rules))
        changed["groups"][0]["rules"][index]["expr"] = f"({rule['expr']}) and vector(0) == 1"
        status, said = run_alert_tests(promtool, changed, tmp_path)
        assert status != 0 and rule["alert"] in said, rule["alert"]


def test_every_alert_has_its_chapter_in_the_handbook(rules):
    handbook = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    for rule in alerts(rules):
        assert f"### {rule['alert']}\n" in handbook, rule["alert"]


def test_prometheus_takes_every_expression_of_the_dashboard(promtool, tmp_path):
    expressions = [expression.replace("$__rate_interval", "5m") for _, expression in panels()]
    assert len(expressions) > 15
    rules_of_panels = [{"record": f"panel:{n}", "expr": expression} for n, expression in enumerate(expressions)]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules_of_panels}]}), encoding="utf-8")
    status, said = run([promtool, "check", "rules", path])
    assert status == 0, said


def test_what_is_asked_for_is_what_the_binaries_measure(rules):
    scaled = of_kind(documents("overlays/production"), "ScaledObject")["broadway-grader"]
    adapter = (KUBERNETES / "components/custom-metrics/prometheus-adapter.yaml").read_text(encoding="utf-8")
    adapter = "\n".join(line for line in adapter.splitlines() if "seriesQuery" in line)
    expressions = [rule["expr"] for rule in alerts(rules)]
    expressions += [expression for _, expression in panels()]
    expressions += [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]] + [adapter]
    known = known_metrics()
    assert len(known) > 20
    for expression in expressions:
        for metric in METRIC.findall(expression):
            plain = next((metric.removesuffix(s) for s in SUFFIXES if metric.endswith(s)), metric)
            assert metric in known or plain in known, f"{metric} in: {expression}"
