"""Graders that ask for it are notified of their jobs that are over: by heartbeats, and by messages of a websocket."""

import os
import signal
import subprocess
import time

import pytest
from broadway import ROUTE, error_of
from course import failed, stage
from harness import SCRIPTS, clean_environment
from pipelines import STUDENT, job_id_of, run_of
from waiting import PATIENCE, wait_until

HEARTBEAT_S = 1
MESSAGE_S = 1


def named_beat(grader, *jobs, style="query"):
    """A heartbeat that names jobs: its answer."""
    arguments = {"worker_id": grader.id, "jobs": ",".join(jobs)}
    if style == "query":
        return grader.http.post(f"{ROUTE}/heartbeat", params=arguments)
    return grader.http.post(f"{ROUTE}/heartbeat", **({"json": arguments} if style == "json" else {"data": arguments}))


def lost_jobs(grader, *jobs, style="query"):
    answer = named_beat(grader, *jobs, style=style)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"cancelled"}
    return answer.json()["cancelled"]


def cancel(api, job):
    assert api.request("POST", f"{ROUTE}/grading_job/{job}/cancel").status_code == 200


# ---- Heartbeats


def test_a_heartbeat_that_names_its_jobs_is_answered_with_those_that_are_over(stack):
    run = stack.api.submit_and_start(run_of(4))
    grader, other = stack.grader(cancel="true", concurrency=4), stack.grader(replica=1)
    jobs = [grader.take()["job_id"] for _ in range(3)]
    assert lost_jobs(grader, *jobs) == []
    cancel(stack.api, jobs[1])
    for style in ("query", "form", "json"):
        assert lost_jobs(grader.at(stack.urls[1]), *jobs, style=style) == [jobs[1]]
    foreign = other.take()["job_id"]
    assert lost_jobs(grader, foreign, jobs[0], "0" * 32) == [foreign, "0" * 32]
    assert lost_jobs(other, foreign, jobs[0]) == [jobs[0]]
    grader.finish(jobs[0])
    assert lost_jobs(grader, jobs[0]) == []
    stack.api.cancel(run)
    wait_until(lambda: lost_jobs(grader, *jobs) == [jobs[1], jobs[2]], 5, "the cancelled job is named")
    assert grader.finish_response(jobs[2], "late").status_code == 400


def test_heartbeats_without_jobs_are_answered_as_ever(stack):
    run = stack.api.submit_and_start(run_of(1))
    asking, classic = stack.grader(cancel="true"), stack.grader()
    job = classic.take()["job_id"]
    cancel(stack.api, job)
    for grader in (asking, classic):
        for style in ("form", "query", "json"):
            answer = grader.beat(style)
            assert (answer.status_code, answer.content) == (200, b"")
    assert lost_jobs(asking) == []
    assert stack.api.wait_over(run)["state"] == "finished"


def test_a_grader_is_notified_of_an_attempt_that_was_ended(stack):
    run = stack.api.submit_and_start(run_of(1))
    silent = stack.grader(cancel="true", concurrency=1)
    job = silent.take()["job_id"]
    wait_until(lambda: stack.database.leases(run)[0].get("ended") == "lost", 20, "its attempt is ended")
    assert lost_jobs(silent, job) == [job]
    again = stack.grader(concurrency=1)
    assert again.take()["job_id"] == job
    assert lost_jobs(again, job) == []
    assert lost_jobs(silent, job) == [job]
    again.finish(job)


def test_a_list_of_jobs_that_is_not_one_is_refused_and_the_heartbeat_counts(stack):
    grader = stack.grader(cancel="true", concurrency=1)
    for text in ("x", "0" * 31, "A" * 32, "0" * 32 + ",,", "0" * 32 + ", " + "0" * 32):
        answer = named_beat(grader, text)
        assert answer.status_code == 400
        assert "does not begin with the id of a grading job" in error_of(answer)
    answer = named_beat(grader, *["0" * 32] * 101)
    assert (answer.status_code, error_of(answer)) == (400, "jobs: more than 100 ids")
    assert len(lost_jobs(grader, *["0" * 32] * 100, style="json")) == 100
    answer = stack.api.request("GET", f"{ROUTE}/worker_register?token={stack.cluster_token}&cancel=1")
    assert (answer.status_code, "'cancel'" in error_of(answer)) == (400, True)


