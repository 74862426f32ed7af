"""Scores beside a result, in both protocols: what is taken, where it is shown, and what fails a job."""

import json

import pytest
from broadway import ROUTE
from course import config_of
from pipelines import run_of
from test_course_jobs import job_of as course_job_of
from test_course_jobs import page_of as course_page_of
from test_docs import check
from test_jobs import job_of, page_of

TESTS = [
    {"name": "compiles", "score": 1, "max_score": 1, "status": "passed"},
    {
        "name": "sorts",
        "score": -0.5,
        "max_score": 2.25,
        "status": "failed",
        "output": "<b>wrong</b>\n",
        "output_format": "html",
        "visibility": "after_due_date",
    },
    {"name": "sorts", "status": "skipped"},
    {"name": "ü" * 512, "status": "error"},
]
SCORES = {"score": 0.5, "max_score": 3.25, "tests": TESTS}
# What a grader may send, and the sentence that refuses it.
MALFORMED = {
    "score": ("9", "score: must be a number, not a string"),
    "max_score": (1e10, "max_score: must be between -1000000000 and 1000000000, not 10000000000"),
    "tests": ([{"name": "a"}, {"score": 1}], "tests[1].name: is required"),
    "owner": ("client", "owner: must be 'course', not 'client'"),
}


def shown_in_status(stack, run):
    (shown,) = stack.apis[1].status(run, results="true")["student_statuses"]
    check("grading_run_status", stack.apis[1].status(run, results="true"))
    return shown


def scores_of(shown):
    return {key: shown[key] for key in SCORES if key in shown}


@pytest.fixture
def leased(stack):
    """(grader, job, run): the only job of a run, handed out to the grader."""
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(1))
    return grader, grader.take()["job_id"], run


def test_scores_are_shown_with_the_job_in_the_list_and_in_the_status(stack, leased):
    grader, job, run = leased
    check("job_result", {"worker_id": grader.id, "result": {"any": "shape"}, **SCORES})
    grader.finish(job, {"any": "shape"}, **SCORES)
    (entry,) = page_of(stack.apis[1], run)["jobs"]
    check("grading_jobs", {"jobs": [entry]})
    assert (entry["score"], entry["max_score"], "tests" in entry) == (0.5, 3.25, False)
    detail = job_of(stack.apis[1], job)
    check("grading_job_details", detail)
    assert scores_of(detail) == scores_of(shown_in_status(stack, run)) == SCORES
    assert detail["result"] == {"any": "shape"} and "owner" not in detail
    assert scores_of(stack.api.status(run)["student_statuses"][0]) == {}, "without results=true"


@pytest.mark.parametrize(
    "scores", [{"score": 0}, {"max_score": 10}, {"tests": []}, {"score": -3, "max_score": 0}], ids=str
)
def test_each_key_may_be_absent(stack, leased, scores):
    grader, job, run = leased
    grader.finish(job, "r", success=False, **scores)
    assert scores_of(job_of(stack.api, job)) == scores_of(shown_in_status(stack, run)) == scores


def test_an_integer_stays_one(stack, leased):
    grader, job, _ = leased
    answer = grader.http.post(
        f"{ROUTE}/grading_job/{job}", json={"worker_id": grader.id, "result": 1, "score": 9.0, "max_score": 10}
    )
    assert answer.status_code == 200
    text = stack.api.request("GET", f"{ROUTE}/grading_job/{job}").text
    assert '"score":9,' in text.replace(" ", "") and '"max_score":10' in text.replace(" ", "")


def test_a_value_with_such_keys_is_not_read(stack, leased):
    grader, job, run = leased
    grader.finish(job, {"score": "A+", "tests": 5, "owner": "client"})
    assert scores_of(job_of(stack.api, job)) == scores_of(page_of(stack.api, run)["jobs"][0]) == {}


def test_a_form_has_them_as_text(stack, leased):
    grader, job, _ = leased
    grader.finish(job, "r", "form", score="-1.5", max_score="10", tests=json.dumps(TESTS))
    assert scores_of(job_of(stack.api, job)) == {"score": -1.5, "max_score": 10, "tests": TESTS}


@pytest.mark.parametrize("key", MALFORMED)
def test_a_malformed_key_fails_the_job_at_once(stack, leased, key):
    grader, job, _ = leased
    value, sentence = MALFORMED[key]
    answer = grader.finish_response(job, {"fine": 1}, **{**SCORES, key: value})
    assert answer.status_code == 400 and sentence in answer.json()["error"]
    detail = job_of(stack.api, job)
    assert detail["outcome"] == "failed" and sentence in detail["reason"] and scores_of(detail) == {}


