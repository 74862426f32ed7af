"""Valid requests of every route. Ids and tokens are placeholders of the right length, replaced when a case is run: see
system.stand_ins."""

import json

HOST = "127.0.0.1"
CLUSTER_TOKEN = b"fuzz-cluster-token-fuzz-cluster-token-fuzz-clust"
INTERNAL_TOKEN = b"fuzz-internal-token-fuzz-internal-token-fuzz-int"
STAFF_TOKEN = b"fuzz-staff-token"
LOOK_TOKEN = b"fuzz-look-token"
WORKER = b"d00d" * 8
RUN = b"beefbeefbeef" * 2
COURSE_RUN = b"cafecafecafe" * 2
PROCESS = b"feed" * 8
COURSE_WORKER = b"fuzz-worker"
STUDENT = b"10000000"
V1 = b"/api/v1/"

RUN_DEFINITION = {
    "name": "fuzz",
    "env": {"TERM": "fall"},
    "student_pipeline": [
        {"image": "debian:12-slim", "entrypoint": ["true"], "env": {"NETID": "", "T": "$TERM"}, "timeout": 1.5}
    ],
    "students": [{"NETID": "ada"}, {"NETID": "grace"}],
    "postprocessing_pipeline": [{"image": "x", "memory": "512m", "cpuset_cpus": "0-2", "cpus": 0.5, "user": "1:1"}],
    "priority": -3,
}
COURSE_CONFIG = {
    "pre_processing_pipeline": [{"image": "x"}],
    "student_pipeline": [{"image": "x", "entrypoint": ["./grade"], "env": {"POINTS": 10}}],
    "post_processing_pipeline": None,
    "env": {"TERM": "fa26"},
}
COURSE_ENVS = {"students_env": [{"NETID": "ada"}, {"NETID": "grace"}], "pre_processing_env": {"R": "1"}}
SCORES = {"score": 7.5, "max_score": 10, "tests": [{"name": "sorts", "score": 1, "status": "failed", "output": "x"}]}
RESULT = {
    "worker_id": WORKER.decode(),
    "result": {"score": 9},
    "success": True,
    "logs": {"stdout": "hello\n"},
    **SCORES,
}
COURSE_RESULT = {
    "grading_job_id": (COURSE_RUN + STUDENT).decode(),
    "success": True,
    "results": [{"score": 1}],
    "logs": {"stdout": "x"},
    **SCORES,
}
CALLBACKS = {
    "term": 1,
    "process": PROCESS.decode(),
    "announce": False,
    "hand_outs": [
        {
            "poll": 1,
            "worker": WORKER.decode(),
            "job": (RUN + STUDENT).decode(),
            "attempt": 1,
            "expires_in_ms": 1000,
        }
    ],
    "empty": [1, 2],
    "answers": [{"question": 1, "value": {"length": 3}}],
    "events": [{"watch": 1, "type": "position", "data": 3}],
}
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"


def request(method: str, path: bytes, *headers: str | bytes, body: bytes | None = None, version: str = "1.1") -> bytes:
    """A request as it goes over the wire."""
    lines = [method.encode() + b" " + path + b" HTTP/" + version.encode(), f"Host: {HOST}".encode()]
    lines += [header.encode() if isinstance(header, str) else header for header in headers]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + (body or b"")


