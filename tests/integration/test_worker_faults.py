"""Graders that say that they can't run jobs, and why."""

import json

import pytest
from broadway import ROUTE, error_of
from course import COURSES, Staff, stage
from course_names import unique
from harness import run_stack
from pipelines import run_of
from test_pauses import ask_cluster
from test_waiting_for import metrics
from waiting import holds_for, soon, wait_until

DISK, ENGINE = "disk: 3 MiB are free, of the 1024 that must be", "engine: podman does not answer"


@pytest.fixture(scope="module")
def empty_stack(tmp_path_factory):
    """A stack of both protocols without registered workers."""
    config = tmp_path_factory.mktemp("faults") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    yield from run_stack(
        tmp_path_factory, "faults", replicas=2, both=("heartbeat-interval=1",), api=(f"course-config={config}",)
    )


@pytest.fixture
def staff(empty_stack):
    staff = Staff(empty_stack)
    yield staff
    staff.close()


def gauge(stack, name):
    return metrics(stack)[f"broadway_scheduler_{name}"]


def say(grader, fault):
    """The answer to a heartbeat of a grader of the classic protocol."""
    return grader.http.post(f"{ROUTE}/heartbeat", params={"worker_id": grader.id, "fault": fault})


def test_a_fault_is_said_at_registration_and_by_heartbeats_and_is_shown_until_it_is_over(empty_stack, staff):
    stack, course = empty_stack, staff.course()
    grader = stack.grader(hostname="lab-1", fault=DISK)
    run = stack.api.submit_and_start(run_of(1))

    def shown():
        [row] = [row for row in course.workers() if row["hostname"] == "lab-1"]
        status = ask_cluster(stack, "GET", "/worker_status", worker_id=grader.id)
        assert row.get("fault") == status.get("fault") and row["alive"] and status["state"] == "active"
        return row.get("fault")

    def waiting_for():
        assert grader.beat().status_code == 200
        return stack.api.status(run).get("waiting_for")

    wait_until(lambda: shown() == DISK, soon(3), "the registration's fault is shown")
    words = "grader of the classic protocol is alive, but can't work:"
    wait_until(lambda: waiting_for() == f"1 {words} {DISK}", soon(5), "the run says so")
    assert gauge(stack, "workers_faulty") == 1
    assert gauge(stack, 'unserved_jobs{protocol="classic"}') == 1
    assert gauge(stack, 'workers_alive{protocol="classic"}') == 1

    assert say(grader, ENGINE).status_code == 200
    wait_until(lambda: shown() == ENGINE, soon(3), "the heartbeat's fault is shown")
    wait_until(lambda: waiting_for() == f"1 {words} {ENGINE}", soon(5), "the run says so too")
    other = stack.grader(1, hostname="lab-2", fault=DISK)
    assert say(other.at(stack.urls[0]), ENGINE).status_code == 200
    plural = f"2 graders of the classic protocol are alive, but can't work: {ENGINE}"
    wait_until(lambda: other.beat() and waiting_for() == plural, soon(5), "both are counted")
    assert stack.database.worker(other.id)["fault"] == ENGINE

    for one in (grader.at(stack.urls[1]), other):
        answer = say(one, "")
        assert answer.status_code == 200 and answer.content == b""
    wait_until(lambda: shown() is None, soon(3), "the fault is over")
    wait_until(lambda: waiting_for() is None, soon(5), "the run waits for nothing")
    wait_until(lambda: gauge(stack, "workers_faulty") == 0, soon(3), "none is counted")
    grader.finish(grader.take())


def test_a_fault_of_a_course_grader_is_said_at_registration_and_by_heartbeats(empty_stack, staff):
    course, host = staff.course(), unique("host")
    grader = staff.grader(hostname=host, fault=DISK)
    run = course.run([{}], {"student_pipeline": [stage()]})

    def shown():
        return next(row.get("fault") for row in course.workers() if row["hostname"] == host)

    def waiting_for():
        assert grader.http.post(f"/heartbeat/{grader.name}?fault={ENGINE}").status_code == 200
        return course.status(run).get("waiting_for")

    wait_until(lambda: shown() == DISK, soon(3), "the registration's fault is shown")
    words = f"1 grader of the course protocol is alive, but can't work: {ENGINE}"
    wait_until(lambda: waiting_for() == words, 15 + soon(3), "the run says so")
    assert shown() == ENGINE
    job = "0" * 32
    answer = grader.http.post(f"/heartbeat/{grader.name}?jobs={job}&fault=")
    assert answer.json()["data"] == {"cancelled": [job]}
    wait_until(lambda: shown() is None, soon(3), "the fault is over")
    grader.finish(grader.take())


def test_a_websocket_with_a_fault_is_sent_no_job_until_it_is_over(empty_stack, staff):
    course, host = staff.course(), unique("host")
    grader = staff.socket_grader(hostname=host, fault=DISK)
    assert "fault" in grader.socket.response_headers["Broadway-Registration"]
    course.run(2)

    def shown():
        return next(row.get("fault") for row in course.workers() if row["hostname"] == host)

    assert shown() == DISK and grader.receives_nothing(1)
    grader.send({"type": "fault", "args": {"fault": ""}})
    job = grader.receive()
    wait_until(lambda: shown() is None, soon(3), "the fault is over")
    for fault in (DISK, "", ENGINE):
        grader.send({"type": "fault", "args": {"fault": fault}})
    wait_until(lambda: shown() == ENGINE, soon(3), "what it said last is shown")
    grader.finish(job)
    assert grader.receives_nothing(1)
    grader.send({"type": "fault", "args": {"fault": ""}})
    grader.finish(grader.receive())
    holds_for(lambda: shown() is None, 1, "no earlier fault comes back")
    grader.close()


def test_a_fault_that_is_not_one_line_is_refused_by_a_sentence(empty_stack, staff):
    grader, other = empty_stack.grader(), staff.grader()
    for fault, why in (("x" * 257, "must have 256 bytes at most"), ("a\nb", "must not contain control characters")):
        sentence = f"fault: {why}"
        params = {"token": empty_stack.cluster_token, "fault": fault}
        for answer in (grader.http.get(f"{ROUTE}/worker_register", params=params), say(grader, fault)):
            assert answer.status_code == 400 and error_of(answer) == sentence
        for answer in (
            other.http.post(f"/worker/{unique('w')}", json={"hostname": "h", "fault": fault}),
            other.http.post(f"/heartbeat/{other.name}", params={"fault": fault}),
        ):
            assert answer.status_code == 400 and sentence in answer.text
    link = staff.socket_grader()
    link.send({"type": "fault", "args": {"fault": "a\nb"}})
    assert link.closed() == (1002, "args.fault: must not contain control characters")


def test_a_fault_before_registering_closes_with_1002(empty_stack, staff):
    link = staff.socket()
    link.send({"type": "fault", "args": {"fault": ENGINE}})
    assert link.closed() == (1002, "worker has not registered")


def test_registering_an_id_again_ends_its_fault(empty_stack, staff):
    course, host = staff.course(), unique("host")
    first = staff.socket_grader(hostname=host, fault=DISK)
    first.close()
    again = staff.grader(name=first.name, hostname=host)
    wait_until(
        lambda: [row.get("fault") for row in course.workers() if row["hostname"] == host] == [None],
        soon(3),
        "it is over",
    )
    again.close()
