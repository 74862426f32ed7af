"""Cancelling one job: it is over at once, nothing of it is handed out, and its run goes on without it."""

import threading

import pytest
from broadway import ROUTE, error_of
from course import failed
from harness import Stack
from pipelines import POST, PRE, STUDENT, job_id_of, run_of
from waiting import wait_until


def cancel(api, job):
    return api.request("POST", f"{ROUTE}/grading_job/{job}/cancel")


def cancelled(api, job):
    answer = cancel(api, job)
    assert (answer.status_code, answer.json()) == (200, {"job_id": job, "state": "cancelled"}), answer.text


def outcomes(status):
    return [student["outcome"] for student in status["student_statuses"]]


def test_a_queued_job_is_cancelled_at_once_and_never_handed_out_and_its_run_finishes(stack):
    run = stack.api.submit_and_start(run_of(5, post=True))
    for index in (0, 2, 4):
        cancelled(stack.api, job_id_of(run, STUDENT, index))
        student = stack.api.status(run, results="true")["student_statuses"][index]
        assert (student["status"], student["outcome"], student["attempts"]) == ("Finished", "cancelled", 0)
        assert (student["result"], student["owner"]) == ("the grading job was cancelled", "client")
    grader = stack.grader()
    for index in (1, 3):
        job = grader.take()
        assert job["job_id"] == job_id_of(run, STUDENT, index)
        grader.finish(job)
    last = grader.take()
    assert last["job_id"] == job_id_of(run, POST)
    grader.finish(last)
    status = stack.api.wait_over(run)
    assert status["state"] == "finished"
    assert outcomes(status) == ["cancelled", "succeeded", "cancelled", "succeeded", "cancelled"]
    assert status["progress"]["cancelled"] == 3


def test_the_result_of_a_job_that_was_cancelled_while_it_ran_is_refused_and_its_grader_gets_the_next(stack):
    run = stack.api.submit_and_start(run_of(2))
    grader = stack.grader(concurrency=1)
    job = grader.take()
    cancelled(stack.api, job["job_id"])
    assert stack.api.status(run)["student_statuses"][0]["outcome"] == "cancelled"
    following = grader.take()
    assert following["job_id"] == job_id_of(run, STUDENT, 1)
    answer = grader.finish_response(job, "late")
    assert answer.status_code == 400
    assert "it was cancelled" in error_of(answer)
    grader.finish(following)
    status = stack.api.wait_over(run)
    assert (status["state"], outcomes(status)) == ("finished", ["cancelled", "succeeded"])
    assert [student["attempts"] for student in status["student_statuses"]] == [1, 1]


def test_a_run_whose_first_job_is_cancelled_is_cancelled_and_its_students_are_not_graded(stack):
    run = stack.api.submit_and_start(run_of(2, pre=True, post=True))
    cancelled(stack.api, job_id_of(run, PRE))
    status = stack.api.wait_over(run)
    assert (status["state"], outcomes(status)) == ("cancelled", ["cancelled"] * 2)
    assert stack.grader().poll() is None


def test_a_run_whose_last_job_is_cancelled_keeps_its_students_results_and_is_cancelled(stack):
    run = stack.api.submit_and_start(run_of(2, post=True))
    cancelled(stack.api, job_id_of(run, POST))
    grader = stack.grader()
    for _ in range(2):
        grader.finish(grader.take())
    status = stack.api.wait_over(run)
    assert (status["state"], outcomes(status)) == ("cancelled", ["succeeded"] * 2)
    assert grader.poll() is None


def test_cancelling_every_student_leads_to_the_last_job(stack):
    run = stack.api.submit_and_start(run_of(3, pre=True, post=True))
    for index in range(3):
        cancelled(stack.api, job_id_of(run, STUDENT, index))
    grader = stack.grader()
    for kind in (PRE, POST):
        job = grader.take()
        assert job["job_id"] == job_id_of(run, kind)
        grader.finish(job)
    assert stack.api.wait_over(run)["state"] == "finished"


def test_cancelling_a_run_after_one_of_its_jobs_ends_it_as_cancelled_with_its_last_job(stack):
    run = stack.api.submit_and_start(run_of(2, post=True))
    cancelled(stack.api, job_id_of(run, STUDENT, 0))
    grader = stack.grader()
    grader.finish(grader.take())
    last = grader.take()
    stack.api.cancel(run)
    status = stack.api.wait_over(run)
    assert (status["state"], status["postprocessing_status"]["outcome"]) == ("cancelled", "cancelled")
    assert grader.finish_response(last, "late").status_code == 400


def test_cancelling_a_job_twice_is_fine_and_one_that_ended_is_refused_with_its_state(stack):
    run = stack.api.submit_and_start(run_of(3))
    grader = stack.grader()
    grader.finish(grader.take(), "done")
    grader.finish(grader.take(), "wrong", success=False)
    for index, state in enumerate(("succeeded", "failed")):
        answer = cancel(stack.api, job_id_of(run, STUDENT, index))
        assert (answer.status_code, answer.json()["state"]) == (409, state)
        assert error_of(answer) == f"the grading job '{job_id_of(run, STUDENT, index)}' is over: it {state}"
    for _ in range(2):
        cancelled(stack.api, job_id_of(run, STUDENT, 2))
    assert outcomes(stack.api.wait_over(run)) == ["succeeded", "failed", "cancelled"]


