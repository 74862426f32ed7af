"""Paths and methods: 404 in both forms, 405 with Allow, HEAD, and the headers of every answer."""

import pytest
from broadway import ROUTE, error_of
from pipelines import run_of
from raw import connect, exchange

KNOWN = {
    f"{ROUTE}/grading_run": {"GET", "HEAD", "POST"},
    f"{ROUTE}/grading_run/{'0' * 24}": {"GET", "HEAD", "POST"},
    f"{ROUTE}/grading_run/{'0' * 24}/cancel": {"POST"},
    f"{ROUTE}/grading_job/{'0' * 32}/cancel": {"POST"},
    f"{ROUTE}/grading_run/{'0' * 24}/jobs": {"GET", "HEAD"},
    f"{ROUTE}/grading_run/{'0' * 24}/definition": {"GET", "HEAD"},
    f"{ROUTE}/grading_run/{'0' * 24}/receipts": {"GET", "HEAD"},
    f"{ROUTE}/grading_run/{'0' * 24}/explain": {"GET", "HEAD"},
    f"{ROUTE}/grading_job/{'0' * 32}/explain": {"GET", "HEAD"},
    f"{ROUTE}/grading_run/{'0' * 24}/results": {"GET", "HEAD"},
    f"{ROUTE}/grading_run/{'0' * 24}/estimate": {"GET", "HEAD"},
    f"{ROUTE}/grading_job/{'0' * 32}/estimate": {"GET", "HEAD"},
    f"{ROUTE}/grading_run/{'0' * 24}/rerun": {"POST"},
    f"{ROUTE}/grading_run/{'0' * 24}/webhooks": {"GET", "HEAD"},
    f"{ROUTE}/scheduling": {"GET", "HEAD"},
    f"{ROUTE}/scheduling/courses/cs225": {"POST"},
    f"{ROUTE}/scheduling/courses/cs225/delete": {"POST"},
    f"{ROUTE}/scheduling/reservations/exam": {"POST"},
    f"{ROUTE}/scheduling/reservations/exam/delete": {"POST"},
    f"{ROUTE}/files/sha256:{'0' * 64}": {"GET", "HEAD"},
    f"{ROUTE}/grading_job/{'0' * 32}/files/sha256:{'0' * 64}": {"GET", "HEAD"},
    f"{ROUTE}/grading_job/{'0' * 32}/log": {"GET", "HEAD", "POST"},
    f"{ROUTE}/worker_register": {"GET"},
    f"{ROUTE}/grading_job": {"GET"},
    f"{ROUTE}/heartbeat": {"POST"},
}


@pytest.mark.parametrize("path", KNOWN)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_a_known_path_with_another_method_is_405_with_the_allowed_ones(stack, path, method):
    answer = stack.api.request(method, path)
    if method in KNOWN[path]:
        is_list = path == f"{ROUTE}/grading_run" and method != "POST"
        needs_token = path.startswith(f"{ROUTE}/scheduling")
        assert answer.status_code == (200 if is_list else 401 if needs_token else 400)
        return
    assert answer.status_code == 405
    assert {name.strip() for name in answer.headers["allow"].split(",")} == KNOWN[path]
    if method != "HEAD":
        error_of(answer)


def test_the_path_of_both_protocols_refuses_another_method_in_the_forms_of_both(stack):
    answer = stack.api.request("DELETE", f"{ROUTE}/grading_job/{'0' * 32}")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"
    sentence = error_of(answer)
    id = answer.headers["x-request-id"]
    assert answer.json() == {"status": "error", "message": sentence, "code": 405, "error": sentence, "request_id": id}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/", "/api/v1", "/api/v1/nowhere", "/healthz", "/metrics", "/readyz", "/internal/v1/callbacks"]
)
def test_an_unknown_path_is_404_in_the_forms_of_both_protocols(stack, path, method):
    answer = stack.api.request(method, path)
    assert answer.status_code == 404
    body = answer.json()
    sentence = error_of(answer)
    id = answer.headers["x-request-id"]
    assert body == {"status": "error", "message": sentence, "code": 404, "error": sentence, "request_id": id}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/grading_run/",
        "/api/v1/grading_job/",
        "//api/v1/grading_job",
        "/api/v1//grading_job",
        "/api/v1/grading_job;x",
        "/api/v1/heartbeat/",
        "/api/v1/../v1/grading_job",
    ],
)
def test_a_path_similar_to_a_known_one_is_a_4xx(stack, path):
    answer = exchange(stack.urls[0], f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.status in (400, 404, 405) and answer.error


def test_classic_answers_have_no_cors_headers(stack):
    answer = stack.api.request(
        "POST", f"{ROUTE}/grading_run", json=run_of(1), headers={"Origin": "http://localhost:8080"}
    )
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_the_classic_routes_ignore_an_authorization_header(stack):
    headers = {"Authorization": "Bearer whatever"}
    grader = stack.grader()
    answer = stack.api.request(
        "GET", f"{ROUTE}/grading_job", params={"worker_id": grader.id, "wait": 0}, headers=headers
    )
    assert answer.status_code == 498
    answer = stack.api.request("POST", f"{ROUTE}/heartbeat", data={"worker_id": grader.id}, headers=headers)
    assert answer.status_code == 200


def test_a_connection_serves_many_requests_also_after_refusals(stack):
    grader = stack.grader()
    with connect(stack.urls[0]) as link:
        for n in range(20):
            worker = grader.id if n % 2 else "x"
            link.send(f"GET {ROUTE}/grading_job?worker_id={worker}&wait=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert link.read_answer().status == (498 if n % 2 else 400)


def test_head_is_get_without_the_body(stack):
    """Where a GET only reads (RFC 9110, 9.3.2). A GET that takes a job or registers has no HEAD."""
    run = stack.api.submit(run_of(2))
    for path in (f"{ROUTE}/grading_run/{run}", f"{ROUTE}/grading_run/{run}?students=false", f"{ROUTE}/grading_run/x"):
        get, head = (stack.api.request(method, path) for method in ("GET", "HEAD"))
        assert head.status_code == get.status_code and head.content == b""
        volatile = ("date", "x-request-id", "content-length")
        assert {k: v for k, v in head.headers.items() if k not in volatile} == {
            k: v for k, v in get.headers.items() if k not in volatile
        }
        assert int(head.headers["content-length"]) > 0
        assert get.status_code != 200 or head.headers["content-length"] == get.headers["content-length"]


def test_head_of_a_poll_takes_no_job(stack):
    grader = stack.grader()
    stack.api.submit_and_start(run_of(1))
    answer = stack.api.request("HEAD", f"{ROUTE}/grading_job", params={"worker_id": grader.id, "wait": 0})
    assert answer.status_code == 405 and answer.headers["allow"] == "GET"
    grader.finish(grader.take())
