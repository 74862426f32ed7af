"""Alerts, dashboard and scaling: understood by Prometheus, about metrics that exist, and firing when they should."""

import json
import re
import shutil

import httpx
import pytest
import yaml
from harness import Stack
from manifests import KUBERNETES, ROOT, documents, of_kind
from pipelines import run_of
from tools import HERE, run, tools

MONITORING = KUBERNETES / "components/monitoring"
METRIC = re.compile(r"\bbroadway_(?:api|scheduler)_[a-z_]+\b")
SAMPLE = re.compile(r"(broadway_\w+)(\{.*\})? ")


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


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """{name: [labels]} of all samples that both binaries, running, answer at /metrics."""
    stack = Stack(tmp_path_factory.mktemp("stack") / "stack").up()
    try:
        stack.api.submit(run_of(1))  # so that a request was counted
        urls = [stack.described["api"][0]["internal_url"], stack.described["scheduler"][0]["url"]]
        found = {}
        for url in urls:
            for line in httpx.get(f"{url}/metrics", trust_env=False).text.splitlines():
                if sample := SAMPLE.match(line):
                    found.setdefault(sample[1], []).append(sample[2] or "")
        return found
    finally:
        stack.down()


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


def everything_asked_for(rules):
    """Every expression about Broadway's metrics in deploy/."""
    scaled = of_kind(documents("overlays/production"), "ScaledObject")["broadway-grader"]
    expressions = [rule["expr"] for rule in alerts(rules)]
    expressions += [expression for _, expression in panels()]
    expressions += [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]
    return [*expressions, *(rule["seriesQuery"] for rule in adapter_rules())]


def adapter_rules():
    path = KUBERNETES / "components/custom-metrics/prometheus-adapter.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["rules"]["custom"]


def test_running_binaries_answer_with_every_metric_that_is_asked_for(rules, samples):
    assert len(samples) > 20
    for expression in everything_asked_for(rules):
        named = METRIC.findall(expression)
        assert named, f"about nothing of Broadway's: {expression}"
        for metric in named:
            assert metric in samples, f"{metric} in: {expression}"


def test_labels_that_are_asked_for_exist(rules, samples):
    """Also before the first of its kind was counted, so that an increase from none is one."""
    for expression in everything_asked_for(rules):
        for metric, selector in re.findall(r"(broadway_\w+)\{([^}]*)\}", expression):
            if "namespace" not in selector:  # Prometheus adds those
                assert any(selector in labels for labels in samples[metric]), expression
        for label, metric in re.findall(r"sum by \((\w+)\) \((?:rate\()?(broadway_\w+)", expression):
            if label != "pod":
                assert all(f'{label}="' in labels for labels in samples[metric]), expression


def test_the_autoscaler_asks_for_metrics_that_the_adapter_makes_of_ours(samples):
    made = {}
    for rule in adapter_rules():
        series = METRIC.search(rule["seriesQuery"])[0]
        made[rule.get("name", {}).get("as", series)] = series
    metrics = of_kind(documents("overlays/production"), "HorizontalPodAutoscaler")["broadway-api"]["spec"]["metrics"]
    asked = [metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"]
    assert len(asked) == 2
    for name in asked:
        assert made[name] in samples, name
