"""The loops of graders that know nothing of cancels: a job that ends while they run it doesn't stop them."""

import queue
import threading

import pytest
from broadway import ROUTE
from course import config_of, failed
from pipelines import STUDENT, job_id_of, own_limits, run_of
from waiting import wait_until

NOT_STARTED = "cannot update job that is not in STARTED state"


class PollingLoop(threading.Thread):
    """The loop of the course protocol over HTTP: it ends for ever at a status that it doesn't know."""

    def __init__(self, grader):
        super().__init__(daemon=True)
        self.grader = grader
        self.jobs, self.go_on = queue.Queue(), queue.Queue()
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set():
            answer = self.grader.poll_response()
            if answer.status_code == 498:
                continue
            if answer.status_code != 200:
                return
            job = answer.json()["data"]["grading_job_id"]
            self.jobs.put(job)
            self.go_on.get()
            if self.grader.finish_response(job, results=[{"late": True}], logs={"stdout": "x"}).status_code != 200:
                return


class SocketLoop(threading.Thread):
    """The loop by websocket: it sends a result, and waits for the next message, which is a job."""

    def __init__(self, grader):
        super().__init__(daemon=True)
        self.grader = grader
        self.jobs, self.go_on = queue.Queue(), queue.Queue()
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set():
            job = self.grader.take(60)
            self.jobs.put(job["grading_job_id"])
            self.go_on.get()
            self.grader.finish(job)


def cancel_job(course, _assignment, job):
    assert course.ask("POST", f"/grading_job/{course.name}/{job}/cancel").status_code == 200


def cancel_run(course, _assignment, job):
    assert course.cancel(job[:24]).status_code == 200
    wait_until(lambda: course.state(job[:24]) == "grading run was cancelled", 5, "the run is cancelled")


def supersede(course, assignment, job):
    """An ordinary resubmission. Its own job is not left in the queue."""
    new = course.start(assignment, supersede_key="ada", supersede_share=1)
    wait_until(lambda: course.state(job[:24]) == "grading run was superseded", 5, "the run is superseded")
    assert course.cancel(new).status_code == 200


ENDS = [cancel_job, cancel_run, supersede]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("loop", [PollingLoop, SocketLoop])
def test_a_loop_of_the_course_protocol_goes_on_after_its_job_was_ended(staff, loop, end):
    course = staff.course()
    assignment = course.configure(config_of())
    old = loop(staff.grader() if loop is PollingLoop else staff.socket_grader())
    course.start(assignment, supersede_key="ada")
    job = old.jobs.get(timeout=20)
    end(course, assignment, job)
    old.go_on.put(True)
    following = course.run()
    assert old.jobs.get(timeout=20) == job_id_of(following, STUDENT)
    old.over.set()
    old.go_on.put(True)
    wait_until(lambda: course.state(following) == "grading run is complete", 10, "the next run is complete")
    kept = staff.stack.database.db.job_results.find_one({"_id": job})
    assert "worker" not in kept and "result" not in kept and kept["outcome"] in ("cancelled", "superseded")
    assert course.data("GET", f"/grading_job/{course.name}/{job}")["outcome"] == kept["outcome"]


@pytest.mark.parametrize("end", ENDS)
def test_a_grader_that_asked_for_cancels_gets_the_refusal(staff, end):
    course, grader = staff.course(), staff.grader(cancel=True)
    assignment = course.configure(config_of())
    course.start(assignment, supersede_key="ada")
    job = grader.take()["grading_job_id"]
    end(course, assignment, job)
    answer = grader.finish_response(job)
    assert (answer.status_code, answer.json()) == (400, failed(NOT_STARTED))


@pytest.mark.parametrize("replica", [0, 1])
def test_only_what_the_grader_had_and_sends_first_is_excused(staff, replica):
    course, grader, stranger = staff.course(), staff.grader(replica=replica), staff.grader()
    run = course.run(2)
    job, other = (grader.take()["grading_job_id"] for _ in range(2))
    cancel_job(course, None, job)
    for _ in range(2):
        grader.finish(job, success=False)
    answer = grader.http.post(
        f"/grading_job/{grader.name}",
        json={"grading_job_id": job, "outcome": "infrastructure", "reason": "it was cancelled"},
    )
    assert (answer.status_code, answer.json()) == (200, {"status": "success", "data": None})
    answer = stranger.finish_response(job)
    assert (answer.status_code, answer.json()) == (400, failed(NOT_STARTED))
    grader.finish(other)
    answer = grader.finish_response(other, success=False)
    assert (answer.status_code, answer.json()) == (400, failed(NOT_STARTED))
    wait_until(lambda: course.state(run) == "grading run is complete", 10, "the run is over")


def test_the_loop_of_the_classic_protocol_notes_the_refusal_and_goes_on(stack):
    """It writes a line about a status that is not 200, then polls again."""
    grader = stack.grader()
    limits = own_limits()
    for way in ("job", "run", "supersede"):
        run = stack.api.submit_and_start(run_of(1, supersede_key="old/ada", **limits))
        job = grader.take()
        assert job["job_id"] == job_id_of(run, STUDENT)
        if way == "job":
            assert stack.api.request("POST", f"{ROUTE}/grading_job/{job['job_id']}/cancel").status_code == 200
        elif way == "run":
            stack.api.cancel(run)
        else:
            newer = run_of(1, supersede_key="old/ada", supersede_share=1, **limits)
            stack.api.cancel(stack.api.submit_and_start(newer))
        stack.api.wait_over(run)
        assert grader.finish_response(job, "late").status_code == 400
