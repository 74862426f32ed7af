"""Server-sent events for clients that follow a job or a run."""

import signal
import time

import pytest
from broadway import Api
from course import config_of
from event_stream import EventStream
from pipelines import job_id_of
from test_health import sample_values
from waiting import soon, wait_until

STARTED, FINISHED, FAILED = ({"type": "state", "data": text} for text in ("STARTED", "FINISHED", "FAILED"))


def positions(*values):
    return [{"type": "position", "data": value} for value in values]


def state(text):
    return {"type": "state", "data": text}


def test_a_queued_jobs_stream_has_headers_at_once_and_no_events(staff):
    course = staff.course()
    run = course.run(3)
    begun = time.monotonic()
    stream = staff.stream("cs225", job_id_of(run, 1, 2))
    assert time.monotonic() - begun < soon(1)
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-cache"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["access-control-allow-origin"] == "*"
    assert stream.is_silent(0.7)


def test_head_is_answered_with_the_headers_and_leaves_no_stream_open(staff):
    course = staff.course()
    run = course.run(1)
    open_before = open_streams(staff)
    for subject in (f"run/{run}", job_id_of(run, 1, 0)):
        head = course.ask("HEAD", f"/stream/cs225/{subject}")
        assert head.status_code == 200 and head.content == b""
        assert head.headers["content-type"] == "text/event-stream" and head.headers["cache-control"] == "no-cache"
    for subject in ("run/none", "none"):
        path = f"/stream/cs225/{subject}"
        assert course.ask("HEAD", path).status_code == course.ask("GET", path).status_code >= 400
    wait_until(lambda: open_streams(staff) == open_before, 5, "no stream is left open")
    grader = staff.grader()
    grader.finish(grader.take())


def open_streams(staff):
    """The number of open streams at the first replica, from its metrics."""
    api = Api(staff.stack.described["api"][0]["internal_url"])
    text = api.request("GET", "/metrics").text
    api.close()
    return sample_values(text)["broadway_api_event_streams"]


@pytest.mark.parametrize("replica", [0, 1])
def test_a_stream_has_all_positions_then_the_states_then_the_end(staff, replica):
    course, grader = staff.course(), staff.grader(replica=0)
    run = course.run(6)
    stream = staff.stream("cs225", job_id_of(run, 1, 5), token="query-of-cs225", replica=replica)
    staff.stream("cs225", f"{job_id_of(run, 1, 5)}?snapshot=1", replica=replica).next()
    for _ in range(5):
        grader.finish(grader.take())
        time.sleep(0.05)  # so that the polls are answered in order
    job = grader.take()
    grader.finish(job)
    assert stream.rest() == [*positions(4, 3, 2, 1, 0), STARTED, FINISHED]
    assert stream.ends()


