"""What was submitted, and the students of a status, in both protocols."""

import json

import pytest
from broadway import ROUTE, error_of
from course import config_of, failed, students
from course_names import bearer
from pipelines import long_run_of, run_of
from stored_files import digest_of
from test_course_schemas import check as check_course
from test_docs import check as check_classic

NO_RUN = failed("grading run with the given ID not found")
CONTENT = b"tests of a run"
FILES = {"files": [{"path": "t", "digest": digest_of(CONTENT)}]}


def definition_of(api, run):
    answer = api.request("GET", f"{ROUTE}/grading_run/{run}/definition")
    assert answer.status_code == 200, answer.text
    check_classic("grading_run", answer.json())
    return answer.json()


def course_definition_of(course, run):
    shown = course.data("GET", f"/grading_run/{course.name}/{run}/definition")
    check_course("definition", shown)
    return shown


def course_status_of(course, run, **query):
    shown = course.data("GET", f"/grading_run/{course.name}/{run}/status", params=query)
    check_course("run_status", shown)
    return shown


def indexes(status):
    return [job["student"]["index"] for job in status["student_statuses"]]


# Definitions


@pytest.mark.parametrize("make", [run_of, long_run_of])
def test_a_definition_is_what_was_submitted(stack, make):
    assert stack.api.request("POST", f"{ROUTE}/files", content=CONTENT).status_code == 200
    submitted = make(
        3,
        pre=True,
        name="n",
        labels={"a": "b"},
        priority=3,
        student_files=[[], [], [{**FILES["files"][0], "path": "u"}]],
        **FILES,
    )
    run = stack.api.submit(submitted)
    for api in stack.apis:
        assert definition_of(api, run) == submitted


def test_a_definition_of_many_megabytes_is_given_back(stack):
    submitted = run_of(1, students=[{"NETID": "x" * 500, "N": str(number)} for number in range(8000)])
    run = stack.api.submit(submitted)
    assert len(json.dumps(submitted)) > 4_000_000
    answer = stack.api.request("GET", f"{ROUTE}/grading_run/{run}/definition")
    assert answer.json() == submitted and answer.headers["transfer-encoding"] == "chunked"


def test_the_definition_of_a_rerun_has_its_students_alone(stack):
    run = stack.api.submit_and_start(run_of(3, name="n"))
    grader = stack.grader()
    for _ in range(3):
        grader.finish(grader.take())
    stack.api.wait_over(run)
    answer = stack.api.request("POST", f"{ROUTE}/grading_run/{run}/rerun", json={"students": [1]})
    rerun = answer.json()["id"]
    submitted = run_of(3, name="n")
    assert definition_of(stack.api, rerun) == {**submitted, "students": submitted["students"][1:2]}
    grader.finish(grader.take())


def test_the_definition_of_a_course_has_the_config_of_its_time(staff):
    course = staff.course()
    assert course.ask("POST", "/files/cs225", CONTENT).status_code == 200
    config = config_of(pre=True, env={"V": 1})
    assignment = course.configure(config)
    more = {"labels": {"a": "b"}, "pre_processing_env": {"P": [1]}, **FILES}
    run = course.start(assignment, 2, **more)
    course.configure(config_of(), assignment)
    assert course_definition_of(course, run) == {
        "course": "cs225", "assignment": assignment, "config": config, "run": {"students_env": students(2), **more},
    }  # fmt: skip


def test_the_definition_of_an_unknown_run_is_refused(stack, staff):
    zero = "0" * 24
    answer = stack.api.request("GET", f"{ROUTE}/grading_run/{zero}/definition")
    assert answer.status_code == 400 and error_of(answer) == f"there is no grading run '{zero}'"
    others = staff.course("cs241").run(1)
    for run in (zero, others, "x"):
        for what in ("definition", "status"):
            answer = staff.course().ask("GET", f"/grading_run/cs225/{run}/{what}")
            assert answer.status_code == 400 and answer.json() == NO_RUN
    run = staff.course().run(1)
    for what in ("definition", "status"):
        answer = staff.course().ask("GET", f"/grading_run/cs225/{run}/{what}", headers=bearer("query-of-cs225"))
        assert answer.status_code == 401 and answer.json() == failed("invalid token")


