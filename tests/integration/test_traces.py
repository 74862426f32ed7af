"""Traces: a run is one trace, whose parent is the client's, and a collector that is away disturbs nothing."""

import re
import time
from collections import Counter

import pytest
from broadway import ROUTE, Api
from harness import free_port, run_stack
from otlp_receiver import Receiver, attributes
from pipelines import run_of
from test_health import sample_values
from waiting import wait_until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"
OTHER_TRACE = "0af7651916cd43dd8448eb211c80319c"
MALFORMED = ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", TRACEPARENT + "-more", TRACEPARENT.upper()]
STUDENTS = 3
# Processes know the database's date to within a round trip to it.
TOLERANCE_NS = 100_000_000
REPORT = {"stages": [{"seconds": 0.02, "exit_code": 0}, {"seconds": 0.03, "exit_code": 1}]}


@pytest.fixture(scope="module")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def traced(tmp_path_factory, receiver):
    """Two replicas and a scheduler that export spans."""
    both = ("heartbeat-interval=1", f"otlp-endpoint={receiver.url}/")
    yield from run_stack(tmp_path_factory, "traced", replicas=2, both=both)


def submit(stack, traceparent=None, students=STUDENTS):
    """A run that is started; its id."""
    headers = {} if traceparent is None else {"traceparent": traceparent}
    answer = stack.api.request("POST", f"{ROUTE}/grading_run", json=run_of(students), headers=headers)
    assert answer.status_code == 200, answer.text
    stack.api.start(answer.json()["id"])
    return answer.json()["id"]


def grade(grader, count=STUDENTS, seconds=0.1):
    """Grades jobs; returns them."""
    jobs = []
    for _ in range(count):
        jobs.append(grader.take())
        time.sleep(seconds)  # the work that the report is about
        grader.finish(jobs[-1], REPORT)
    return jobs


def spans_of(receiver, run, count):
    """The spans of a run, by name, once all are there."""
    wait_until(lambda: len(receiver.of_run(run)) >= count, 20, f"{count} spans of run {run}")
    return receiver.of_run(run)


def expected(jobs):
    """How many spans of each name a run of so many jobs has, each with one attempt and two stages."""
    each = dict.fromkeys(("job", "wait", "attempt", "hand out", "result"), jobs)
    return {"run": 1, "submit": 1, **each, "stage": 2 * jobs}


PARENTS = {
    "submit": "run",
    "job": "run",
    "wait": "job",
    "attempt": "job",
    "hand out": "attempt",
    "stage": "attempt",
    "result": "attempt",
}


def check_nesting(spans):
    """Each span's parent is there, is the right one, and lasts at least as long."""
    by_id = {span["spanId"]: span for span in spans}
    assert len(by_id) == len(spans)
    for span in spans:
        begun, ended = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        assert begun <= ended, span
        if span["name"] == "run":
            continue
        parent = by_id[span["parentSpanId"]]
        assert parent["name"] == PARENTS[span["name"]]
        assert attributes(parent).get("broadway.job") in (None, attributes(span).get("broadway.job"))
        assert int(parent["startTimeUnixNano"]) - TOLERANCE_NS <= begun, (span, parent)
        assert ended <= int(parent["endTimeUnixNano"]) + TOLERANCE_NS, (span, parent)


def test_a_run_is_one_trace_from_submission_to_result(traced, receiver):
    run = submit(traced)
    grade(traced.grader())
    wanted = expected(STUDENTS)
    spans = spans_of(receiver, run, sum(wanted.values()))
    assert Counter(span["name"] for span in spans) == wanted
    assert len({span["traceId"] for span in spans}) == 1 and receiver.paths == {"/v1/traces"}
    check_nesting(spans)
    (whole,) = [span for span in spans if span["name"] == "run"]
    assert "parentSpanId" not in whole and attributes(whole)["broadway.state"] == "finished"
    services = {span["name"]: span["service"] for span in spans}
    assert services["submit"] == services["result"] == "broadway-api" and services["run"] == "broadway-scheduler"
    stages = [span for span in spans if span["name"] == "stage"]
    assert {attributes(span)["broadway.stage"]: span.get("status") for span in stages} == {"0": None, "1": {"code": 2}}
    lasted = {int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) for span in stages}
    assert lasted == {20_000_000, 30_000_000}


def test_the_parent_of_a_run_is_the_clients_span(traced, receiver):
    run = submit(traced, TRACEPARENT)
    jobs = grade(traced.grader())
    spans = spans_of(receiver, run, sum(expected(STUDENTS).values()))
    assert {span["traceId"] for span in spans} == {TRACE}
    (whole,) = [span for span in spans if span["name"] == "run"]
    assert whole["parentSpanId"] == PARENT
    attempts = {attributes(span)["broadway.job"]: span["spanId"] for span in spans if span["name"] == "attempt"}
    assert {job["job_id"]: job["traceparent"] for job in jobs} == {
        job: f"00-{TRACE}-{span}-01" for job, span in attempts.items()
    }