def chunked(method: str, path: bytes, *headers: str | bytes, body: bytes, size: int = 40) -> bytes:
    """The same with its body in chunks."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    data = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return request(method, path, "Transfer-Encoding: chunked", *headers) + data + b"0\r\n\r\n"


def bearer(token: bytes) -> bytes:
    """The header with a token."""
    return b"Authorization: Bearer " + token


def to_json(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def classic_requests() -> list[bytes]:
    """Of clients and graders of the classic protocol."""
    run, job, worker = V1 + b"grading_run/" + RUN, V1 + b"grading_job/" + RUN + STUDENT, b"worker_id=" + WORKER
    submit, body = V1 + b"grading_run", to_json(RUN_DEFINITION)
    form = b"json_payload=" + b"".join(b"%%%02X" % byte for byte in body[:600])
    part = b'--b0undary\r\nContent-Disposition: form-data; name="json_payload"\r\n\r\n' + body + b"\r\n--b0undary--\r\n"
    return [
        request("POST", submit, JSON, body=body),
        request("POST", submit, JSON, "Idempotency-Key: fuzz-key-1", body=body),
        request("POST", submit, FORM, body=form),
        request("POST", submit, "Content-Type: multipart/form-data; boundary=b0undary", body=part),
        chunked("POST", submit, JSON, body=body),
        request("POST", submit, JSON, "Expect: 100-continue", body=body),
        request("GET", run + b"?results=true&offset=0&limit=3"),
        request("GET", run + b"?students=false", version="1.0"),
        request("POST", run, body=b""),
        request("POST", run + b"/cancel", body=b""),
        request("GET", run + b"/jobs?state=Running&outcome=failed&signature=" + b"0" * 16 + b"&limit=2"),
        request("GET", run + b"/jobs?after=" + RUN + STUDENT),
        request("GET", V1 + b"grading_job/" + RUN + STUDENT),
        request("GET", run + b"/receipts"),
        request("GET", V1 + b"receipts/key"),
        request("POST", run + b"/rerun", JSON, body=b'{"students": [0, {"NETID": "a"}], "priority": 1}'),
        request("POST", run + b"/rerun?select=failed", body=b""),
        request(
            "GET", V1 + b"audit?course=fuzz&since=2026-09-01T00:00:00Z&action=run.create&limit=2", bearer(CLUSTER_TOKEN)
        ),
        request("POST", run + b"/pause", JSON, body=b'{"note": "why", "timeout": 1}'),
        request("POST", run + b"/resume", body=b""),
        request("POST", V1 + b"cluster_pause", FORM, bearer(CLUSTER_TOKEN), body=b"timeout=1"),
        request("POST", V1 + b"cluster_resume", bearer(CLUSTER_TOKEN), body=b""),
        request("GET", V1 + b"pauses?offset=0", bearer(CLUSTER_TOKEN)),
        request("POST", V1 + b"worker_pause?" + worker + b"&drain=true&timeout=1", bearer(CLUSTER_TOKEN), body=b""),
        request("POST", V1 + b"worker_resume?" + worker, bearer(CLUSTER_TOKEN), body=b""),
        request("GET", V1 + b"worker_status?" + worker, bearer(CLUSTER_TOKEN)),
        request("GET", V1 + b"worker_register?token=" + CLUSTER_TOKEN + b"&hostname=fuzz&concurrency=1&cancel=true"),
        request("POST", job + b"/cancel", body=b""),
        request("POST", V1 + b"heartbeat?" + worker + b"&jobs=" + b"0" * 32 + b"," + b"1" * 32, body=b""),
        request("GET", V1 + b"grading_job?" + worker + b"&wait=0"),
        request("GET", V1 + b"grading_job?" + worker + b"&wait=0.02"),
        request("POST", job, JSON, body=to_json(RESULT)),
        request("POST", job, FORM, body=worker + b"&result=done&success=true&logs=%7B%7D"),
        chunked("POST", job, JSON, body=to_json(RESULT), size=7),
        request("GET", job + b"/files/sha256:" + b"0" * 64 + b"?" + worker),
        request("POST", job + b"/files?" + worker + b"&digest=sha256:" + b"0" * 64, body=b"a file"),
        chunked("POST", job + b"/files?" + worker, body=b"a file"),
        request("POST", job + b"/log?" + worker + b"&stream=stdout&offset=0", body=b"a line\n"),
        request("GET", job + b"/log?stream=stdout&tail=5"),
        request("GET", job + b"/log?stream=stderr&range=0-9", "Accept: text/event-stream"),
        request("POST", V1 + b"heartbeat", FORM, body=worker),
        request("POST", V1 + b"heartbeat?" + worker, body=b""),
        request("POST", V1 + b"heartbeat", JSON, body=to_json({"worker_id": WORKER.decode()})),
    ]


def course_requests() -> list[bytes]:
    """Of staff and graders of the course protocol."""
    staff, look, grader = bearer(STAFF_TOKEN), bearer(LOOK_TOKEN), bearer(CLUSTER_TOKEN)
    job = COURSE_RUN + STUDENT
    config, run = to_json(COURSE_CONFIG), to_json(COURSE_ENVS)
    return [
        request("POST", V1 + b"grading_config/fuzz/hw", staff, body=config),
        request("GET", V1 + b"grading_config/fuzz/hw", staff),
        request("POST", V1 + b"grading_run/fuzz/hw", staff, body=run),
        chunked("POST", V1 + b"grading_run/fuzz/hw", staff, "Idempotency-Key: k", body=run),
        request("POST", V1 + b"grading_run/fuzz/" + b"0" * 24 + b"/cancel", staff, body=b""),
        request("POST", V1 + b"grading_job/fuzz/" + b"0" * 32 + b"/cancel", staff, body=b""),
        request("POST", V1 + b"grading_run/fuzz/" + COURSE_RUN + b"/rerun", staff, body=b'{"select": "all"}'),
        request("POST", V1 + b"grading_run/fuzz/" + COURSE_RUN + b"/pause", staff, body=b'{"timeout": 1}'),
        request("POST", V1 + b"grading_run/fuzz/" + COURSE_RUN + b"/resume", staff, body=b""),
        request("POST", V1 + b"assignment/fuzz/hw/pause", staff, body=b'{"note": "why", "timeout": 1}'),
        request("POST", V1 + b"assignment/fuzz/hw/resume", staff, body=b""),
        request("POST", V1 + b"course/fuzz/pause", staff, body=b'{"timeout": 1}'),
        request("POST", V1 + b"course/fuzz/resume", staff, body=b""),
        request("GET", V1 + b"pauses/fuzz?offset=0", staff),
        request("POST", V1 + b"cluster/pause", grader, body=b'{"timeout": 1}'),
        request("POST", V1 + b"cluster/resume", grader, body=b""),
        request("GET", V1 + b"cluster/pauses", grader),
        request("POST", V1 + b"worker/" + COURSE_WORKER + b"/pause", grader, body=b'{"drain": true, "timeout": 1}'),
        request("POST", V1 + b"worker/" + COURSE_WORKER + b"/resume", grader, body=b""),
        request("GET", V1 + b"worker/" + COURSE_WORKER, grader),
        request("GET", V1 + b"grading_run_status/fuzz/" + COURSE_RUN, look),
        request("GET", V1 + b"grading_run_env/fuzz/" + COURSE_RUN, staff),
        request("GET", V1 + b"grading_run/fuzz/" + COURSE_RUN + b"/jobs?state=Queued&after=" + job, staff),
        request("GET", V1 + b"grading_run/fuzz/" + COURSE_RUN + b"/receipts", staff),
        request("GET", V1 + b"grading_job/fuzz/" + job, staff),
        request("GET", V1 + b"grading_job_log/fuzz/" + job, staff),
        request("POST", V1 + b"files/fuzz?digest=sha256:" + b"0" * 64, staff, body=b"a file"),
        chunked("POST", V1 + b"files/fuzz", staff, body=b"a file"),
        request("GET", V1 + b"files/fuzz/sha256:" + b"0" * 64, staff),
        request("GET", V1 + b"audit/fuzz?run=" + COURSE_RUN + b"&actor=a&until=2126-09-01T00:00:00.000Z", staff),
        request("GET", V1 + b"worker/fuzz/all", staff),
        request("GET", V1 + b"queue/fuzz/length", staff),
        request("GET", V1 + b"queue/fuzz/" + job + b"/position", look),
        request("GET", V1 + b"stream/fuzz/" + job + b"?snapshot=1", look),
        request("GET", V1 + b"stream/fuzz/run/" + COURSE_RUN, look),
        request("POST", V1 + b"worker/" + COURSE_WORKER, grader, body=to_json({"hostname": "h", "concurrency": 2})),
        request("GET", V1 + b"grading_job/" + COURSE_WORKER, grader),
        request("POST", V1 + b"grading_job/" + COURSE_WORKER, grader, body=to_json(COURSE_RESULT)),
        request("GET", V1 + b"grading_job/" + COURSE_WORKER + b"/" + job + b"/files/sha256:" + b"0" * 64, grader),
        request("POST", V1 + b"grading_job/" + COURSE_WORKER + b"/" + job + b"/files", grader, body=b"a file"),
        request(
            "POST",
            V1 + b"grading_job/" + COURSE_WORKER + b"/" + job + b"/log?stream=stderr&offset=7",
            grader,
            body=b"x",
        ),
        request("GET", V1 + b"grading_job/fuzz/" + job + b"/log?stream=stdout&range=0-", staff),
        request(
            "GET", V1 + b"grading_job/fuzz/" + job + b"/log?stream=stdout&follow=true", staff, "Last-Event-ID: 1.0"
        ),
        request("POST", V1 + b"heartbeat/" + COURSE_WORKER, grader, body=b""),
        request("POST", V1 + b"heartbeat/" + COURSE_WORKER + b"?jobs=" + b"0" * 32, grader, body=b""),
        request("OPTIONS", V1 + b"grading_config/fuzz/hw", "Origin: http://localhost:8080"),
        request("GET", V1 + b"worker/fuzz/all", staff, "Origin: http://example.org"),
    ]


def other_requests() -> list[bytes]:
    """Requests for unknown paths."""
    return [
        request("HEAD", V1 + b"grading_run/" + RUN),
        request("OPTIONS", b"*"),
        request("DELETE", V1 + b"heartbeat"),
        request("PUT", b"/", body=b"x"),
        request("GET", b"http://127.0.0.1/api/v1/queue"),
        request("GET", b"/a/../%2e%2e/%00/x"),
    ]


def status_requests() -> list[bytes]:
    """Operators' requests to the internal port and the scheduler's port."""
    return [
        request(method, path) for path in (b"/healthz", b"/readyz", b"/metrics", b"/") for method in ("GET", "HEAD")
    ]


def internal_requests() -> list[bytes]:
    """The scheduler's requests, with another process's id, so that they are never carried out."""
    body = to_json(CALLBACKS)
    path = b"/internal/v1/callbacks"
    return [
        *status_requests(),
        request("POST", path, bearer(INTERNAL_TOKEN), JSON, body=body),
        chunked("POST", path, bearer(INTERNAL_TOKEN), JSON, body=body),
        request("POST", path, JSON, body=body),
        request("GET", path),
    ]


SEEDS = {
    "public": classic_requests() + course_requests() + other_requests(),
    "internal": internal_requests(),
    "scheduler": status_requests() + other_requests(),
}