def test_heartbeats_of_courses_are_answered_in_the_envelope(staff):
    course, grader, classic = staff.course(), staff.grader(cancel=True, concurrency=2), staff.grader()
    course.run(2)
    jobs = [grader.take()["grading_job_id"] for _ in range(2)]
    assert course.ask("POST", f"/grading_job/cs225/{jobs[0]}/cancel").status_code == 200
    answer = grader.http.post(f"/heartbeat/{grader.name}", params={"jobs": ",".join(jobs), "what": "ever"})
    assert (answer.status_code, answer.json()) == (200, {"status": "success", "data": {"cancelled": jobs[:1]}})
    for beating in (grader, classic):
        answer = beating.beat()
        assert (answer.status_code, answer.content) == (200, b"")
    answer = grader.http.post(f"/heartbeat/{grader.name}", params={"jobs": "x"})
    sentence = "jobs: 'x' does not begin with the id of a grading job: 32 lower-case hex digits"
    assert (answer.status_code, answer.json()) == (400, failed(sentence))
    grader.finish(jobs[1])


def test_heartbeats_are_answered_while_the_database_is_away(stack):
    grader = stack.grader(cancel="true", concurrency=1)
    run = stack.api.submit_and_start(run_of(1))
    job = grader.take()["job_id"]
    pid = stack.pid("database")
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        while time.monotonic() - begun < 5:
            assert lost_jobs(grader, job) == []
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: stack.api.answers(200, "POST", f"{ROUTE}/grading_job/{job}/cancel"), 30, "it is cancelled")
    wait_until(lambda: lost_jobs(grader, job) == [job], 20, "it is named")
    assert stack.api.wait_over(run)["state"] == "finished"


# ---- Websockets


def register(staff, **more):
    socket = staff.socket(**more)
    socket.send({"type": "register", "args": {"hostname": "host", "cancel": True}})
    assert socket.receive() == {"success": True}
    return socket


def give_back(socket, job):
    socket.send({"type": "job_result", "args": {"grading_job_id": job, "outcome": "infrastructure", "reason": "over"}})


@pytest.mark.parametrize("what", ["job", "run"])
def test_a_websocket_is_notified_within_a_second_and_gets_the_next_job(staff, what):
    course, socket = staff.course(), register(staff, replica=1)
    run, following = course.run(1), course.run(1)
    job = socket.receive()["grading_job_id"]
    assert job == job_id_of(run, STUDENT)
    begun = time.monotonic()
    path = f"/grading_job/cs225/{job}/cancel" if what == "job" else f"/grading_run/cs225/{run}/cancel"
    assert course.ask("POST", path).status_code == 200
    assert socket.receive() == {"type": "cancel", "args": {"grading_job_id": job}}
    seconds = time.monotonic() - begun
    print(f"notified after {seconds:.3f} s")
    assert seconds < MESSAGE_S * PATIENCE
    assert socket.receives_nothing(0.2)
    give_back(socket, job)
    assert socket.receive()["grading_job_id"] == job_id_of(following, STUDENT)
    result = {"grading_job_id": job_id_of(following, STUDENT), "success": True, "results": [], "logs": {}}
    socket.send({"type": "job_result", "args": result})
    wait_until(lambda: course.state(following) == "grading run is complete", 5, "the next run is complete")


def test_a_websocket_that_did_not_ask_is_not_notified(staff):
    course, socket = staff.course(), staff.socket_grader()
    run, following = course.run(1), course.run(1)
    job = socket.take()
    assert course.ask("POST", f"/grading_job/cs225/{job['grading_job_id']}/cancel").status_code == 200
    wait_until(lambda: course.state(run) == "grading run is complete", 5, "the run is complete")
    assert socket.receives_nothing(2 * HEARTBEAT_S)
    socket.finish(job)
    job = socket.take()
    assert job["grading_job_id"] == job_id_of(following, STUDENT)
    socket.finish(job)


def test_a_registration_by_websocket_whose_cancel_is_no_boolean_is_refused(staff):
    socket = staff.socket()
    socket.send({"type": "register", "args": {"hostname": "host", "cancel": "true"}})
    assert socket.closed()[0] == 1011


# ---- The reference grader


def sh(script, **more):
    return {"image": "x", "entrypoint": ["/bin/sh", "-c", script], **more}


