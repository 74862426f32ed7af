"""Idempotency-Key: a submission whose answer was lost is sent again, and is still one run."""

import hashlib
import json
import threading

import httpx
import pytest
from broadway import ROUTE, error_of
from pipelines import long_run_of, run_of


def submit(api, key, definition, **more):
    return api.request("POST", f"{ROUTE}/grading_run", json=definition, headers={"Idempotency-Key": key}, **more)


def test_the_same_key_and_body_are_the_same_run_at_every_replica(stack):
    answers = [submit(api, "night-1", run_of(3)) for api in stack.apis * 2]
    assert {answer.status_code for answer in answers} == {200}
    [run] = {answer.json()["id"] for answer in answers}
    stack.api.start(run)
    assert submit(stack.api, "night-1", run_of(3)).json()["id"] == run


def test_a_form_and_a_json_body_of_one_run_are_the_same(stack):
    first = submit(stack.api, "form-1", run_of(2))
    payload = {"json_payload": httpx.Request("POST", "http://x", json=run_of(2)).content.decode()}
    again = stack.api.request("POST", f"{ROUTE}/grading_run", data=payload, headers={"Idempotency-Key": "form-1"})
    assert again.json() == first.json()


SIZES = [(run_of, run_of), (run_of, long_run_of), (long_run_of, run_of), (long_run_of, long_run_of)]
NAMES = ["short-short", "short-long", "long-short", "long-long"]


@pytest.mark.parametrize("first, second", SIZES, ids=NAMES)
def test_the_same_key_with_another_body_is_refused_and_changes_nothing(stack, request, first, second):
    key = f"other-{request.node.callspec.id}"
    run = submit(stack.api, key, first(3)).json()["id"]
    answer = submit(stack.apis[1], key, second(4))
    assert answer.status_code == 400
    assert "Idempotency-Key" in error_of(answer)
    assert submit(stack.apis[2], key, first(3)).json()["id"] == run
    for api in stack.apis:
        status = api.status(run)
        assert status["progress"]["total"] == 3 and len(status["student_statuses"]) == 3


def test_other_keys_and_no_key_are_other_runs(stack):
    runs = {submit(stack.api, f"many-{n}", run_of(1)).json()["id"] for n in range(3)}
    runs |= {stack.api.submit(run_of(1)) for _ in range(2)}
    assert len(runs) == 5


@pytest.mark.parametrize("key", ["", "x" * 256], ids=["empty", "too long"])
def test_an_invalid_key_is_refused(stack, key):
    answer = submit(stack.api, key, run_of(1))
    assert answer.status_code == 400
    assert "Idempotency-Key" in error_of(answer)


def test_a_refused_submission_does_not_use_up_its_key(stack):
    assert submit(stack.api, "refused-1", {"students": []}).status_code == 400
    assert submit(stack.api, "refused-1", run_of(1)).status_code == 200


@pytest.mark.parametrize("size", [run_of, long_run_of], ids=["short", "long"])
def test_concurrent_submissions_with_one_key_are_one_run(stack, size):
    answers = []
    barrier = threading.Barrier(12)

    def race(n):
        with httpx.Client(base_url=stack.urls[n % len(stack.urls)], timeout=30, trust_env=False) as http:
            barrier.wait()
            answers.append(
                http.post(
                    f"{ROUTE}/grading_run", json=size(20), headers={"Idempotency-Key": f"race-{size.__name__}"}
                ).json()
            )

    threads = [threading.Thread(target=race, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["id"] for answer in answers}) == 1


def test_an_interrupted_submission_is_completed_by_the_retry(stack):
    run = submit(stack.api, "half-1", long_run_of(2)).json()["id"]
    stack.database.forget_run(run)  # as if the replica had died between the definition and the run
    assert submit(stack.apis[2], "half-1", long_run_of(2)).json()["id"] == run
    assert stack.api.status(run)["progress"]["total"] == 2


def test_an_interrupted_submission_does_not_become_a_later_run(stack):
    """The first request did not complete, so the second one owns the key, and only its definition counts."""
    # Through another replica, which caches the run and is not used again.
    run = submit(stack.apis[1], "half-2", long_run_of(2)).json()["id"]
    stack.database.forget_run(run)
    assert submit(stack.api, "half-2", run_of(3)).json()["id"] == run
    assert submit(stack.api, "half-2", long_run_of(2)).status_code == 400
    stack.api.start(run)
    students = stack.apis[2].status(run)["student_statuses"]
    assert len(students) == 3
    job = stack.grader(replica=2).take()
    assert "PADDING" not in str(job["stages"])


def backwards(value):
    """The same JSON with the keys of every object in another order."""
    if isinstance(value, dict):
        return {key: backwards(item) for key, item in reversed(value.items())}
    return [backwards(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("size", [run_of, long_run_of], ids=["short", "long"])
def test_the_same_run_with_its_keys_in_another_order_is_the_same(stack, size):
    key = f"order-{size.__name__}"
    definition = size(0, students=[{"B": "1", "A": "2"}], priority=3)
    definition["student_pipeline"][0]["env"] = {"Z": "$A", "NETID": "x", "Y": "y"}
    assert json.dumps(backwards(definition)) != json.dumps(definition)
    run = submit(stack.apis[0], key, definition).json()["id"]
    again = submit(stack.apis[1], key, backwards(definition))
    assert again.status_code == 200 and again.json()["id"] == run
    stack.apis[1].start(run)
    job = stack.grader(replica=1).take()
    names = [entry.partition("=")[0] for entry in job["stages"][0]["env"] if "PADDING" not in entry]
    assert names == ["B", "A", "Z", "NETID", "Y"], "the order of the first counts"
    assert submit(stack.apis[2], key, {**definition, "priority": 4}).status_code == 400


@pytest.mark.parametrize("size", [run_of, long_run_of], ids=["short", "long"])
def test_a_run_that_an_older_version_stored_is_recognised(stack, size):
    """The older version stored the digest of the text."""
    definition = size(2)
    text = json.dumps(definition, separators=(",", ":")).encode()
    key = f"older-{size.__name__}"
    run = submit(stack.api, key, definition).json()["id"]
    digest = hashlib.sha256(len(text).to_bytes(8, "little") + text).hexdigest()
    stack.database.digest(run, digest)
    assert submit(stack.apis[1], key, definition).json()["id"] == run
    assert submit(stack.apis[2], key, size(3)).status_code == 400
