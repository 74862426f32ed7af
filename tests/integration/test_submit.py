"""POST /api/v1/grading_run: which submissions are accepted, in which forms; a submission queues nothing."""

import json
import re

import pytest
from pipelines import CONFINED, run_of, stage, students

PATH = "/api/v1/grading_run"


def submitted(api, answer):
    """The id in the answer, which must be the id of a run."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert list(body) == ["id"] and re.fullmatch("[0-9a-f]{24}", body["id"])
    assert len(api.status(body["id"])["student_statuses"]) == 2
    return body["id"]


def test_a_form_with_json_payload_is_taken(stack):
    submitted(stack.api, stack.api.request("POST", PATH, data={"json_payload": json.dumps(run_of(2))}))


def test_a_json_body_is_taken(stack):
    submitted(stack.api, stack.api.request("POST", PATH, json=run_of(2)))


def test_a_multipart_form_with_json_payload_is_taken(stack):
    payload = {"json_payload": (None, json.dumps(run_of(2)))}
    submitted(stack.api, stack.api.request("POST", PATH, files=payload))


def test_json_payload_is_taken_from_the_query(stack):
    submitted(stack.api, stack.api.request("POST", PATH, params={"json_payload": json.dumps(run_of(2))}))


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", None])
def test_a_body_that_begins_with_a_brace_is_json_whatever_its_label(stack, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    body = b" \r\n" + json.dumps(run_of(2)).encode()
    submitted(stack.api, stack.api.request("POST", PATH, content=body, headers=headers))


def test_every_submission_gets_an_id_of_its_own(stack):
    ids = {stack.apis[n % 3].submit(run_of(1)) for n in range(12)}
    assert len(ids) == 12


def test_a_new_run_is_known_to_every_replica_at_once(stack):
    for n in range(10):
        run = stack.apis[n % 3].submit(run_of(1))
        for api in stack.apis:
            assert api.status(run)["state"] == "created"


def test_nothing_is_queued_before_the_start(stack):
    run = stack.api.submit(run_of(2, pre=True, post=True))
    status = stack.api.status(run)
    assert status["state"] == "created"
    assert status["started_at"] is None and status["finished_at"] is None
    jobs = [*status["student_statuses"], status["preprocessing_status"], status["postprocessing_status"]]
    assert {job["status"] for job in jobs} == {"Created"}
    assert stack.grader().poll(wait=0) is None


def test_every_key_of_a_stage_is_taken_shown_and_handed_out_as_submitted(stack):
    first = stage(
        entrypoint=["/bin/sh", "-c", "echo 'a = b'; exit 0"],
        enable_networking=True,
        host_name="grader-1.example",
        timeout=90,
        memory="512m",
        cpuset_cpus="0-1",
        privileged=False,
        logs=True,
        **CONFINED,
    )
    second = stage(networking=False, hostname="grader-2", timeout=0.5, entrypoint=[])
    run = stack.api.submit_and_start({"student_pipeline": [first, second], "students": [{}]})
    job = stack.grader().take()
    assert job["job_id"].startswith(run)
    assert job["stages"] == [{**first, "env": []}, {**second, "env": []}]
    (shown,) = stack.api.status(run)["student_statuses"]
    assert shown["stages"] == [{**first, "env": {}}, {**second, "env": {}}]


@pytest.mark.parametrize(
    "more",
    [
        {"priority": -100},
        {"priority": 100},
        {"max_attempts": 1},
        {"max_attempts": 10},
        {"name": "Homework 4, section É"},
        {"env": {}},
        {"env": {"_A1": "", "B": "x=y=z", "C": "$X", "D": "line\nbreak ü 学"}},
    ],
    ids=str,
)
def test_the_optional_keys_are_taken(stack, more):
    stack.api.submit(run_of(1, **more))


def test_three_thousand_students_are_one_submission(stack):
    run = stack.api.submit(run_of(3000))
    status = stack.apis[1].status(run, offset=2990)
    assert status["progress"]["total"] == 3000
    assert [job["stages"][0]["env"]["NETID"] for job in status["student_statuses"]] == [
        f"student{number}" for number in range(2990, 3000)
    ]


def test_students_may_repeat(stack):
    run = stack.api.submit({"student_pipeline": [stage()], "students": students(1) * 3})
    assert len({job["job_id"] for job in stack.api.status(run)["student_statuses"]}) == 3
