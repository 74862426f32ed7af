"""Jobs as resources of the course protocol; no job is reached by the token of another course."""

import pytest
from broadway import ROUTE, Api, error_of
from course import COURSES, config_of, failed, students
from course_names import bearer
from pipelines import STUDENT, job_id_of, run_of
from test_course_schemas import check
from waiting import wait_until

NO_RUN = failed("grading run with the given ID not found")
NO_JOB = failed("grading job with the given ID not found")


def page_of(course, run, **query):
    page = course.data("GET", f"/grading_run/{course.name}/{run}/jobs", params=query)
    check("jobs", page)
    return page


def job_of(course, job):
    shown = course.data("GET", f"/grading_job/{course.name}/{job}")
    check("job_details", shown)
    return shown


def test_the_jobs_of_a_course_are_listed_page_by_page(staff):
    course = staff.course()
    run = course.run(5, config_of(pre=True, post=True))
    page, found = {"next": None}, []
    while "next" in page:
        after = {} if page["next"] is None else {"after": page["next"]}
        page = page_of(course, run, limit=2, **after)
        found += page["jobs"]
    assert [job["kind"] for job in found] == ["preprocessing", *["student"] * 5, "postprocessing"]
    assert [job["student"] for job in found[1:6]] == [
        {"index": index, "env": env} for index, env in enumerate(students(5))
    ]
    assert [job["state"] for job in found] == ["Queued", *["Created"] * 6]


