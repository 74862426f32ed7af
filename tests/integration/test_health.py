"""Health, readiness, metrics; and the shutdown of a replica."""

import json
import re
import subprocess
import threading
import time

import httpx
import pytest
from broadway import Api
from crowd import Crowd
from harness import BUILD, ROOT
from pipelines import run_of
from waiting import soon, wait_until

NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="[^"]*"'
SAMPLE = re.compile(rf"{NAME}(\{{{LABEL}(,{LABEL})*,?\}})? [-+0-9.eEINFa]+( \d+)?")


def sample_values(text):
    """{sample: value} of a text in Prometheus's format; every sample's family is declared before it."""
    values, declared = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in declared and kind in ("counter", "gauge", "histogram", "summary", "untyped")
            declared.add(name)
        elif line and not line.startswith("#"):
            assert SAMPLE.fullmatch(line), line
            sample, _, value = line.rpartition(" ")
            family = sample.partition("{")[0]
            assert {family, re.sub("_(bucket|sum|count|total)$", "", family)} & declared, f"{family} has no TYPE"
            assert sample not in values, f"{sample} stands twice"
            values[sample] = float(value)
    return values


@pytest.fixture
def internal(stack):
    api = Api(stack.described["api"][0]["internal_url"])
    yield api
    api.close()


@pytest.fixture
def scheduler(stack):
    api = Api(stack.described["scheduler"][0]["url"])
    yield api
    api.close()


def test_a_replica_is_alive_and_ready(internal):
    for path in ("/healthz", "/readyz"):
        answer = internal.request("GET", path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_another_method_than_get_is_405_there_and_at_the_scheduler(internal, scheduler, method, path):
    for api in (internal, scheduler):
        answer = api.request(method, path)
        assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"
        assert "GET" in answer.json()["error"]
    assert scheduler.request(method, path + "x").status_code == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_head_is_get_without_the_body_there_and_at_the_scheduler(internal, scheduler, path):
    for api in (internal, scheduler):
        get, head = api.request("GET", path), api.request("HEAD", path)
        assert head.status_code == get.status_code == 200 and head.content == b""
        assert head.headers["content-type"] == get.headers["content-type"]
        assert int(head.headers["content-length"]) > 0


def test_metrics_include_the_process_and_the_build(internal, scheduler):
    for api, binary in ((internal, "broadway-api"), (scheduler, "broadway-scheduler")):
        text = api.request("GET", "/metrics").text
        values = sample_values(text)
        assert 0 < values["process_cpu_seconds_total"] < 1e6
        assert values["process_resident_memory_bytes"] > 1e6
        assert 3 < values["process_open_fds"] < values["process_max_fds"]
        assert 0 <= time.time() - values["process_start_time_seconds"] < 86400
        version = subprocess.run([BUILD / binary, "--version"], capture_output=True, text=True, check=True).stdout
        build = re.search(r'broadway_build_info\{version="([^"]+)",revision="([^"]+)"\} 1\n', text)
        assert build[1] in version and build[2] in version


def test_the_page_lists_exactly_the_served_metrics(internal, scheduler):
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").partition("## scripts/grader")[0]
    listed = set(re.findall(r"^\| `((?:broadway|process)_[a-z_]+)`", page, re.MULTILINE))
    there = set()
    for api in (internal, scheduler):
        there |= set(re.findall("^# TYPE ([a-z_]+) ", api.request("GET", "/metrics").text, re.MULTILINE))
    assert listed == there


def test_the_scheduler_is_alive_and_names_its_replicas(stack, scheduler):
    assert scheduler.request("GET", "/healthz").status_code == 200
    answer = scheduler.request("GET", "/readyz")
    assert answer.status_code == 200
    report = answer.json()
    assert (report["status"], report["role"]) == ("ready", "leader")
    assert type(report["term"]) is int and report["term"] >= 1
    in_contact = {row["internal_url"] for row in report["replicas"] if row["in_contact"]}
    assert {replica["internal_url"] for replica in stack.described["api"]} <= in_contact


@pytest.mark.parametrize("who", ["internal", "scheduler"])
def test_metrics_are_in_prometheus_format_and_move(stack, request, who):
    api = request.getfixturevalue(who)
    answer = api.request("GET", "/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    before = sample_values(answer.text)
    assert len(before) >= 5 and all(name.startswith(("broadway_", "process_")) for name in before)
    grader = stack.grader()
    stack.api.submit_and_start(run_of(1))
    grader.finish(grader.take())
    assert sample_values(api.request("GET", "/metrics").text) != before


@pytest.mark.parametrize("who", ["internal", "scheduler"])
def test_metrics_carry_no_ids_of_workers_or_runs(stack, request, who):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(1))
    grader.finish(grader.take())
    text = request.getfixturevalue(who).request("GET", "/metrics").text
    assert grader.id not in text and run not in text and "student0" not in text


def test_a_stopped_replica_answers_parked_polls_at_once_and_exits_0(stack, make_replica):
    leaving = make_replica(stack, "--heartbeat-interval=1").wait_ready()
    with Crowd([leaving.url], stack.cluster_token, 20) as crowd:
        crowd.park()
        assert crowd.ready(0.5) == []
        asked = time.monotonic()
        leaving.terminate()
        for member in crowd.members:
            answer = member.link.read_answer()
            assert answer.status == 498 and answer.body == b""
        assert time.monotonic() - asked < soon(2)
        assert leaving.wait(10) == 0
    for api in stack.apis:
        assert api.request("GET", "/api/v1/grading_job", params={"worker_id": "x"}).status_code == 400


def test_a_replica_that_shuts_down_is_not_ready(stack, make_replica):
    leaving = make_replica(stack, "--heartbeat-interval=1", "--grace=5").wait_ready()
    seen = []

    def watch():
        with httpx.Client(base_url=leaving.internal_url, timeout=2, trust_env=False) as client:
            while leaving.child.poll() is None:
                try:
                    seen.append(client.get("/readyz").status_code)
                except httpx.TransportError:
                    seen.append(None)

    watcher = threading.Thread(target=watch)
    watcher.start()
    wait_until(lambda: 200 in seen, 5, "it was ready")
    leaving.terminate()
    assert leaving.wait(10) == 0
    watcher.join(10)
    last_ready = len(seen) - 1 - seen[::-1].index(200)
    assert set(seen[last_ready + 1 :]) <= {503, None}, "once it is leaving, it never says ready again"


def test_a_replica_that_shuts_down_completes_requests_in_flight(stack, make_replica):
    leaving = make_replica(stack, "--heartbeat-interval=1").wait_ready()
    with Crowd([leaving.url], stack.cluster_token, 20) as crowd:
        crowd.park()
        run = stack.api.submit_and_start(run_of(20))
        jobs = [json.loads(member.link.read_answer().body)["job_id"] for member in crowd.members]
        for member, job in zip(crowd.members, jobs, strict=True):
            member.send_result(job)
        leaving.terminate()
        assert [member.link.read_answer().status for member in crowd.members] == [200] * 20
    assert leaving.wait(10) == 0
    assert stack.api.status(run)["state"] == "finished"
    assert sorted(result["_id"] for result in stack.database.results(run)) == sorted(jobs)
