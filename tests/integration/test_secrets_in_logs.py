"""No log has a credential: worker ids of the classic protocol, or tokens of either."""

import json

import pytest
from broadway import ROUTE
from course import COURSES
from course_names import bearer, unique
from harness import run_stack
from pipelines import run_of
from waiting import wait_until

CLIENT_TOKEN = "client-token-of-the-logs-0123456789"


@pytest.fixture
def talkative(tmp_path_factory):
    """A stack of two replicas that logs at debug."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    tokens = {
        name: {kind: [f"{token}-0123456789" for token in each] for kind, each in course.items()}
        for name, course in COURSES.items()
    }
    config.write_text(json.dumps(tokens), encoding="utf-8")
    api = (f"course-config={config}", f"client-token={CLIENT_TOKEN}")
    for stack in run_stack(
        tmp_path_factory, "talkative", replicas=2, both=("heartbeat-interval=1", "log-level=debug"), api=api
    ):
        stack.course_tokens = [token for course in tokens.values() for each in course.values() for token in each]
        yield stack


def as_client(stack, method, path, **request):
    answer = stack.api.request(method, ROUTE + path, headers=bearer(CLIENT_TOKEN), **request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def start_run(stack, students):
    run = as_client(stack, "POST", "/grading_run", json=run_of(students))["id"]
    as_client(stack, "POST", f"/grading_run/{run}")
    return run


def results_of_all_kinds(grader, other, job):
    """Sends results that cause every kind of log line: repaired, refused, sent to another replica, late."""
    path = f"/api/v1/grading_job/{job['job_id']}"
    id = grader.id.encode()
    bodies = [
        b'{"worker_id": "%s", "result": "a\\u0000b"}' % id,
        b'{"worker_id": "%s", "result": "another"}' % id,
        b'{"worker_id": "%s"}' % id,
        b"worker_id=%s&score=1" % id,
        b'{"worker_id": "%s", "result": 1}' % other.id.encode(),
    ]
    return [grader.http.post(path, content=body).status_code for body in bodies]


def test_no_log_holds_a_worker_id_or_a_token(talkative):
    stack = talkative
    grader, other, doomed = stack.grader(), stack.grader(1), stack.grader(hostname="doomed")
    run = start_run(stack, 4)
    taken = grader.take()
    assert results_of_all_kinds(grader, other, taken) == [200, 400, 400, 400, 400]
    refused = grader.take()
    path = f"/api/v1/grading_job/{refused['job_id']}"
    assert grader.http.post(path, content=b'{"worker_id": "%s"}' % grader.id.encode()).status_code == 400
    assert grader.http.post(path, params={"worker_id": grader.id}, content=b"{").status_code == 400
    doomed.take()
    wait_until(lambda: not stack.database.worker(doomed.id)["alive"], 15, "a grader is dead")
    guessed = unique("guessed-token")
    wrong = {"worker_id": "f" * 31, "token": guessed}
    for method, where in (("GET", "grading_job"), ("POST", "heartbeat"), ("GET", "worker_register")):
        stack.api.request(method, f"{ROUTE}/{where}", params=wrong, headers=bearer(guessed))
    as_client(stack, "POST", f"/grading_run/{run}/cancel")
    text = stack.log_text()
    assert "result repaired" in text and "result refused" in text and "worker dead" in text
    secrets = [grader.id, other.id, doomed.id, guessed, CLIENT_TOKEN, stack.cluster_token]
    secrets += [stack.described["internal_token"], *stack.course_tokens]
    assert [secret for secret in secrets if secret in text] == []
