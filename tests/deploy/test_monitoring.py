"""Alerts, dashboard and scaling: valid for Prometheus, with existing metrics, and firing when expected."""

import json
import re
import shutil

import httpx
import pytest
import yaml
from broadway_tools.grader.metrics import Metrics
from harness import Stack
from manifests import KUBERNETES, ROOT, documents, of_kind
from pipelines import run_of
from tools import HERE, run, tools

MONITORING = KUBERNETES / "components/monitoring"
PROGRAMS = ("broadway-api", "broadway-scheduler", "scripts/grader")
METRIC = re.compile(r"\bbroadway_(?:api|scheduler)_[a-z_]+\b")
SAMPLE = re.compile(r"(broadway_\w+)(\{.*\})? ")


@pytest.fixture(scope="module")
def promtool():
    return "promtool" if tools("promtool") else None


@pytest.fixture(scope="module")
def rules():
    """The groups of the PrometheusRule, as a rules file of Prometheus."""
    resource = yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))
    return {"groups": resource["spec"]["groups"]}


def alerts(rules):
    return [rule for group in rules["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """{program: text at /metrics} of both running binaries, and of the grader."""
    metrics = Metrics()
    metrics.add("broadway_grader_jobs_total", outcome="succeeded")
    stack = Stack(tmp_path_factory.mktemp("stack") / "stack").up()
    try:
        stack.api.submit(run_of(1))  # so that a request is counted
        urls = [stack.described["api"][0]["internal_url"], stack.described["scheduler"][0]["url"]]
        texts = [httpx.get(f"{url}/metrics", trust_env=False).text for url in urls]
        return dict(zip(PROGRAMS, [*texts, metrics.text()], strict=True))
    finally:
        stack.down()


@pytest.fixture(scope="module")
def samples(served):
    """{name: [labels]} of all samples at /metrics of both running binaries."""
    found = {}
    for text in (served["broadway-api"], served["broadway-scheduler"]):
        for line in text.splitlines():
            if sample := SAMPLE.match(line):
                found.setdefault(sample[1], []).append(sample[2] or "")
    return found


def panels():
    """(title, expression) of all panels of the dashboard."""
    board = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    return [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]


@pytest.mark.parametrize("program", PROGRAMS)
def test_metrics_keep_prometheus_conventions(promtool, served, program):
    status, said = run([promtool, "check", "metrics"], input=served[program])
    assert status == 0 and said == ""


def test_a_name_against_the_conventions_is_found(promtool, served):
    changed = served["broadway-api"].replace("broadway_api_heartbeats_total", "broadway_api_heartbeats")
    status, said = run([promtool, "check", "metrics"], input=changed)
    assert status != 0 and "broadway_api_heartbeats" in said


def test_prometheus_accepts_the_rules(promtool, rules, tmp_path):
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    status, said = run([promtool, "check", "rules", "--lint=all", "--lint-fatal", tmp_path / "alerts.yaml"])
    assert status == 0, said


def run_alert_tests(promtool, rules, directory):
    (directory / "alerts.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    shutil.copy(HERE / "alerts.test.yaml", directory)
    return run([promtool, "test", "rules", directory / "alerts.test.yaml"])


def test_alerts_fire_when_expected_and_not_before(promtool, rules, tmp_path):
    status, said = run_alert_tests(promtool, rules, tmp_path)
    assert status == 0, said


def test_every_alert_has_tests_of_firing_and_not_firing(rules):
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


def test_every_alert_has_a_section_in_the_handbook(rules):
    handbook = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    for rule in alerts(rules):
        assert f"### {rule['alert']}\n" in handbook, rule["alert"]


def test_prometheus_accepts_every_expression_of_the_dashboard(promtool, tmp_path):
    expressions = [expression.replace("$__rate_interval", "5m") for _, expression in panels()]
    assert len(expressions) > 15
    rules_of_panels = [{"record": f"panel:{n}", "expr": expression} for n, expression in enumerate(expressions)]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules_of_panels}]}), encoding="utf-8")
    status, said = run([promtool, "check", "rules", path])
    assert status == 0, said


def all_expressions(rules):
    """All expressions with Broadway's metrics in deploy/."""
    scaled = of_kind(documents("overlays/production"), "ScaledObject")["broadway-grader"]
    expressions = [rule["expr"] for rule in alerts(rules)]
    expressions += [expression for _, expression in panels()]
    expressions += [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]
    return [*expressions, *(rule["seriesQuery"] for rule in adapter_rules())]


def adapter_rules():
    path = KUBERNETES / "components/custom-metrics/prometheus-adapter.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["rules"]["custom"]


def test_running_binaries_have_every_queried_metric(rules, samples):
    assert len(samples) > 20
    for expression in all_expressions(rules):
        named = METRIC.findall(expression)
        assert named, f"about nothing of Broadway's: {expression}"
        for metric in named:
            assert metric in samples, f"{metric} in: {expression}"


def test_queried_labels_exist(rules, samples):
    """Also before the first event of a kind, so that increase() sees the first one."""
    for expression in all_expressions(rules):
        for metric, selector in re.findall(r"(broadway_\w+)\{([^}]*)\}", expression):
            if "namespace" not in selector:  # Prometheus adds these labels
                assert any(selector in labels for labels in samples[metric]), expression
        for label, metric in re.findall(r"sum by \((\w+)\) \((?:rate\()?(broadway_\w+)", expression):
            if label != "pod":
                assert all(f'{label}="' in labels for labels in samples[metric]), expression


def test_the_autoscalers_metrics_are_made_by_the_adapter(samples):
    made = {}
    for rule in adapter_rules():
        series = METRIC.search(rule["seriesQuery"])[0]
        made[rule.get("name", {}).get("as", series)] = series
    metrics = of_kind(documents("overlays/production"), "HorizontalPodAutoscaler")["broadway-api"]["spec"]["metrics"]
    asked = [metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"]
    assert len(asked) == 2
    for name in asked:
        assert made[name] in samples, name