def test_a_job_that_fails_ends_with_failed(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(1)
    stream = staff.stream("cs225", f"{job_id_of(run, 1, 0)}?snapshot=1")
    assert stream.next() == positions(0)[0]
    grader.finish(grader.take(), success=False)
    assert stream.rest() == [STARTED, FAILED]


def test_a_lost_grader_shows_as_a_failure(staff):
    course, grader = staff.course(), staff.socket_grader()
    run = course.run(1)
    stream = staff.stream("cs225", f"{job_id_of(run, 1, 0)}?snapshot=1")
    grader.take()
    grader.close()
    assert [event for event in stream.rest() if event["type"] == "state"][-1] == FAILED


@pytest.mark.parametrize(
    "query",
    ["x=snapshot=1&snapshot=1", "snapshot=0&snapshot=1", "xsnapshot=1&snapshot=1", "&snapshot=1&", "a=%&snapshot=1"],
)
def test_a_snapshot_may_be_requested_anywhere_in_the_query(staff, query):
    run = staff.course().run(2)
    assert staff.stream("cs225", f"{job_id_of(run, 1, 1)}?{query}").next() == positions(1)[0]


def test_a_snapshot_has_the_jobs_position(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(4)
    assert staff.stream("cs225", f"{job_id_of(run, 1, 3)}?snapshot=1").next() == positions(3)[0]
    job = grader.take()["grading_job_id"]
    assert staff.stream("cs225", f"{job}?snapshot=1").next() == STARTED


def test_a_finished_job_gets_its_last_event_and_the_end(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(2)
    jobs = [grader.take() for _ in range(2)]
    grader.finish(jobs[0])
    assert staff.stream("cs225", jobs[0]["grading_job_id"]).rest() == [FINISHED]
    grader.finish(jobs[1], success=False)
    wait_until(lambda: course.state(run) == "grading run is complete", 5, "the run is complete")
    assert staff.stream("cs225", jobs[1]["grading_job_id"], replica=1).rest() == [FAILED]
    assert staff.stream("cs225", jobs[0]["grading_job_id"], replica=1).rest() == [FINISHED]


def test_a_job_that_will_never_run_gets_its_end_with_its_run(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(1, config_of(pre=True))
    stream = staff.stream("cs225", job_id_of(run, 1, 0))
    grader.finish(grader.take(), success=False)
    assert stream.rest() == [FAILED]


def test_an_unknown_job_is_400(staff):
    run = staff.course("cs241").run(1)
    for subject in ("x", "0" * 32, job_id_of(run, 1, 0), f"run/{run}", "run/x"):
        stream = staff.stream("cs225", subject)
        assert stream.status == 400


def test_a_stream_survives_a_change_of_leader(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(2)
    stream = staff.stream("cs225", f"{job_id_of(run, 1, 1)}?snapshot=1")
    assert stream.next() == positions(1)[0]
    staff.stack.kill("scheduler-0", signal.SIGKILL)
    staff.stack.restart("scheduler-0")
    for _ in range(2):
        grader.finish(grader.take(30))
    assert stream.rest(30) == [*positions(0), STARTED, FINISHED]


def test_a_keep_alive_is_sent_every_20_s(staff):
    course = staff.course()
    run = course.run(1)
    stream = staff.stream("cs225", job_id_of(run, 1, 0))
    begun = time.monotonic()
    assert stream.next_piece(25) == ":\n\n"
    assert 18 < time.monotonic() - begun < 23


def test_streams_do_not_delay_the_shutdown_of_a_replica(staff, make_replica):
    replica = make_replica(staff.stack, "--heartbeat-interval=1").wait_ready()
    course = staff.course()
    run = course.run(1)
    path = f"/api/v1/stream/cs225/{job_id_of(run, 1, 0)}"
    streams = [EventStream(replica.url, "admin-of-cs225", path) for _ in range(20)]
    begun = time.monotonic()
    replica.terminate()
    assert replica.wait(10) == 0
    assert time.monotonic() - begun < 5
    for stream in streams:
        assert stream.rest() == []
        stream.close()


def test_a_run_is_followed_by_its_states_and_its_progress_to_the_end(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(3, config_of(pre=True, post=True))
    stream = staff.stream("cs225", f"run/{run}?snapshot=1", replica=1)
    events = [stream.next(), stream.next()]
    start = {"total": 5, "queued": 1, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0}
    assert {"type": "progress", "data": start} in events or state("pre processing job has been scheduled") in events
    grader.finish(grader.take())
    grader.finish(grader.take(), success=False)
    for _ in range(3):
        grader.finish(grader.take())
    events += stream.rest()
    states = [event["data"] for event in events if event["type"] == "state"]
    assert states == [
        "pre processing job has been scheduled",
        "students grading jobs have been scheduled",
        "post processing job has been scheduled",
        "grading run is complete",
    ]
    last = [event["data"] for event in events if event["type"] == "progress"][-1]
    assert last == {"total": 5, "queued": 0, "running": 0, "succeeded": 4, "failed": 1, "cancelled": 0}


def test_a_finished_runs_stream_has_its_last_state_and_the_end(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(1)
    grader.finish(grader.take())
    wait_until(lambda: "finished_at" in staff.stack.database.run(run), 5, "the end of the run is on record")
    assert staff.stream("cs225", f"run/{run}").rest() == [state("grading run is complete")]


def test_websockets_and_streams_are_counted(staff):
    replica = Api(staff.stack.described["api"][0]["internal_url"])

    def count():
        values = sample_values(replica.request("GET", "/metrics").text)
        return values["broadway_api_websockets"], values["broadway_api_event_streams"]

    course, grader = staff.course(), staff.grader()
    run = course.run(1)
    job = grader.take()
    sockets, streams = count()
    link = staff.socket_grader()
    staff.stream("cs225", f"run/{run}")
    assert count() == (sockets + 1, streams + 1)
    grader.finish(job)
    link.close()
    wait_until(lambda: count() == (sockets, streams), 5, "what is over is not counted any more")
    replica.close()
