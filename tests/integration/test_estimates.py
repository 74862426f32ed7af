"""Estimates: when a run, a job or a course will be done, by how long such jobs took; also after a restart."""

import datetime
import json
import re
import time

import httpx
import pytest
from broadway import ROUTE, error_of
from course import COURSES, Course, CourseGrader
from event_stream import EventStream
from harness import run_stack
from pipelines import STUDENT, job_id_of, run_of
from test_docs import check
from waiting import wait_until

TOOK_S = 0.5


@pytest.fixture(scope="module")
def estimating(tmp_path_factory):
    """A stack of its own, which has learned nothing yet."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    api = ("course-poll-wait=0", f"course-config={config}")
    yield from run_stack(tmp_path_factory, "estimating", both=("heartbeat-interval=1",), api=api)


def estimate(stack, path):
    answer = stack.api.request("GET", f"{ROUTE}/{path}/estimate")
    assert answer.status_code == 200, answer.text
    check("estimate", answer.json())
    return answer.json()


def seconds(found, key, quantile="p50"):
    """How long after the estimate was made."""
    dates = [datetime.datetime.fromisoformat(text) for text in (found[key][quantile], found["at"])]
    return (dates[0] - dates[1]).total_seconds()


def grade(grader, jobs):
    for _ in range(jobs):
        job = grader.take()
        time.sleep(TOOK_S)  # what is measured
        grader.finish(job)


def test_an_estimate_comes_with_the_first_results_and_outlives_the_scheduler(estimating):
    api = estimating.api
    run = api.submit(run_of(40, name="hw1"))
    assert "was not started, or has ended" in estimate(estimating, f"grading_run/{run}")["reason"]
    api.start(run)
    found = estimate(estimating, f"grading_run/{run}")
    assert (found["starts"], found["ends"], found["basis"], found["times_seen"]) == (None, None, "none", 0)
    assert "how long they take is not known" in found["reason"]
    grader = estimating.grader()
    grade(grader, 6)
    found = wait_until(
        lambda: (made := estimate(estimating, f"grading_run/{run}"))["times_seen"] == 6 and made, 10, "six were seen"
    )
    assert (found["basis"], found["graders"], found["reason"]) == ("assignment", 1, None)
    assert 0.7 * 34 * TOOK_S < seconds(found, "ends") < 1.6 * 34 * TOOK_S
    assert seconds(found, "ends") < seconds(found, "ends", "p90")
    twice = next(more for more in found["more_graders"] if more["graders"] == 1)
    assert twice["p50"] < found["ends"]["p50"]
    last = estimate(estimating, f"grading_job/{job_id_of(run, STUDENT, 39)}")
    assert seconds(last, "starts") > 0.6 * 33 * TOOK_S and last["ends"]["p50"] > last["starts"]["p50"]
    assert "has its result" in estimate(estimating, f"grading_job/{job_id_of(run, STUDENT, 0)}")["reason"]
    api.request("POST", f"{ROUTE}/grading_run/{run}/pause")
    assert estimate(estimating, f"grading_run/{run}")["reason"] == "it is paused"
    api.request("POST", f"{ROUTE}/grading_run/{run}/resume")
    keys = ["0/1", "0/1//hw1"]
    wait_until(lambda: sorted(estimating.database.job_times()) == keys, 25, "both times are stored")
    estimating.kill("scheduler-0")
    estimating.restart("scheduler-0")
    known = wait_until(
        lambda: (made := estimate(estimating, f"grading_run/{run}"))["times_seen"] == 6 and made,
        25,
        "it is known again",
    )
    assert known["basis"] == "assignment"
    api.cancel(run)


def test_metrics_say_how_much_work_there_is(estimating):
    run = estimating.api.submit_and_start(run_of(5, name="hw1"))

    def wanted():
        text = httpx.get(estimating.described["scheduler"][0]["url"] + "/metrics", trust_env=False).text
        return int(re.search(r'^broadway_scheduler_graders_wanted\{protocol="classic"\} (\d+)', text, re.MULTILINE)[1])

    wait_until(lambda: wanted() >= 1, 25, "a grader is wanted")
    estimating.api.cancel(run)
    wait_until(lambda: wanted() == 0, 25, "none is wanted any more")


def test_a_course_has_estimates_for_whoever_may_see_its_queue(estimating):
    course, student = Course(estimating.urls[0]), Course(estimating.urls[0], token="query-of-cs225")
    other = Course(estimating.urls[0], "cs241")
    assert course.data("GET", "/course/cs225/estimate")["reason"] == "no job of the course waits"
    run = course.run(10)
    grader = CourseGrader(estimating.urls[0], estimating.cluster_token)
    for _ in range(2):
        job = wait_until(grader.poll, 10, "there is a job")
        time.sleep(TOOK_S)
        grader.finish(job)
    whole = wait_until(
        lambda: (made := student.data("GET", "/course/cs225/estimate"))["ends"] is not None and made, 10, "it is known"
    )
    check("estimate", whole)
    assert whole["starts"] is None and whole["times_seen"] == 2
    found = student.data("GET", f"/grading_run/cs225/{run}/estimate")
    check("estimate", found)
    assert seconds(found, "ends") > 2
    one = student.data("GET", f"/grading_job/cs225/{job_id_of(run, STUDENT, 9)}/estimate")
    check("estimate", one)
    assert seconds(one, "ends") > seconds(one, "starts") > 1
    stream = EventStream(estimating.urls[0], "query-of-cs225", f"{ROUTE}/stream/cs225/run/{run}?snapshot=1")
    event = wait_until(lambda: (got := stream.next())["type"] == "estimate" and got, 10, "the run's end is an event")
    stream.close()
    assert set(event["data"]) == {"at", "starts", "ends"} and seconds(event["data"], "ends") > 2
    answer = other.ask("GET", f"/grading_run/cs241/{run}/estimate")
    assert answer.status_code == 400 and "not found" in answer.text
    assert other.ask("GET", "/course/cs225/estimate").status_code == 401
    course.cancel(run)
    for client in (course, student, other, grader):
        client.close()


@pytest.mark.parametrize("path", [f"grading_run/{'0' * 24}", f"grading_job/{'0' * 32}"])
def test_what_is_unknown_is_refused(estimating, path):
    answer = estimating.api.request("GET", f"{ROUTE}/{path}/estimate")
    assert answer.status_code == 400 and error_of(answer)
