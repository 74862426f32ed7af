"""Cancelling a run: every job without a result gets the result `cancelled`, and the run ends once."""

import pytest
from broadway import ROUTE, error_of
from harness import run_stack
from pipelines import run_of
from waiting import wait_until


def outcomes(status):
    return [student["outcome"] for student in status["student_statuses"]]


def test_a_run_that_was_not_started_is_cancelled_at_once_and_can_not_be_started(stack):
    run = stack.api.submit(run_of(3))
    stack.api.cancel(run)
    status = stack.api.status(run)
    assert status["state"] == "cancelled" and status["finished_at"]
    assert {student["status"] for student in status["student_statuses"]} == {"Finished"}
    answer = stack.api.request("POST", f"{ROUTE}/grading_run/{run}")
    assert answer.status_code == 400
    assert "cancelled" in error_of(answer)


def test_queued_jobs_of_a_cancelled_run_are_not_handed_out(stack):
    run = stack.api.submit_and_start(run_of(40, post=True))
    stack.api.cancel(run)
    status = stack.api.wait_over(run)
    assert status["state"] == "cancelled"
    assert outcomes(status) == ["cancelled"] * 40
    assert status["postprocessing_status"]["outcome"] == "cancelled"
    assert status["progress"]["cancelled"] == 41
    assert stack.grader().poll() is None


def test_a_result_that_comes_after_the_cancelling_is_refused_and_those_before_it_stay(stack):
    run = stack.api.submit_and_start(run_of(3))
    grader = stack.grader()
    first, second = grader.take(), grader.take()
    grader.finish(first, "early")
    stack.api.cancel(run)
    status = stack.api.wait_over(run)
    assert status["state"] == "cancelled"
    assert outcomes(status) == ["succeeded", "cancelled", "cancelled"]
    answer = grader.finish_response(second, "late")
    assert answer.status_code == 400
    assert "cancelled" in error_of(answer)
    assert outcomes(stack.api.status(run)) == ["succeeded", "cancelled", "cancelled"]


def test_a_run_is_cancelled_while_its_first_job_runs(stack):
    run = stack.api.submit_and_start(run_of(2, pre=True))
    stack.grader().take()
    stack.api.cancel(run)
    status = stack.api.wait_over(run)
    assert status["state"] == "cancelled"
    assert outcomes(status) == ["cancelled", "cancelled"]


def test_cancelling_twice_is_fine(stack):
    run = stack.api.submit_and_start(run_of(2))
    stack.api.cancel(run)
    stack.api.cancel(run)
    stack.api.wait_over(run)
    stack.api.cancel(run)


def test_a_finished_run_can_not_be_cancelled_and_its_end_is_named(stack):
    run = stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    grader.finish(grader.take(), "done")
    wait_until(lambda: stack.api.is_over(run), 10, "the run is over")
    wait_until(lambda: stack.api.status(run)["finished_at"], 10, "its end is recorded")
    answer = stack.api.request("POST", f"{ROUTE}/grading_run/{run}/cancel")
    assert answer.status_code == 409
    assert answer.json()["state"] == "finished"
    assert run in error_of(answer)
    assert stack.api.status(run)["state"] == "finished"


def test_an_unknown_run_can_not_be_cancelled(stack):
    answer = stack.api.request("POST", f"{ROUTE}/grading_run/{'0' * 24}/cancel")
    assert answer.status_code == 400
    assert "0" * 24 in error_of(answer)


@pytest.mark.parametrize("students", [1, 30])
def test_cancelling_in_the_same_instant_as_the_last_result_ends_the_run_once(stack, students):
    for _ in range(5):
        run = stack.api.submit_and_start(run_of(students, post=True))
        grader = stack.grader()
        jobs = [grader.take() for _ in range(students)]
        for job in jobs[:-1]:
            grader.finish(job, "done")
        answer = grader.finish_response(jobs[-1], "last")
        stack.api.cancel(run)
        status = stack.api.wait_over(run)
        assert answer.status_code == 200
        assert outcomes(status) == ["succeeded"] * students
        assert status["state"] == "cancelled"
        assert status["postprocessing_status"]["outcome"] == "cancelled"


@pytest.fixture
def fresh_stack(tmp_path_factory):
    """A stack with an empty database. The embedded one can stall for a minute when 20,000 documents are inserted after
    thousands of other tests: each read of an id then waits until WiredTiger can evict a page."""
    yield from run_stack(tmp_path_factory, "fresh")


def test_a_run_without_stages_ends_when_it_is_cancelled_at_any_moment(fresh_stack):
    """Its jobs get their results from the scheduler, hundreds of which are in flight."""
    for _ in range(5):
        run = fresh_stack.api.submit_and_start(run_of(4000, student_pipeline=[]))
        fresh_stack.api.cancel(run)
        wait_until(lambda run=run: fresh_stack.api.is_over(run), 30, "the run is over")