def test_jobs_of_a_run_that_is_not_started_or_over_are_refused_with_their_state(stack):
    run = stack.api.submit(run_of(1, post=True))
    answer = cancel(stack.api, job_id_of(run, STUDENT))
    assert (answer.status_code, answer.json()["state"]) == (409, "created")
    assert error_of(answer) == f"the grading run '{run}' of this job is not started"
    stack.api.cancel(run)
    answer = cancel(stack.api, job_id_of(run, STUDENT))
    assert (answer.status_code, answer.json()["state"]) == (409, "cancelled")
    assert error_of(answer) == f"the grading run '{run}' of this job is over: it is cancelled"


def test_an_unknown_job_can_not_be_cancelled(stack):
    run = stack.api.submit_and_start(run_of(1))
    for job in (job_id_of(run, STUDENT, 1), job_id_of(run, PRE), job_id_of("0" * 24, STUDENT), f"{run}90000000"):
        answer = cancel(stack.api, job)
        assert (answer.status_code, error_of(answer)) == (400, f"there is no grading job '{job}'")
    for job in ("x", run, job_id_of(run, STUDENT).upper()):
        answer = cancel(stack.api, job)
        sentence = f"'{job}' is not the id of a grading job: 32 lower-case hex digits"
        assert (answer.status_code, error_of(answer)) == (400, sentence)
    assert outcomes(stack.api.status(run)) == [None]
    stack.api.cancel(run)


@pytest.mark.parametrize("is_delivered", [False, True])
def test_a_cancel_and_a_result_in_the_same_instant_leave_one_of_them(stack, is_delivered):
    for _ in range(8):
        run = stack.api.submit_and_start(run_of(1))
        grader = stack.grader()
        job = job_id_of(run, STUDENT)
        taken = grader.take() if is_delivered else None
        answers = []
        canceller = threading.Thread(target=lambda job=job, answers=answers: answers.append(cancel(stack.api, job)))
        canceller.start()
        taken = taken or grader.poll()
        result = grader.finish_response(taken, "done") if taken else None
        canceller.join()
        outcome = outcomes(stack.api.wait_over(run))[0]
        assert (answers[0].status_code, outcome) in ((200, "cancelled"), (409, "succeeded"))
        if result is not None:
            assert (result.status_code == 200) == (outcome == "succeeded")


@pytest.fixture
def own_stack(tmp_path):
    """A stack whose scheduler may be killed."""
    stack = Stack(tmp_path / "stack").up()
    yield stack
    stack.down()


def test_a_scheduler_that_recovers_hands_out_what_was_not_cancelled(own_stack):
    stack = own_stack
    students = 700  # jobs that were cancelled are a gap longer than what is read of leases at a time
    run = stack.api.submit_and_start(run_of(students, post=True))
    for index in range(1, students - 2):
        cancelled(stack.api, job_id_of(run, STUDENT, index))
    grader = stack.grader()
    held = [grader.take() for _ in range(2)]
    cancelled(stack.api, job_id_of(run, STUDENT, students - 1))
    stack.kill("scheduler-0")
    stack.restart("scheduler-0")
    assert [job["job_id"] for job in held] == [job_id_of(run, STUDENT, index) for index in (0, students - 2)]
    for job in held:
        grader.finish(job)
    last = grader.take()
    assert last["job_id"] == job_id_of(run, POST)
    grader.finish(last)
    status = stack.api.wait_over(run)
    assert (status["state"], outcomes(status).count("cancelled")) == ("finished", students - 2)
    assert {student["attempts"] for student in status["student_statuses"]} == {0, 1}


def test_a_job_of_a_course_is_cancelled_by_its_staff(staff):
    course, other, grader = staff.course(), staff.course("cs241"), staff.grader()
    run = course.run(3)
    jobs = [job_id_of(run, STUDENT, index) for index in range(3)]
    answer = course.ask("POST", f"/grading_job/cs225/{jobs[0]}/cancel")
    data = {"grading_job_id": jobs[0], "state": "grading job failed"}
    assert (answer.status_code, answer.json()) == (200, {"status": "success", "data": data})
    assert course.status(run)["student_jobs_state"][jobs[0]] == "grading job failed"
    assert "owners" not in course.status(run)
    wait_until(lambda: course.length() == 2, 5, "the queue is shorter")
    assert course.position(jobs[2]) == 1
    assert course.log(jobs[0])["stderr"] == "the grading job was cancelled"
    for wrong in (jobs[1], "x", "0" * 32):
        answer = other.ask("POST", f"/grading_job/cs241/{wrong}/cancel")
        assert (answer.status_code, answer.json()) == (400, failed("grading job with the given ID not found"))
    grader.work_off()
    wait_until(lambda: course.state(run) == "grading run is complete", 5, "the run is complete")
    answer = course.ask("POST", f"/grading_job/cs225/{jobs[1]}/cancel")
    assert (answer.status_code, answer.json()) == (409, failed("the job is over: grading job was successful"))
