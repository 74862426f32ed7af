"""Limits of live logs: what one grader or one client takes is not missing for the others."""

import json
import os
import signal

import pytest
from broadway import ROUTE
from course import COURSES, Staff, config_of
from harness import run_stack
from live_logs import ClassicJob, LogStream
from waiting import wait_until

SHARE = 64


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory):
    """A stack whose database may be stopped."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    yield from run_stack(tmp_path_factory, "log-limits", api=(f"course-config={config}", "allow-privileged"))


def test_a_grader_that_sends_many_chunks_fills_no_queue(own_stack):
    staff = Staff(own_stack)
    course, socket = staff.course(), staff.socket_grader()
    run = course.run(config=config_of())
    job = socket.take()["grading_job_id"]
    database = own_stack.pid("database")
    os.kill(database, signal.SIGSTOP)
    try:
        for offset in range(60):
            args = {"grading_job_id": job, "stream": "stdout", "offset": offset, "text": "x"}
            socket.send({"type": "job_log", "args": args})
        refusals = [socket.receive() for _ in range(26)]
    finally:
        os.kill(database, signal.SIGCONT)
    assert {refusal["type"] for refusal in refusals} == {"log_refused"}
    assert {refusal["args"]["reason"] for refusal in refusals} == {"32 chunks of this grader wait here already"}
    url = f"/grading_job/{course.name}/{job}/log"

    def size():
        return course.http.get(url, params={"stream": "stdout"}).json()["data"]["size"]

    wait_until(lambda: size() == 34, 20, "the others are stored")
    socket.send({"type": "job_log", "args": {"grading_job_id": job, "stream": "stdout", "offset": 34, "text": "y"}})
    wait_until(lambda: size() == 35, 10, "the socket goes on")
    socket.finish(job)
    wait_until(lambda: course.state(run) == "grading run is complete", 10, "the result counts")
    staff.close()


def test_one_client_never_takes_all_streams(stack):
    job = ClassicJob(stack)
    path = f"{ROUTE}/grading_job/{job.id}/log?stream=stdout"
    streams = [LogStream(stack.urls[1], path, {}) for _ in range(SHARE + 1)]
    assert [stream.status for stream in streams] == [*(SHARE * [200]), 429]
    for stream in streams:
        stream.close()
    job.finish(stdout="x")