def test_a_score_that_is_no_number_in_json_fails_the_job(stack, leased):
    grader, job, _ = leased
    body = f'{{"worker_id": "{grader.id}", "result": 1, "score": NaN}}'
    answer = grader.http.post(f"{ROUTE}/grading_job/{job}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "score: must not be null" in answer.json()["error"]
    assert job_of(stack.api, job)["outcome"] == "failed"


def test_the_grader_says_who_is_at_fault(stack, leased):
    grader, job, run = leased
    grader.finish(job, "malformed", success=False, owner="course")
    assert job_of(stack.api, job)["owner"] == page_of(stack.api, run)["jobs"][0]["owner"] == "course"
    assert shown_in_status(stack, run)["owner"] == "course"


def test_a_success_has_no_owner(stack, leased):
    grader, job, _ = leased
    grader.finish(job, "fine", owner="course")
    assert "owner" not in job_of(stack.api, job)


def test_other_scores_are_another_result(stack, leased):
    grader, job, _ = leased
    grader.finish(job, "r", **SCORES)
    assert grader.finish_response(job, "r", **SCORES).status_code == 200
    for other in ({**SCORES, "score": 0.25}, {**SCORES, "tests": TESTS[:1]}, {"score": 0.5}, {}):
        answer = grader.finish_response(job, "r", **other)
        assert answer.status_code == 400 and "has its result already" in answer.json()["error"]
    assert scores_of(job_of(stack.api, job)) == SCORES


def test_too_many_tests_are_left_out_and_a_note_says_so(stack, leased):
    grader, job, run = leased
    tests = [{"name": f"test {number}", "output": "x" * 3000} for number in range(1005)]
    grader.finish(job, "r", score=1, tests=tests)
    shown = shown_in_status(stack, run)
    assert shown["note"] == job_of(stack.api, job)["note"] == "5 of 1005 tests left out"
    assert [test["name"] for test in shown["tests"]] == [test["name"] for test in tests[:1000]]
    assert len(json.dumps(shown["tests"], separators=(",", ":"))) <= 1024 * 1024


def test_registrations_say_that_results_may_have_scores(stack):
    answer = stack.api.request("GET", f"{ROUTE}/worker_register", params={"token": stack.cluster_token})
    assert answer.headers["Broadway-Scores"] == "true"


def test_a_stage_names_its_results_to_its_grader(stack):
    definition = run_of(1)
    definition["student_pipeline"][0]["results"] = "/grade/results/results.json"
    run = stack.api.submit_and_start(definition)
    grader = stack.grader()
    job = grader.take()
    assert job["stages"][0]["results"] == "/grade/results/results.json"
    check("grading_job", job)
    grader.finish(job)
    assert shown_in_status(stack, run)["stages"][0]["results"] == "/grade/results/results.json"


# The course protocol


def test_in_the_course_protocol_scores_are_shown_with_the_job_and_in_the_list(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(1, config_of())
    job = grader.take()["grading_job_id"]
    grader.finish(job, results=[{"any": "shape"}], **SCORES)
    (entry,) = course_page_of(course, run)["jobs"]
    assert (entry["score"], entry["max_score"], "tests" in entry) == (0.5, 3.25, False)
    detail = course_job_of(course, job)
    assert scores_of(detail) == SCORES and detail["result"] == [{"any": "shape"}]


def test_by_websocket_scores_are_taken_too(staff):
    course, socket = staff.course(), staff.socket_grader()
    run = course.run(1, config_of())
    job = socket.take()["grading_job_id"]
    socket.finish(job, success=False, owner="course", **SCORES)
    detail = course_job_of(course, job)
    assert scores_of(detail) == SCORES and detail["owner"] == "course"
    assert course_page_of(course, run)["jobs"][0]["owner"] == "course"


@pytest.mark.parametrize("key", MALFORMED)
def test_in_the_course_protocol_a_malformed_key_fails_the_job_at_once(staff, key):
    course, grader = staff.course(), staff.grader()
    course.run(1, config_of())
    job = grader.take()["grading_job_id"]
    value, sentence = MALFORMED[key]
    answer = grader.finish_response(job, **{**SCORES, key: value})
    assert answer.status_code == 400 and sentence in answer.text
    detail = course_job_of(course, job)
    assert detail["outcome"] == "failed" and sentence in detail["reason"] and scores_of(detail) == {}
