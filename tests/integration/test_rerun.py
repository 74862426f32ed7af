"""Grading students of a run again: a new run, linked to the earlier one, which stays as it is."""

import pytest
from broadway import ROUTE, error_of
from pipelines import run_of
from waiting import wait_until

NAMES = ["ada", "grace", "alan", "edsger", "barbara"]


def path_of(run):
    return f"{ROUTE}/grading_run/{run}/rerun"


def rerun(stack, run, headers=None, **request):
    answer = stack.api.request("POST", path_of(run), json=request, headers=headers)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"id"}
    return answer.json()["id"]


def names_of(status):
    """The students of a status by name, in order."""
    return [student["stages"][0]["env"]["NETID"] for student in status["student_statuses"]]


def graded(stack, failing, **more):
    """A finished run of five students, of whom those in `failing` failed."""
    run = stack.api.submit_and_start(run_of(0, students=[{"NETID": name} for name in NAMES], **more))
    grader = stack.grader()
    while not stack.api.is_over(run):
        job = grader.take()
        grader.finish(job, f"first {job['job_id']}", success=not set(failing) & set(values_of(job)))
    return run


def values_of(job):
    return [entry.partition("=")[2] for entry in job["stages"][0]["env"]]


def grade_all(stack, run):
    """Ends the run with success; returns its status."""
    grader = stack.grader()
    while not stack.api.is_over(run):
        grader.finish(grader.take(), "again")
    return stack.api.wait_over(run)


def test_arguments_may_be_in_the_query_or_a_form(stack):
    run = graded(stack, {"ada"})
    for request in ({"params": {"select": "failed"}}, {"data": {"select": "failed", "priority": "3"}}):
        answer = stack.api.request("POST", path_of(run), **request)
        assert answer.status_code == 200, answer.text
        assert names_of(grade_all(stack, answer.json()["id"])) == ["ada"]


def test_failed_students_are_graded_again_by_a_linked_run_and_the_earlier_run_keeps_its_results(stack):
    run = graded(stack, {"grace", "edsger"})
    before = stack.api.wait_over(run)
    again = rerun(stack, run, select="failed")
    status = grade_all(stack, again)
    assert names_of(status) == ["grace", "edsger"]
    assert [student["rerun_student"] for student in status["student_statuses"]] == [1, 3]
    assert status["rerun_of"] == run and "reruns" not in status
    assert {student["result"] for student in status["student_statuses"]} == {"again"}
    after = stack.api.status(run, results="true")
    assert after.pop("reruns") == [again]
    assert after == before


def test_all_students_are_graded_again_with_the_jobs_before_and_after_them(stack):
    run = graded(stack, {"ada"}, pre=True, post=True)
    status = grade_all(stack, rerun(stack, run, select="all"))
    assert names_of(status) == NAMES
    assert status["preprocessing_status"]["outcome"] == "succeeded"
    assert status["postprocessing_status"]["outcome"] == "succeeded"
    assert status["state"] == "finished"


def test_students_whose_jobs_failed_alike_are_graded_again(stack):
    run = stack.api.submit_and_start(run_of(0, students=[{"NETID": name} for name in NAMES], pre=True))
    grader = stack.grader()
    faults = {"ada": "no such file", "alan": "segmentation fault", "barbara": "no such file"}
    while not stack.api.is_over(run):
        job = grader.take()
        fault = next((faults[name] for name in values_of(job) if name in faults), None)
        grader.finish(job, "done" if fault is None else fault, success=fault is None)
    failed = [student for student in stack.api.wait_over(run)["student_statuses"] if student["outcome"] == "failed"]
    signatures = [student["signature"] for student in failed]
    assert signatures[0] == signatures[2] != signatures[1]
    status = grade_all(stack, rerun(stack, run, signature=signatures[0]))
    assert names_of(status) == ["ada", "barbara"]


def test_students_are_named_by_position_or_by_their_environment(stack):
    run = graded(stack, set())
    status = grade_all(stack, rerun(stack, run, students=[4, {"NETID": "ada"}, 0]))
    assert names_of(status) == ["ada", "barbara"]


def test_cancelled_students_are_those_that_never_got_a_result(stack):
    run = stack.api.submit_and_start(run_of(0, students=[{"NETID": name} for name in NAMES]))
    grader = stack.grader()
    grader.finish(grader.take(), "in time", success=False)
    stack.api.cancel(run)
    stack.api.wait_over(run)
    status = grade_all(stack, rerun(stack, run, select="cancelled"))
    assert names_of(status) == NAMES[1:]


def test_a_rerun_waits_behind_live_work_unless_its_priority_says_otherwise(stack):
    run = graded(stack, {"ada"})
    later = rerun(stack, run, select="failed")
    live = stack.api.submit_and_start(run_of(1))
    sooner = rerun(stack, run, select="failed", priority=1)
    wait_until(lambda: stack.api.status(sooner)["progress"]["queued"] == 1, 10, "the last run is queued")
    grader = stack.grader()
    order = []
    for _ in range(3):
        job = grader.take()
        order.append(job["job_id"][:24])
        grader.finish(job, "done")
    assert order == [sooner, live, later]


