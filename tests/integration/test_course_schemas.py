"""Answers of the course protocol, and the examples on its page, fit docs/schemas/course.json."""

import json
import re

import jsonschema
import pytest
from course import config_of, students
from harness import ROOT

SCHEMA = json.loads((ROOT / "docs/schemas/course.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/protocol-course.md").read_text(encoding="utf-8")


def check(name, value):
    jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{name}"}).validate(value)


def test_every_answer_on_a_runs_way_fits_its_schema(staff):
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


@pytest.mark.parametrize(
    "name, mark", [("config", '"student_pipeline"'), ("run", '"students_env"'), ("status", '"state"')]
)
def test_the_examples_on_the_page_fit_their_schemas(name, mark):
    blocks = [block for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if mark in block]
    assert len(blocks) == 1
    check(name, json.loads(blocks[0]))
