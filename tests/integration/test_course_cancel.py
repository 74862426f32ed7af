"""Cancelling a run of a course: the status shows it at once, its queue is empty, and it ends like any run."""

from course import failed
from waiting import wait_until

CANCELLED = "grading run was cancelled"


def test_a_cancelled_runs_queued_jobs_are_not_handed_out(staff):
    course, grader = staff.course(), staff.grader(cancel=True)
    run = course.run(5)
    job = grader.take()
    answer = course.cancel(run)
    assert (answer.status_code, answer.json()) == (200, {"status": "success", "data": None})
    wait_until(lambda: course.state(run) == CANCELLED, 5, "the run is cancelled")
    assert set(course.status(run)["student_jobs_state"].values()) == {"grading job failed"}
    assert course.length() == 0
    assert grader.poll() is None
    late = grader.finish_response(job)
    assert (late.status_code, late.json()) == (400, failed("cannot update job that is not in STARTED state"))


def test_cancelling_twice_is_accepted_and_a_finished_run_is_unchanged(staff):
    course, grader = staff.course(), staff.grader()
    run, done = course.run(2), course.run(0)
    assert course.cancel(run).status_code == 200
    assert course.cancel(run).status_code == 200
    wait_until(lambda: course.state(done) == "grading run is complete", 5, "the run is complete")
    answer = course.cancel(done)
    assert (answer.status_code, answer.json()) == (409, failed("the run is over: grading run is complete"))
    assert course.state(done) == "grading run is complete"
    assert grader.poll() is None


def test_a_run_of_another_course_is_not_found_and_continues(staff):
    course, other = staff.course(), staff.course("cs241")
    run = course.run(1)
    for wrong in (run, "0" * 24, "x"):
        answer = other.cancel(wrong)
        assert (answer.status_code, answer.json()) == (400, failed("grading run with the given ID not found"))
    staff.grader().work_off()
    wait_until(lambda: course.state(run) == "grading run is complete", 5, "the run is complete")


def test_followers_of_a_run_see_its_end(staff):
    course = staff.course()
    run = course.run(3)
    stream = staff.stream("cs225", f"run/{run}?snapshot=1")
    assert course.cancel(run).status_code == 200
    events = stream.rest()
    assert {"type": "state", "data": CANCELLED} in events
    assert [event["data"] for event in events if event["type"] == "progress"][-1]["cancelled"] == 3
