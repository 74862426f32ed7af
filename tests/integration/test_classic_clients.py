"""Scripts and graders that were written for the first version of the protocol work unchanged, byte by byte."""

import json
import urllib.parse

from broadway import BackgroundGrader, ClassicGrader
from pipelines import run_of
from raw import exchange
from waiting import holds_for, soon, wait_until

JSON_TYPE = "application/json; charset=UTF-8"


def send(url, method, path, body=b"", content_type=None):
    """A request of such a client: HTTP/1.1, an explicit length on POST, the client's type on every request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Accept-Encoding: gzip", "Connection: close"]
    lines += [f"Content-Type: {content_type}"] if content_type else []
    lines += [f"Content-Length: {len(body)}"] if method == "POST" else []
    return exchange(url, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def classic_client_submits(url, definition):
    """The script: a form with the payload as JSON text, then a start with an empty body."""
    form = urllib.parse.urlencode({"json_payload": json.dumps(definition)}).encode()
    answer = send(url, "POST", "/api/v1/grading_run", form, "application/x-www-form-urlencoded")
    assert answer.status == 200
    run = json.loads(answer.body)["id"]
    assert send(url, "POST", f"/api/v1/grading_run/{run}").status == 200
    return run


class UnchangedGrader:
    """The grader: every request labelled as JSON, the heartbeat with an empty body, the result as one long string."""

    def __init__(self, url, token):
        self.url = url
        answer = send(url, "GET", f"/api/v1/worker_register?token={token}", content_type=JSON_TYPE)
        assert answer.status == 200
        registered = json.loads(answer.body)
        assert type(registered["heartbeat"]) is int
        self.id = registered["worker_id"]

    def poll(self, wait=""):
        answer = send(self.url, "GET", f"/api/v1/grading_job?worker_id={self.id}{wait}", content_type=JSON_TYPE)
        assert answer.status in (200, 498)
        return json.loads(answer.body) if answer.status == 200 else None

    def beat(self):
        answer = send(self.url, "POST", f"/api/v1/heartbeat?worker_id={self.id}", b"", JSON_TYPE)
        assert answer.status == 200 and answer.body == b""

    def finish(self, job, result):
        body = json.dumps({"worker_id": self.id, "result": result}).encode()
        assert send(self.url, "POST", f"/api/v1/grading_job/{job['job_id']}", body, JSON_TYPE).status == 200


# The sample of the first version: it has every key of that version.
CLASSIC_PIPELINE = {
    "env": {"semester": "fa18", "assignment": "mp1"},
    "students": [{"STUDENT_ID": f"example{n}"} for n in range(4)],
    "student_pipeline": [
        {
            "image": "alpine:3.5",
            "env": {"STAGE": "clone", "STUDENT_ID": "", "WHO": "$STUDENT_ID", "TERM": "$semester"},
            "entrypoint": ["/bin/sh", "-c", "echo hello $STUDENT_ID"],
            "enable_networking": True,
            "host_name": "student.test.org",
        },
        {"image": "alpine:3.5", "enable_networking": False},
    ],
    "postprocessing_pipeline": [{"image": "alpine:3.5", "entrypoint": ["echo", "done"]}],
}


def test_a_classic_client_and_a_classic_grader_complete_a_run(stack):
    grader = UnchangedGrader(stack.urls[0], stack.cluster_token)
    run = classic_client_submits(stack.urls[1], CLASSIC_PIPELINE)
    log = "line of output\n" * 10000
    for n in range(5):
        grader.beat()
        job = grader.poll()
        names = [pair.split("=", 1)[0] for pair in job["stages"][0]["env"]]
        assert names[:2] == ["semester", "assignment"]
        assert job["stages"][0].get("entrypoint")
        grader.finish(job, f"{n} {log}")
    assert grader.poll("&wait=0") is None
    answer = send(stack.urls[2], "GET", f"/api/v1/grading_run/{run}", content_type=JSON_TYPE)
    status = json.loads(answer.body)
    assert [job["status"] for job in status["student_statuses"]] == ["Finished"] * 4
    assert status["postprocessing_status"]["status"] == "Finished"
    assert status["student_statuses"][2]["stages"][0]["env"]["WHO"] == "example2"


def test_classic_graders_need_no_heartbeats_during_a_job_and_others_do(stack):
    old = UnchangedGrader(stack.urls[0], stack.cluster_token)
    old.beat()  # it sends heartbeats only when it is idle
    stated = stack.grader(concurrency=1)
    beating = ClassicGrader(stack.urls[0], stack.cluster_token)
    run = stack.api.submit_and_start(run_of(3, student_pipeline=[{"image": "x", "timeout": 30}]))
    kept = old.poll()
    stated_job, beaten_job = stated.take(), beating.take()
    beating.beat()  # while holding its job: from here on it must send heartbeats

    requeued = {stated_job["job_id"], beaten_job["job_id"]}
    wait_until(
        lambda: ended(stack, run) == requeued, 2.5 + 1 + soon(2), "the two without heartbeats have lost their jobs"
    )
    holds_for(lambda: ended(stack, run) == requeued, 1.5, "the classic grader still has its job")
    assert {lease["ended"] for lease in stack.database.leases(run) if "ended" in lease} == {"lost"}
    old.finish(kept, "after four intervals of silence")

    with BackgroundGrader(stack.urls, stack.cluster_token, wait=1):
        assert stack.api.wait_over(run, 15)["state"] == "finished"
    assert [job["attempts"] for job in stack.api.status(run)["student_statuses"]] == [1, 2, 2]


def ended(stack, run):
    """Jobs with a lease that has ended."""
    return {lease["_id"][:32] for lease in stack.database.leases(run) if "ended" in lease}