# Students of a status


def test_a_status_names_and_filters_its_students(stack):
    run = stack.api.submit_and_start(run_of(1, students=[{"NETID": "ada", "G": str(n % 2)} for n in range(5)]))
    grader = stack.grader()
    for number in range(3):
        grader.finish(grader.take(), success=number != 1)
    status = stack.api.status(run)
    check_classic("grading_run_status", status)
    assert [job["student"] for job in status["student_statuses"]] == [
        {"index": n, "env": {"NETID": "ada", "G": str(n % 2)}} for n in range(5)
    ]
    for query, expected in (
        ({"outcome": "succeeded"}, [0, 2]),
        ({"outcome": "failed"}, [1]),
        ({"outcome": "cancelled"}, []),
        ({"student": "3"}, [3]),
        ({"student": "5"}, []),
        ({"student": "G=1"}, [1, 3]),
        ({"student": "G=1", "outcome": "failed"}, [1]),
        ({"student": "NETID=ada", "offset": 1, "limit": 2}, [1, 2]),
        ({"student": "G=0", "offset": 1, "limit": 1}, [2]),
        ({"student": "G=0", "offset": 3}, []),
        ({"student": "G=0", "limit": 0}, []),
        ({"student": "G="}, []),
        ({"student": "NOBODY=ada"}, []),
        ({"outcome": "succeeded", "results": "true"}, [0, 2]),
        ({"offset": 1, "limit": 3, "results": "true"}, [1, 2, 3]),
    ):
        filtered = stack.api.status(run, **query)
        check_classic("grading_run_status", filtered)
        assert indexes(filtered) == expected, query
        assert filtered["progress"] == status["progress"]
    grader.finish(grader.take())
    grader.finish(grader.take())


def test_wrong_filters_of_a_status_are_refused(stack):
    run = stack.api.submit(run_of(1))
    for query, sentence in (
        ({"outcome": "x"}, "outcome: 'x' is not one of succeeded, failed, cancelled, superseded"),
        *(
            (
                {"student": wrong},
                f"student: '{wrong}' is neither the position of a student, from 0, nor a variable of the student's "
                "environment, NAME=VALUE",
            )
            for wrong in ("", "ada", "-1", "=ada", "1234567890")
        ),
    ):
        answer = stack.api.request("GET", f"{ROUTE}/grading_run/{run}", params=query)
        assert answer.status_code == 400 and error_of(answer) == sentence


def test_the_results_of_a_course_are_read_like_those_of_the_classic_protocol(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run([{"netid": "ada", "n": 1}, {"netid": "grace", "n": 2}], config_of(pre=True), name="final")
    for results in ([{"pre": 1}], [{"score": 7}], [{"score": 8}]):
        grader.finish(grader.take(), success=results != [{"score": 8}], results=results, score=1)
    status = course_status_of(course, run, results="true")
    first, second = status["student_statuses"]
    assert (status["state"], status["name"]) == ("finished", "final")
    assert status["preprocessing_status"]["result"] == [{"pre": 1}]
    assert (first["result"], first["outcome"], first["score"]) == ([{"score": 7}], "succeeded", 1)
    assert (second["result"], second["outcome"], second["owner"]) == ([{"score": 8}], "failed", "student")
    assert first["student"] == {"index": 0, "env": {"netid": "ada", "n": 1}}
    env = first["stages"][0]["env"]
    assert (env["STAGE"], env["netid"], env["GRADING_JOB_ID"]) == ("student", "ada", first["job_id"])
    assert indexes(course_status_of(course, run, student="n=2")) == [1]
    assert indexes(course_status_of(course, run, outcome="succeeded")) == [0]
    assert "result" not in course_status_of(course, run)["student_statuses"][0]
    assert "student_statuses" not in course_status_of(course, run, students="false")


def test_the_status_of_the_original_protocol_stays_as_it_is(staff):
    course = staff.course()
    assert set(course.status(course.run(1))) == {
        "state", "pre_processing_job_state", "post_processing_job_state", "student_jobs_state",
    }  # fmt: skip