def test_a_result_at_another_replica_belongs_to_the_same_trace(traced, receiver):
    run = submit(traced, students=1)
    grader = traced.grader()
    job = grader.take()
    answer = traced.apis[1].request(
        "POST",
        f"{ROUTE}/grading_job/{job['job_id']}",
        json={"worker_id": grader.id, "result": REPORT, "success": True},
    )
    assert answer.status_code == 200
    wanted = expected(1)
    spans = spans_of(receiver, run, sum(wanted.values()))
    assert Counter(span["name"] for span in spans) == wanted
    assert len({span["traceId"] for span in spans}) == 1
    check_nesting(spans)


def test_a_lost_attempt_is_a_span_of_its_own(traced, receiver):
    run = submit(traced, students=1)
    traced.grader(hostname="lost").take()
    grade(traced.grader(), 1)
    wanted = expected(1) | {"attempt": 2, "wait": 2, "hand out": 2}
    spans = spans_of(receiver, run, sum(wanted.values()))
    assert Counter(span["name"] for span in spans) == wanted
    check_nesting(spans)
    ends = {
        attributes(it)["broadway.attempt"]: attributes(it).get("broadway.end")
        for it in spans
        if it["name"] == "attempt"
    }
    assert ends == {"1": "lost", "2": None}


@pytest.mark.parametrize("traceparent", MALFORMED)
def test_a_malformed_traceparent_is_ignored(traced, receiver, traceparent):
    run = submit(traced, traceparent, students=1)
    (job,) = grade(traced.grader(), 1, seconds=0)
    spans = spans_of(receiver, run, sum(expected(1).values()))
    assert TRACE not in {span["traceId"] for span in spans}
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", job["traceparent"])


def test_a_trace_that_is_not_sampled_is_passed_on_and_not_exported(traced, receiver):
    run = submit(traced, UNSAMPLED, students=1)
    (job,) = grade(traced.grader(), 1, seconds=0)
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", job["traceparent"])
    later = submit(traced, f"00-{OTHER_TRACE}-{PARENT}-01", students=1)
    grade(traced.grader(), 1, seconds=0)
    spans_of(receiver, later, sum(expected(1).values()))
    assert receiver.of_run(run) == []


def test_without_an_endpoint_only_the_clients_trace_is_passed_on(stack):
    submit(stack, TRACEPARENT, students=1)
    (with_it,) = grade(stack.grader(), 1, seconds=0)
    submit(stack, students=1)
    (without,) = grade(stack.grader(), 1, seconds=0)
    assert with_it["traceparent"].startswith(f"00-{TRACE}-") and "traceparent" not in without


@pytest.fixture(scope="module")
def abandoned(tmp_path_factory):
    """A stack whose collector is away."""
    both = ("heartbeat-interval=1", f"otlp-endpoint=http://127.0.0.1:{free_port()}")
    yield from run_stack(tmp_path_factory, "abandoned", both=both)


def check_dropped(url, name):
    """The process at `url` counts spans as dropped, and none as sent."""
    port = Api(url)

    def spans(outcome):
        return sample_values(port.request("GET", "/metrics").text)[
            f'broadway_{name}_spans_total{{outcome="{outcome}"}}'
        ]

    wait_until(lambda: spans("dropped") > 0, 20, "spans are dropped")
    assert spans("sent") == 0
    port.close()


def test_a_collector_that_is_away_disturbs_nothing_and_is_counted(abandoned):
    def slowest_request():
        begun = time.monotonic()
        run = submit(abandoned, students=1)
        lasted = time.monotonic() - begun
        grade(abandoned.grader(), 1, seconds=0)
        wait_until(lambda: abandoned.api.status(run)["state"] == "finished", 10, "the run has ended")
        return lasted

    assert max(slowest_request() for _ in range(10)) < 2
    check_dropped(abandoned.described["api"][0]["internal_url"], "api")
    check_dropped(abandoned.described["scheduler"][0]["url"], "scheduler")
    assert abandoned.log_text().count("takes no spans") == 2  # one line of each process


def test_jobs_of_a_course_carry_it_by_http_and_by_websocket(staff):
    course, grader = staff.course(), staff.grader()
    course.http.headers["traceparent"] = TRACEPARENT
    course.run(2)
    first = grader.take()
    grader.finish(first)
    socket = staff.socket("traced-by-socket")
    socket.send({"type": "register", "args": {"hostname": "host"}})
    assert socket.receive() == {"success": True}
    second = socket.receive()
    assert first["grading_job_id"] != second["grading_job_id"]
    for job in (first, second):
        assert job["traceparent"].startswith(f"00-{TRACE}-") and PARENT not in job["traceparent"]