def test_filters_are_those_of_the_classic_protocol(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(3)
    grader.finish(grader.take())
    job = grader.take()["grading_job_id"]
    grader.finish(job, success=False, results=[{"score": 0}], logs={"stderr": "boom 1"})
    (entry,) = page_of(course, run, outcome="failed")["jobs"]
    assert entry["job_id"] == job and entry["owner"] == "student"
    assert [found["job_id"] for found in page_of(course, run, signature=entry["signature"])["jobs"]] == [job]
    assert len(page_of(course, run, state="Queued")["jobs"]) == 1
    path = f"/grading_run/cs225/{run}/jobs"
    for query, sentence in (
        ({"state": "done"}, "state: 'done' is not one of Created, Queued, Running, Finished"),
        ({"outcome": "x"}, "outcome: 'x' is not one of succeeded, failed, cancelled, superseded"),
        ({"signature": "x"}, "signature: 'x' is not the signature of a failure: 16 lower-case hex digits"),
        ({"after": "x"}, f"after: the grading run '{run}' has no job 'x'"),
        ({"limit": "1001"}, "limit: must be between 1 and 1000, not 1001"),
        ({"page": "1"}, "unknown argument 'page'"),
    ):
        answer = course.ask("GET", path, params=query)
        assert answer.status_code == 400 and answer.json() == failed(sentence)


def test_a_job_of_a_course_has_its_attempts_result_and_logs(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(1, config_of(pre=True))
    job = grader.take()["grading_job_id"]
    running = job_of(course, job)
    (attempt,) = running["attempts"]
    assert (attempt["worker"], attempt["hostname"], attempt["end"]) == (grader.name, "host", None)
    assert running["result"] is None and "logs" not in running
    grader.finish(job, success=False, results=[{"score": 0}], logs={"stderr": "boom"})
    ended = job_of(course, job)
    assert (ended["run_id"], ended["kind"], ended["outcome"]) == (run, "preprocessing", "failed")
    assert ended["result"] == [{"score": 0}] and ended["owner"] == "course" and ended["signature"]
    assert ended["attempts"][0]["end"] == "result"
    assert ended["logs"] == f"/api/v1/grading_job_log/cs225/{job}"
    assert course.ask("GET", ended["logs"].removeprefix(ROUTE)).json()["data"]["stderr"] == "boom"
    assert running["log"] == ended["log"]
    for stream, path in ended["log"].items():
        assert path == f"{ROUTE}/grading_job/cs225/{job}/log?stream={stream}"
        assert course.ask("GET", path.removeprefix(ROUTE)).json()["data"]["stream"] == stream


def test_the_logs_of_a_job_that_never_ran_say_why(staff):
    course, grader = staff.course(), staff.grader()
    failing, cancelled = course.run(1, config_of(pre=True)), course.run(1, config_of(pre=True))
    course.cancel(cancelled)
    grader.finish(grader.take(), success=False)
    reasons = {failing: "not run: the job before the students failed", cancelled: "the grading run was cancelled"}
    for run, reason in reasons.items():
        job = job_id_of(run, STUDENT)
        wait_until(
            lambda job=job: course.ask("GET", f"/grading_job_log/cs225/{job}").status_code == 200, 5, "it is over"
        )
        shown = job_of(course, job)
        assert (shown["outcome"], shown["attempts"], shown["reason"]) == ("cancelled", [], reason)
        assert course.ask("GET", shown["logs"].removeprefix(ROUTE)).json()["data"] == {"stderr": reason, "stdout": ""}
        stderr = course.ask("GET", shown["log"]["stderr"].removeprefix(ROUTE)).json()["data"]
        assert (stderr["text"], stderr["live"], stderr["attempt"]) == (reason, False, 0)


def test_ordinary_failures_add_no_key_to_the_status_of_a_course(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(1)
    grader.finish(grader.take(), success=False)
    assert set(course.status(run)) == {
        "state",
        "pre_processing_job_state",
        "post_processing_job_state",
        "student_jobs_state",
    }


def test_a_job_of_another_course_is_not_found_by_any_path(staff):
    own, other = staff.course("cs225"), staff.course("cs241")
    run, theirs = own.run(1), other.run(1)
    job, their_job = job_id_of(run, STUDENT), job_id_of(theirs, STUDENT)
    assert own.ask("GET", f"/grading_job/cs225/{their_job}").json() == NO_JOB
    assert own.ask("GET", f"/grading_run/cs225/{theirs}/jobs").json() == NO_RUN
    for path in (f"/grading_job/cs241/{their_job}", f"/grading_run/cs241/{theirs}/jobs"):
        answer = own.ask("GET", path)
        assert answer.status_code == 401 and answer.json() == failed("invalid token")
    answer = own.ask("GET", f"/grading_run/cs225/{run}/jobs", params={"after": their_job})
    assert answer.json() == failed(f"after: the grading run '{run}' has no job '{their_job}'")
    assert job_of(own, job)["job_id"] == job
    for course, started in ((own, run), (other, theirs)):
        course.cancel(started)


def test_no_protocol_shows_the_jobs_of_the_other(staff):
    course, api = staff.course(), Api(staff.stack.urls[0])
    run, classic = course.run(1), api.submit(run_of(1))
    job, classic_job = job_id_of(run, STUDENT), job_id_of(classic, STUDENT)
    try:
        for path, what in ((f"grading_run/{run}/jobs", f"run '{run}'"), (f"grading_job/{job}", f"job '{job}'")):
            answer = api.request("GET", f"{ROUTE}/{path}")
            assert answer.status_code == 400 and error_of(answer) == f"there is no grading {what}"
        assert course.ask("GET", f"/grading_job/cs225/{classic_job}").json() == NO_JOB
        assert course.ask("GET", f"/grading_run/cs225/{classic}/jobs").json() == NO_RUN
    finally:
        api.close()
        course.cancel(run)


@pytest.mark.parametrize("path", ["grading_job/cs225/{job}", "grading_run/cs225/{run}/jobs"])
def test_a_query_token_may_not_see_jobs(staff, path):
    course = staff.course()
    run = course.run(1)
    path = path.format(job=job_id_of(run, STUDENT), run=run)
    headers = bearer(COURSES["cs225"]["query_tokens"][0])
    answer = course.http.get(f"/{path}", headers=headers)
    assert answer.status_code == 401 and answer.json() == failed("invalid token")
    course.cancel(run)


@pytest.mark.parametrize("job", ["x", "0" * 32, "f" * 32])
def test_an_unknown_job_is_not_found(staff, job):
    answer = staff.course().ask("GET", f"/grading_job/cs225/{job}")
    assert answer.status_code == 400 and answer.json() == NO_JOB


def test_a_course_grader_named_like_a_job_polls_with_its_token(staff):
    """The path of its poll is that of a job in the classic protocol, whose clients have another token or none."""
    grader = staff.grader(name="0" * 32)
    assert grader.poll() is None
    api = Api(staff.stack.urls[0])
    answer = api.request("GET", f"{ROUTE}/grading_job/{grader.name}")
    api.close()
    assert answer.status_code == 400 and error_of(answer) == f"there is no grading job '{grader.name}'"