@pytest.fixture
def start_grader(tmp_path):
    """Starts a scripts/grader of a stack; it ends with the test."""
    started = []

    def start(stack, *flags):
        argv = [str(SCRIPTS / "grader"), "--runner=process", f"--work-dir={tmp_path / 'work'}", *flags]
        argv += [f"--url={url}" for url in stack.urls]
        with open(tmp_path / "grader.log", "ab") as log:
            environment = clean_environment(BROADWAY_CLUSTER_TOKEN=stack.cluster_token)
            started.append(subprocess.Popen(argv, stdout=log, stderr=log, env=environment))
        return started[-1]

    yield start
    for grader in started:
        if grader.poll() is None:
            grader.kill()
        grader.wait()
    print((tmp_path / "grader.log").read_text(encoding="utf-8")[-3000:])


def seconds_until(condition, what):
    begun = time.monotonic()
    wait_until(condition, 30, what)
    return time.monotonic() - begun


def long_stage(tmp_path, name, trap=""):
    """A stage of 60 s, which tells by a file that it has begun, and by another that it got TERM."""
    begun, ended = tmp_path / f"{name}-begun", tmp_path / f"{name}-ended"
    return begun, ended, sh(f"trap '{trap or f'touch {ended}; exit 1'}' TERM; touch {begun}; sleep 60 & wait; wait")


@pytest.mark.parametrize("what", ["job", "run"])
def test_the_reference_grader_ends_a_cancelled_job_within_a_heartbeat_and_takes_the_next(
    stack, start_grader, tmp_path, what
):
    begun, ended, stage_of_a_minute = long_stage(tmp_path, "first")
    next_begun = tmp_path / "next-begun"
    start_grader(stack)
    run = stack.api.submit_and_start(run_of(1, student_pipeline=[stage_of_a_minute, sh("echo never")]))
    following = stack.api.submit_and_start(run_of(1, student_pipeline=[sh(f"touch {next_begun}")]))
    wait_until(begun.exists, 20, "the job runs")
    if what == "job":
        cancel(stack.api, job_id_of(run, STUDENT))
    else:
        stack.api.cancel(run)
    seconds = seconds_until(next_begun.exists, "the next job runs")
    print(f"the next job began {seconds:.2f} s after the cancel")
    assert ended.exists()
    assert seconds < (HEARTBEAT_S + 1) * PATIENCE
    assert stack.api.wait_over(following)["student_statuses"][0]["outcome"] == "succeeded"
    assert stack.api.wait_over(run)["student_statuses"][0]["outcome"] == "cancelled"
    assert "refused" not in (tmp_path / "grader.log").read_text(encoding="utf-8")


def test_the_reference_grader_kills_a_stage_that_ignores_term_after_the_grace(stack, start_grader, tmp_path):
    begun, _, stubborn = long_stage(tmp_path, "stubborn", trap=":")
    next_begun = tmp_path / "next-begun"
    start_grader(stack, "--stop-grace=1")
    run = stack.api.submit_and_start(run_of(1, student_pipeline=[stubborn]))
    stack.api.submit_and_start(run_of(1, student_pipeline=[sh(f"touch {next_begun}")]))
    wait_until(begun.exists, 20, "the job runs")
    before = time.monotonic()
    cancel(stack.api, job_id_of(run, STUDENT))
    wait_until(next_begun.exists, 30, "the next job runs")
    assert 1 <= time.monotonic() - before < (HEARTBEAT_S + 2) * PATIENCE


@pytest.mark.parametrize(
    "protocol, limit_s", [("course-http", HEARTBEAT_S + 1), ("course-ws", MESSAGE_S)], ids=["course-http", "course-ws"]
)
def test_the_reference_grader_ends_a_cancelled_job_of_a_course(staff, start_grader, tmp_path, protocol, limit_s):
    course = staff.course()
    begun, ended, stage_of_a_minute = long_stage(tmp_path, "first")
    next_begun = tmp_path / "next-begun"
    start_grader(staff.stack, f"--protocol={protocol}")
    run = course.run(1, {"student_pipeline": [stage(**stage_of_a_minute | {"image": "x"})]})
    following = course.run(1, {"student_pipeline": [stage(**sh(f"touch {next_begun}"))]})
    wait_until(begun.exists, 20, "the job runs")
    assert course.ask("POST", f"/grading_job/cs225/{job_id_of(run, STUDENT)}/cancel").status_code == 200
    seconds = seconds_until(next_begun.exists, "the next job runs")
    print(f"the next job began {seconds:.2f} s after the cancel")
    assert ended.exists()
    assert seconds < limit_s * PATIENCE
    wait_until(lambda: course.state(following) == "grading run is complete", 10, "the next run is complete")
    assert list(course.status(run)["student_jobs_state"].values()) == ["grading job failed"]
