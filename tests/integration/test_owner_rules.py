"""Rules of a run that say who is at fault that a job failed."""

import pytest
from broadway import ROUTE, error_of
from course import config_of
from pipelines import run_of
from test_docs import check
from waiting import soon, wait_until

RULES = [
    {"stage": 0, "exit_code": [69, 75], "owner": "infrastructure"},
    {"stage": 0, "owner": "course"},
    {"signal": 9, "owner": "course"},
    {"kind": "preprocessing", "owner": "student"},
]


def report(*codes, **more):
    """A result as the reference grader sends it: a report of each stage, the last one with `more`."""
    stages = [{"image": "alpine:3.20", "exit_code": code} for code in codes]
    stages[-1] |= more
    return {"stages": stages}


def fail(grader, job, result):
    answer = grader.finish_response(job, result, success=False)
    assert answer.status_code == 200 and answer.json() == {}, answer.text


def owners_of(stack, run, replica=1):
    page = stack.apis[replica].request("GET", f"{ROUTE}/grading_run/{run}/jobs").json()
    return [job.get("owner") for job in page["jobs"]]


def test_the_first_rule_that_fits_decides_and_the_kind_of_the_job_if_none_does(stack):
    run = stack.api.submit_and_start(run_of(4, owner_rules=RULES))
    grader = stack.grader()
    results = (report(1), report(0, 137, signal=9), report(0, 1), "no report")
    for result in results:
        fail(grader, grader.take(), result)
    stack.api.wait_over(run)
    assert owners_of(stack, run) == ["course", "course", "student", "student"]
    status = stack.apis[1].status(run)
    check("grading_run_status", status)
    assert [student["owner"] for student in status["student_statuses"]] == ["course", "course", "student", "student"]


def test_the_owner_of_a_preprocessing_job_may_be_the_student(stack):
    run = stack.api.submit_and_start(run_of(1, pre=True, owner_rules=RULES[2:]))
    grader = stack.grader()
    fail(grader, grader.take(), report(1))
    stack.api.wait_over(run)
    assert owners_of(stack, run)[0] == "student"


@pytest.mark.parametrize("replica", [0, 1])
def test_a_failure_of_the_infrastructure_goes_to_another_grader_and_is_no_attempt(stack, replica):
    run = stack.api.submit_and_start(run_of(1, owner_rules=RULES, max_attempts=1))
    sick, sound = stack.grader(), stack.grader(1)
    job = sick.take()
    sick.at(stack.urls[replica])  # the replica that did not hand out the job reads the rules, too
    fail(sick, job, report(75))
    fail(sick, job, report(75))
    again = sound.take(soon())
    assert (again["job_id"], again["attempt"]) == (job["job_id"], 2)
    (student,) = stack.api.status(run)["student_statuses"]
    assert student["attempts"] == 1 and student["outcome"] is None
    first = stack.database.db.job_leases.find_one({"_id": f"{job['job_id']}.1"})
    assert (first["ended"], first["owner"]) == ("released", "infrastructure")
    assert "owner_rules[0]" in first["reason"] and "exit code 75" in first["reason"]
    sound.finish(again, "graded")
    assert stack.api.wait_over(run)["progress"]["succeeded"] == 1


def test_failures_by_the_rules_of_one_run_do_not_pause_a_grader(stack):
    run = stack.api.submit_and_start(run_of(6, owner_rules=[{"owner": "infrastructure"}]))
    grader = stack.grader()
    try:
        for _ in range(6):
            job = grader.take(soon())
            fail(grader, job, report(75))
        lease = stack.database.db.job_leases.find_one({"_id": f"{job['job_id']}.1"})
        assert lease["ruled"] is True
        other = stack.api.submit_and_start(run_of(1))
        grader.finish(grader.take(soon()))
        assert stack.api.wait_over(other)["progress"]["succeeded"] == 1
    finally:
        stack.api.cancel(run)


def test_a_success_stays_a_success_whatever_the_rules_say(stack):
    run = stack.api.submit_and_start(run_of(1, owner_rules=[{"owner": "infrastructure"}]))
    grader = stack.grader()
    grader.finish(grader.take(), report(75))
    assert stack.api.wait_over(run)["progress"]["succeeded"] == 1


def test_a_rerun_keeps_the_rules(stack):
    run = stack.api.submit_and_start(run_of(1, owner_rules=RULES))
    grader = stack.grader()
    fail(grader, grader.take(), report(1))
    stack.api.wait_over(run)
    again = stack.api.request("POST", f"{ROUTE}/grading_run/{run}/rerun", params={"select": "failed"}).json()["id"]
    fail(grader, grader.take(), report(2))
    stack.api.wait_over(again)
    assert owners_of(stack, again) == ["course"]


def test_rules_of_a_course_are_in_its_config(staff):
    course = staff.course()
    assignment = course.configure(config_of(owner_rules=RULES))
    assert course.data("GET", f"/grading_config/cs225/{assignment}")["owner_rules"] == RULES
    assert "owner_rules" not in course.data("GET", f"/grading_config/cs225/{course.configure(config_of())}")
    run = course.start(assignment)
    sick, sound = staff.grader(), staff.grader(replica=1)
    job = sick.take()
    sick.finish(job, success=False, results=[report(75)])
    again = sound.take(soon())
    assert again["grading_job_id"] == job["grading_job_id"]
    sound.finish(again, success=False, results=[report(3)])
    wait_until(lambda: course.state(run) != "grading run is in progress", soon(), "the run is over")
    (entry,) = course.data("GET", f"/grading_run/cs225/{run}/jobs")["jobs"]
    assert (entry["owner"], entry["outcome"]) == ("course", "failed")


def test_a_grader_with_a_websocket_gets_the_next_job_after_such_a_failure(staff):
    course = staff.course()
    grader = staff.socket_grader()
    first = course.run(config=config_of(owner_rules=RULES))
    job = grader.take()
    grader.finish(job, success=False, results=[report(75)])
    course.run()
    other = grader.take(soon())
    assert other["grading_job_id"] != job["grading_job_id"]
    grader.finish(other)
    grader.close()
    sound = staff.grader()
    sound.finish(sound.take(soon()))
    wait_until(lambda: course.state(first) == "grading run is complete", soon(), "the run is over")


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({}, "owner_rules[0].owner: is required"),
        ({"owner": "client"}, "owner_rules[0].owner: 'client' is not one of student, course, infrastructure"),
        (
            {"owner": "student", "kind": "pre"},
            "owner_rules[0].kind: 'pre' is not one of preprocessing, student, postprocessing",
        ),
        (
            {"owner": "student", "exit_code": 256},
            "owner_rules[0].exit_code: must be an integer from 0 to 255, or a list of two, the first and the last",
        ),
        ({"owner": "student", "exit": 1}, "owner_rules[0]: unknown key 'exit'"),
    ],
)
def test_invalid_rules_are_refused(stack, staff, rule, sentence):
    answer = stack.api.request("POST", f"{ROUTE}/grading_run", json=run_of(1, owner_rules=[rule]))
    assert (answer.status_code, error_of(answer)) == (400, sentence)
    answer = staff.course().ask("POST", "/grading_config/cs225/x", config_of(owner_rules=[rule]))
    assert (answer.status_code, answer.json()["data"]) == (400, sentence)


def test_more_than_a_hundred_rules_are_refused(stack):
    rules = [{"owner": "student"}] * 101
    answer = stack.api.request("POST", f"{ROUTE}/grading_run", json=run_of(1, owner_rules=rules))
    assert answer.status_code == 400 and error_of(answer).startswith("owner_rules: ")