def test_a_rerun_of_a_rerun_is_linked_to_the_run_before_it(stack):
    run = graded(stack, {"alan", "barbara"})
    first = rerun(stack, run, select="failed")
    grader = stack.grader()
    while not stack.api.is_over(first):
        grader.finish(grader.take(), "still", success=False)
    second = rerun(stack, first, students=[{"NETID": "barbara"}])
    status = grade_all(stack, second)
    assert status["rerun_of"] == first
    assert status["student_statuses"][0]["rerun_student"] == 1
    assert stack.api.status(run)["reruns"] == [first]
    assert stack.api.status(first)["reruns"] == [second]


def test_a_repeated_request_with_the_same_key_makes_one_rerun_whatever_failed_since(stack):
    run = stack.api.submit_and_start(run_of(2))
    grader = stack.grader()
    grader.finish(grader.take(), "bad", success=False)
    key = {"Idempotency-Key": f"rerun {run}"}
    again = rerun(stack, run, headers=key, select="failed")
    while not stack.api.is_over(run) or not stack.api.is_over(again):
        grader.finish(grader.take(), "bad", success=False)
    assert rerun(stack, run, headers=key, select="failed") == again
    assert stack.api.status(run)["reruns"] == [again]
    assert stack.api.status(again)["progress"]["total"] == 1
    answer = stack.api.request("POST", path_of(run), json={"select": "all"}, headers=key)
    assert answer.status_code == 400
    assert "Idempotency-Key" in error_of(answer)


@pytest.mark.parametrize(
    "request_, sentence",
    [
        ({}, "exactly one of 'select', 'signature' and 'students'"),
        ({"select": "all", "students": [0]}, "exactly one of 'select', 'signature' and 'students'"),
        ({"select": "most"}, "select: must be all, failed or cancelled"),
        ({"signature": "x"}, "signature: must be the signature of a failure"),
        ({"signature": "0" * 16}, "no student of the grading run is selected"),
        ({"select": 3}, "select: must be a string"),
        ({"students": 3}, "students: must be a list, not"),
        ({"students": [-1]}, "students[0]: must be the position of a student"),
        ({"students": [0, {}]}, "students[1]: must be the position of a student"),
        ({"students": ["ada"]}, "students[0]: must be the position of a student"),
        ({"students": [0, 5]}, "students[1]: the grading run has no such student"),
        ({"students": [{"NETID": "mallory"}]}, "students[0]: the grading run has no such student"),
        ({"students": []}, "no student of the grading run is selected"),
        ({"select": "failed"}, "no student of the grading run is selected"),
        ({"select": "all", "priority": 101}, "priority"),
        ({"select": "all", "students_env": []}, "students_env"),
    ],
)
def test_a_wrong_request_is_refused_and_makes_no_run(stack, succeeded_run, request_, sentence):
    answer = stack.api.request("POST", path_of(succeeded_run), json=request_)
    assert answer.status_code == 400
    assert sentence in error_of(answer)
    assert "reruns" not in stack.api.status(succeeded_run)


def test_too_many_students_named_by_their_environments_are_refused(stack):
    run = stack.api.submit(run_of(0, students=[{"N": str(number)} for number in range(4000)], student_pipeline=[]))
    stack.api.start(run)
    stack.api.wait_over(run)
    answer = stack.api.request("POST", path_of(run), json={"students": [{"N": "1"}] * 2501})
    assert answer.status_code == 400
    assert "2501 variables are too many" in error_of(answer)
    status = stack.api.wait_over(rerun(stack, run, students=list(range(2501))))
    assert status["progress"]["total"] == 2501


@pytest.fixture(scope="module")
def succeeded_run(shared_stack):
    return graded(shared_stack, set())


def test_a_run_that_was_never_started_has_nothing_to_grade_again(stack):
    run = stack.api.submit(run_of(2))
    answer = stack.api.request("POST", path_of(run), json={"select": "all"})
    assert answer.status_code == 409
    assert "never started" in error_of(answer)


def test_an_unknown_run_can_not_be_graded_again(stack):
    answer = stack.api.request("POST", path_of("0" * 24), json={"select": "all"})
    assert answer.status_code == 400
    assert "0" * 24 in error_of(answer)


def test_students_of_a_course_are_graded_again(staff):
    course = staff.course("cs225")
    run = course.run(envs=[{"NETID": name} for name in NAMES])
    grader = staff.grader()
    for _ in NAMES:
        job = grader.take()
        grader.finish(job, success=job["stages"][0]["env"]["NETID"] != "alan")
    wait_until(lambda: course.state(run) == "grading run is complete", 10, "the run is complete")
    again = course.data("POST", f"/grading_run/cs225/{run}/rerun", {"select": "failed"})["grading_run_id"]
    job = grader.take()
    assert job["grading_job_id"][:24] == again
    assert job["stages"][0]["env"]["NETID"] == "alan"
    grader.finish(job)
    wait_until(lambda: course.state(again) == "grading run is complete", 10, "the rerun is complete")
    assert course.status(again)["rerun_of"] == run
    assert course.status(run)["reruns"] == [again]


def test_a_run_of_another_course_is_unknown_and_a_wrong_request_is_refused(staff):
    course = staff.course("cs225")
    run = course.run(envs=1)
    answer = staff.course("cs241").ask("POST", f"/grading_run/cs241/{run}/rerun", {"select": "all"})
    assert answer.status_code == 400
    assert "not found" in answer.text
    answer = course.ask("POST", f"/grading_run/cs225/{run}/rerun", {"select": "most"})
    assert answer.status_code == 400
    assert "must be all, failed or cancelled" in answer.text
    grader = staff.grader()
    grader.finish(grader.take())
