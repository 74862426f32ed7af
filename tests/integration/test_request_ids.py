"""X-Request-Id in the answer, in the log line and in the body of a refusal; and the log lines of requests."""

import json
import re

import pytest
from broadway import ROUTE, error_of
from course import COURSES
from harness import Replica
from pipelines import run_of
from raw import exchange
from waiting import PATIENCE, wait_until

MADE = re.compile("[0-9a-f]{12}-[0-9]+")
PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]+)')


def pairs_of(line):
    """The fields of a line in logfmt."""
    pairs = PAIR.findall(line)
    assert " ".join(f"{name}={value}" for name, value in pairs) == line
    return {name: value.strip('"') for name, value in pairs}


def test_an_id_is_generated_and_is_in_header_and_body(stack):
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


def test_the_clients_id_is_used_if_it_is_valid(stack):
    answer = stack.api.request("GET", f"{ROUTE}/grading_run/x", headers={"X-Request-Id": "from-a.client_7"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "from-a.client_7"
    for bad in ("two words", "x" * 129, "a=b", 'a"b'):
        answer = stack.api.request("GET", f"{ROUTE}/grading_run/x", headers={"X-Request-Id": bad})
        assert MADE.fullmatch(answer.headers["x-request-id"])


@pytest.mark.parametrize("framing", ["Content-Length: 99999999999", "Content-Length: 3\r\nContent-Length: 3"])
def test_early_refusals_have_an_id(stack, framing):
    head = f"POST {ROUTE}/grading_run HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: early-1\r\n{framing}\r\n\r\n"
    answer = exchange(stack.urls[0], head)
    assert answer.status in (400, 413) and answer.headers["x-request-id"] == "early-1"


ORIGIN = "https://grades.example.edu"
MINE = "X-Request-Id: mine-1\r\n"
HOST = "Host: localhost\r\n"
# name: (request, status, whether the client's id could be read)
REFUSED_EARLY = {
    "large headers": (f"GET /nowhere HTTP/1.1\r\n{HOST}{MINE}A: {'x' * 7600}\r\n\r\n", 431, True),
    "larger headers": (f"GET /nowhere HTTP/1.1\r\n{MINE}{HOST}A: {'x' * 9000}\r\n\r\n", 431, True),
    "an id behind too much": (f"GET /nowhere HTTP/1.1\r\n{HOST}A: {'x' * 9000}\r\n{MINE}\r\n", 431, False),
    "a length": (f"POST /nowhere HTTP/1.1\r\n{HOST}{MINE}Content-Length: 1x\r\n\r\n", 400, True),
    "two lengths": (f"POST / HTTP/1.1\r\n{HOST}{MINE}Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, True),
    "a version": (f"GET / HTTP/3.0\r\n{HOST}{MINE}\r\n", 505, False),
    "a long path": (f"GET /{'x' * 9000} HTTP/1.1\r\n{HOST}{MINE}\r\n", 414, False),
    "a stalled body": (f"POST {ROUTE}/grading_run HTTP/1.1\r\n{HOST}{MINE}Content-Length: 9\r\n\r\n{{", 408, True),
    "stalled headers": (f"GET {ROUTE}/grading_run/x HTTP/1.1\r\n{HOST}", 408, False),
}


@pytest.fixture(scope="module")
def impatient(shared_stack, tmp_path_factory):
    """A replica that waits one second for a request, and allows pages of one origin."""
    folder = tmp_path_factory.mktemp("impatient")
    config = folder / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    flags = ("--request-timeout=1", f"--cors-origin={ORIGIN}", f"--course-config={config}")
    replica = Replica(shared_stack, folder / "api.log", *flags).wait_ready()
    yield replica
    replica.end()


def logged(replica, id):
    """The log line of a request."""

    def lines():
        all_pairs = map(pairs_of, replica.said().splitlines())
        return [pairs for pairs in all_pairs if pairs.get("request_id") == id and pairs["event"] == "request"]

    wait_until(lines, 5 * PATIENCE, "the request is logged")
    (line,) = lines()
    return line


@pytest.mark.parametrize("name", REFUSED_EARLY)
def test_the_id_of_an_early_refusal_is_that_of_a_log_line_with_its_reason(impatient, name):
    data, status, is_readable = REFUSED_EARLY[name]
    mine = f"mine-{list(REFUSED_EARLY).index(name)}"
    answer = exchange(impatient.url, data.replace("mine-1", mine), timeout=10 * PATIENCE)
    id = answer.headers["x-request-id"]
    assert answer.status == status and json.loads(answer.body)["request_id"] == id
    assert id == mine if is_readable else MADE.fullmatch(id)
    line = logged(impatient, id)
    assert line["status"] == str(status) and line["reason"] == answer.error
    assert line["client"] == "127.0.0.1"


# Refusals at a course's path that a page may read, at every stage of the request.
COURSE_PATH = f"{ROUTE}/grading_run/cs225/hw1"
REFUSED_TO_PAGES = {
    "a stalled body": (f"POST {COURSE_PATH} HTTP/1.1\r\n{HOST}Content-Length: 9\r\n", "{", 408),
    "large headers": (f"POST {COURSE_PATH} HTTP/1.1\r\n{HOST}A: {'x' * 7600}\r\n", "", 431),
    "larger headers": (f"POST {COURSE_PATH} HTTP/1.1\r\n{HOST}A: {'x' * 9000}\r\n", "", 431),
    "a length": (f"POST {COURSE_PATH} HTTP/1.1\r\n{HOST}Content-Length: 1x\r\n", "", 400),
    "two lengths": (f"POST {COURSE_PATH} HTTP/1.1\r\n{HOST}Content-Length: 1\r\nContent-Length: 2\r\n", "", 400),
    "a version": (f"POST {COURSE_PATH} HTTP/3.0\r\n{HOST}", "", 505),
}


@pytest.mark.parametrize("name", REFUSED_TO_PAGES)
def test_an_early_refusal_has_cors_headers_and_varies_by_origin(impatient, name):
    head, body, status = REFUSED_TO_PAGES[name]
    bearer = f"Authorization: Bearer {COURSES['cs225']['tokens'][0]}\r\n"
    answer = exchange(impatient.url, f"{head}{bearer}Origin: {ORIGIN}\r\n\r\n{body}", timeout=10 * PATIENCE)
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == ORIGIN and answer.headers["vary"] == "Origin"


def test_a_stalled_classic_request_has_no_cors_headers(impatient):
    data = REFUSED_EARLY["a stalled body"][0]
    assert "access-control-allow-origin" not in exchange(impatient.url, data, timeout=10 * PATIENCE).headers


def test_the_log_does_not_contain_an_unknown_path(impatient):
    answer = impatient.api.request("GET", "/canary-4713?token=canary-4714", headers={"X-Request-Id": "lost-1"})
    assert answer.status_code == 404
    line = logged(impatient, "lost-1")
    assert (line["path"], line["reason"]) == ("unknown", "there is nothing at this path")
    assert "canary-471" not in impatient.said()


def test_the_log_has_the_reason_of_a_refusal(stack, make_replica):
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
