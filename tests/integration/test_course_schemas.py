"""Answers of the course protocol, and the examples on its page, fit docs/schemas/course.json."""

import json
import re

import jsonschema
import pytest
from course import config_of, students
from harness import ROOT
from pipelines import CONFINING_VALUES, stage

SCHEMA = json.loads((ROOT / "docs/schemas/course.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/protocol-course.md").read_text(encoding="utf-8")


def check(name, value):
    jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{name}"}).validate(value)


def test_every_answer_of_a_run_fits_its_schema(staff):
    course, grader = staff.course(), staff.grader(register=False)
    answer = grader.register()
    check("success", answer.json())
    check("registered", answer.json()["data"])
    config = config_of(pre=True, post=True, env={"A": 1})
    check("config", config)
    assignment = course.configure(config)
    check("config", course.data("GET", f"/grading_config/cs225/{assignment}"))
    body = {"students_env": students(2), "post_processing_env": {"B": None}}
    check("run", body)
    started = course.data("POST", f"/grading_run/cs225/{assignment}", body)
    check("run_started", started)
    run = started["grading_run_id"]
    for _ in range(4):
        check("status", course.status(run))
        check("env", course.env(run))
        check("length", course.data("GET", "/queue/cs225/length"))
        check("workers", course.data("GET", "/worker/cs225/all"))
        job = grader.take()
        check("job", job)
        grader.finish(job)
        check("log", course.log(job["grading_job_id"]))
    check("status", course.status(run))
    check("env", course.env(run))


def test_refusals_fit_their_schemas(staff):
    course, grader = staff.course(), staff.grader()
    for answer in (
        course.ask("GET", "/grading_run_status/cs225/x"),
        course.ask("POST", "/grading_config/cs225/x", "no json"),
        course.ask("GET", "/worker/cs225/x"),
        grader.poll_response(),
        grader.http.get("/grading_job/unknown"),
    ):
        check("fail", answer.json())
    for answer in (course.ask("PUT", "/grading_run_status/cs225/x"), course.ask("GET", "/nowhere")):
        check("error", answer.json())


@pytest.mark.parametrize("key", CONFINING_VALUES)
def test_the_schema_of_a_config_and_the_server_accept_the_same_limits_of_a_stage(staff, key):
    course = staff.course()
    accepted, refused = CONFINING_VALUES[key]
    for value in accepted:
        config = {"student_pipeline": [stage(**{key: value})]}
        check("config", config)
        course.configure(config)
    for value in refused:
        config = {"student_pipeline": [stage(**{key: value})]}
        with pytest.raises(jsonschema.ValidationError):
            check("config", config)
        answer = course.ask("POST", "/grading_config/cs225/x", config)
        assert answer.status_code == 400 and answer.json()["data"].startswith(f"student_pipeline[0].{key}: "), value


@pytest.mark.parametrize(
    "name, mark, count",
    [
        ("config", '"student_pipeline"', 1),
        ("run", '"students_env"', 3),
        ("status", '"pre_processing_job_state"', 1),
        ("jobs", '{"jobs"', 1),
        ("job_details", '"run_id"', 1),
    ],
)
def test_the_examples_on_the_page_fit_their_schemas(name, mark, count):
    blocks = [block for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if mark in block]
    assert len(blocks) == count
    for block in blocks:
        check(name, json.loads(block))
