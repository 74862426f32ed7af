"""The breaker of a run: its first jobs fail in the same way, and the run pauses."""

import pytest
from broadway import ROUTE, error_of
from course import config_of
from harness import Stack
from pipelines import run_of
from waiting import holds_for, wait_until


def fail(grader, job, line="no such file: tests.py"):
    grader.finish(job, {"stages": []}, success=False, logs={"stderr": line})


def paused(api, run):
    return api.status(run).get("paused")


def wait_paused(api, run):
    return wait_until(lambda: paused(api, run), 5, "the breaker pauses the run")


def resume(api, run):
    return api.request("POST", f"{ROUTE}/grading_run/{run}/resume")


def test_a_run_whose_first_jobs_fail_alike_pauses_and_names_the_signature(stack):
    run = stack.api.submit_and_start(run_of(5, breaker=3))
    grader = stack.grader()
    for _ in range(3):
        fail(grader, grader.take())
    shown = wait_paused(stack.api, run)
    students = stack.api.status(run, results="true")["student_statuses"]
    signature = students[0]["signature"]
    assert shown["note"] == f"the first 3 jobs of students failed in the same way: signature {signature}"
    assert (shown["kind"], shown["by"], shown["automatic"], shown["until"]) == ("run", "scheduler", True, None)
    assert grader.poll() is None
    assert resume(stack.api, run).json() == {"paused": None}
    for _ in range(2):
        fail(grader, grader.take())
    assert stack.api.wait_over(run)["progress"]["failed"] == 5
    rerun = stack.api.request("POST", f"{ROUTE}/grading_run/{run}/rerun", json={"signature": signature}).json()["id"]
    assert stack.api.status(rerun)["progress"]["total"] == 5
    stack.api.cancel(rerun)


def test_a_breaker_does_not_pause_a_run_again_that_was_resumed(stack):
    run = stack.api.submit_and_start(run_of(8, breaker=2))
    grader = stack.grader()
    for _ in range(2):
        fail(grader, grader.take())
    wait_paused(stack.api, run)
    resume(stack.api, run)
    for _ in range(5):
        fail(grader, grader.take())
    holds_for(lambda: paused(stack.api, run) is None, 0.5, "the breaker is over")
    fail(grader, grader.take())
    stack.api.wait_over(run)


def test_a_run_that_was_resumed_by_hand_before_has_no_breaker_any_more(stack):
    run = stack.api.submit_and_start(run_of(3, breaker=2))
    assert resume(stack.api, run).status_code == 200
    grader = stack.grader()
    for _ in range(3):
        fail(grader, grader.take())
    stack.api.wait_over(run)


@pytest.mark.parametrize("ending", ["success", "other"])
def test_one_job_that_ends_otherwise_keeps_the_run_going(stack, ending):
    run = stack.api.submit_and_start(run_of(5, breaker=3))
    grader = stack.grader()
    for _ in range(2):
        fail(grader, grader.take())
    if ending == "success":
        grader.finish(grader.take())
    else:
        fail(grader, grader.take(), "out of memory")
    for _ in range(2):
        fail(grader, grader.take())
    assert stack.api.wait_over(run)["state"] == "finished"


def test_twenty_is_the_limit_unless_the_run_says_otherwise(stack):
    runs = {}
    for breaker in (None, False):
        definition = run_of(21) if breaker is None else run_of(21, breaker=breaker)
        runs[breaker] = stack.api.submit_and_start(definition)
        grader = stack.grader()
        for _ in range(20):
            fail(grader, grader.take())
        if breaker is None:
            assert "the first 20 jobs" in wait_paused(stack.api, runs[breaker])["note"]
            stack.api.cancel(runs[breaker])
        else:
            fail(grader, grader.take())
        stack.api.wait_over(runs[breaker])
    assert stack.api.status(runs[False])["progress"]["failed"] == 21


def test_the_breaker_counts_across_leaders(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("breaker"), schedulers=2, both=("heartbeat-interval=1",))
    stack.up()
    try:
        run = stack.api.submit_and_start(run_of(8, breaker=6))
        grader = stack.grader()
        for count in range(6):
            if count in (2, 4):
                for name in ("scheduler-0", "scheduler-1"):
                    stack.kill(name)
                    stack.restart(name)
            fail(grader, grader.take(seconds=30))
        assert wait_until(lambda: paused(stack.api, run), 30, "the breaker pauses the run")["automatic"]
        assert grader.poll() is None
    finally:
        stack.down()


@pytest.mark.parametrize("value", [1, 0, True, "20", 2.5, 100001])
def test_a_bad_limit_is_refused(stack, value):
    answer = stack.api.request("POST", f"{ROUTE}/grading_run", json=run_of(1, breaker=value))
    assert (answer.status_code, error_of(answer)) == (
        400,
        "breaker: must be an integer between 2 and 100000, or false",
    )


def test_a_run_of_a_course_has_one_too(staff):
    course, grader = staff.course(), staff.grader()
    run = course.start(course.configure(config_of()), 4, breaker=2)
    for _ in range(2):
        grader.finish(grader.take(), success=False, logs={"stderr": "no tests"})
    shown = wait_until(lambda: course.status(run).get("paused"), 5, "the breaker pauses the run")
    assert shown["automatic"] and shown in course.data("GET", "/pauses/cs225")["pauses"]
    assert grader.poll() is None
    assert course.data("POST", f"/grading_run/cs225/{run}/resume") == {"paused": None}
    assert grader.work_off() == 2
