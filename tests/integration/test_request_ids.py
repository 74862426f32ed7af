"""X-Request-Id: in the answer, in the log line, in the body of a refusal; and what the log says of requests."""

import re

import pytest
from broadway import ROUTE, error_of
from pipelines import run_of
from raw import exchange
from waiting import wait_until

MADE = re.compile("[0-9a-f]{12}-[0-9]+")
PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]+)')


def pairs_of(line):
    """A line of logfmt, whole."""
    pairs = PAIR.findall(line)
    assert " ".join(f"{name}={value}" for name, value in pairs) == line
    return {name: value.strip('"') for name, value in pairs}


def test_an_id_is_made_and_stands_in_answer_and_body(stack):
    seen = set()
    for api in stack.apis:
        for path, status in ((f"{ROUTE}/grading_run/x", 400), ("/nowhere", 404), (f"{ROUTE}/heartbeat", 405)):
            answer = api.request("GET", path)
            assert answer.status_code == status and error_of(answer)
            id = answer.headers["x-request-id"]
            assert MADE.fullmatch(id) and answer.json()["request_id"] == id
            seen.add(id)
    assert len(seen) == 3 * len(stack.apis)
    answer = stack.api.request("POST", f"{ROUTE}/grading_run", json=run_of(1))
    assert MADE.fullmatch(answer.headers["x-request-id"]) and set(answer.json()) == {"id"}


def test_the_id_of_the_client_is_taken_if_it_is_sound(stack):
    answer = stack.api.request("GET", f"{ROUTE}/grading_run/x", headers={"X-Request-Id": "from-a.client_7"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "from-a.client_7"
    for bad in ("two words", "x" * 129, "a=b", 'a"b'):
        answer = stack.api.request("GET", f"{ROUTE}/grading_run/x", headers={"X-Request-Id": bad})
        assert MADE.fullmatch(answer.headers["x-request-id"])


@pytest.mark.parametrize("framing", ["Content-Length: 99999999999", "Content-Length: 3\r\nContent-Length: 3"])
def test_early_refusals_have_it_too(stack, framing):
    head = f"POST {ROUTE}/grading_run HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: early-1\r\n{framing}\r\n\r\n"
    answer = exchange(stack.urls[0], head)
    assert answer.status in (400, 413) and answer.headers["x-request-id"] == "early-1"


def test_the_log_says_why_a_request_was_refused(stack, make_replica):
    replica = make_replica(stack).wait_ready()
    grader = stack.grader()
    api = replica.api
    api.request("GET", f"{ROUTE}/grading_run/{'0' * 24}", headers={"X-Request-Id": "refused-1"})
    api.request("POST", f"{ROUTE}/heartbeat", params={"worker_id": "f" * 32}, headers={"X-Request-Id": "refused-2"})
    api.request("POST", f"{ROUTE}/heartbeat", params={"worker_id": grader.id}, headers={"X-Request-Id": "beat-1"})
    run = api.request("POST", f"{ROUTE}/grading_run", json=run_of(1), headers={"X-Request-Id": "submit-1"}).json()["id"]
    api.request("GET", f"{ROUTE}/grading_run/{run}", headers={"X-Request-Id": "status-1"})
    wait_until(lambda: "request_id=submit-1" in replica.said(), 5, "it is logged")
    lines = {pairs.get("request_id"): pairs for pairs in map(pairs_of, replica.said().splitlines())}
    assert all({"time", "level", "event"} <= set(pairs) for pairs in lines.values())
    assert lines["refused-1"]["reason"] == f"there is no grading run '{'0' * 24}'"
    assert lines["refused-2"]["reason"] == "worker '...' is not known: register first"
    assert lines["submit-1"]["level"] == "info" and "reason" not in lines["submit-1"]
    assert not {"beat-1", "status-1"} & set(lines)
    assert "f" * 32 not in replica.said() and grader.id not in replica.said()
