"""Results that strict JSON or a limit would refuse are repaired and stored with a note, or the job fails at once with
the refusal's sentence, in every protocol. The job of another worker never fails."""

import contextlib
import gzip
import json
import struct
import time

import httpx
import pytest
from broadway import error_of
from course import config_of
from course_names import unique
from hostile import head_of
from pipelines import run_of
from raw import connect
from socket_grader import LOOP
from waiting import PATIENCE, wait_until

MIB = 1024 * 1024
LIMIT = 4 * MIB
COMPLETE, FAILED = "grading run is complete", "grading job failed"
TEXT_FRAME = 1

# name: (sent value, stored value, a word of the note)
KINDS = {
    "NUL escaped": (rb'"a\u0000b"', "ab", "NUL"),
    "NUL raw": (b'"a\0b"', "ab", "NUL"),
    "not UTF-8": (b'"a\xff\xc3b"', "a\ufffd\ufffdb", "UTF-8"),
    "lone surrogate": (rb'"\ud800"', "\ufffd", "surrogates"),
    "NaN and Infinity": (b"[NaN, Infinity, -Infinity]", [None] * 3, "NaN"),
    "a large integer": (b"18446744073709551616", 18446744073709551616.0, "64 bits"),
    "a number out of range": (b"[1e400]", [None], "out of range"),
    "too deep": (b"[" * 100 + b"]" * 100, None, "too deep"),
    "a key twice": (b'{"a": 1, "a": 2}', {"a": 2}, "twice"),
    "a raw newline": (b'"a\nb"', "a\nb", "control"),
    "an unknown escape": (rb'"\x41"', "\\x41", "escapes"),
}


@pytest.fixture
def leased(stack):
    """(grader, job): the only job of a run, handed out to the grader."""
    grader = stack.grader()
    stack.api.submit_and_start(run_of(1))
    return grader, grader.take()


def shown(stack, job):
    """The job in the status with results."""
    (student,) = stack.apis[1].status(job["job_id"][:24], results="true")["student_statuses"]
    return student


def post(grader, job, body, **query):
    """Posts the bytes as a result."""
    return grader.http.post(f"/api/v1/grading_job/{job['job_id']}", content=body, params=query)


def depth_of(value):
    depth = 0
    while isinstance(value, list):
        depth, value = depth + 1, value[0]
    return depth, value


def assert_value(kind, value):
    if kind == "too deep":
        depth, sentence = depth_of(value)
        assert depth <= 32 and "levels deep" in sentence
    else:
        assert value == KINDS[kind][1]


# A registration answers the limits of results

LIMITS = {"Broadway-Max-Log-Bytes": LIMIT, "Broadway-Max-Result-Bytes": LIMIT, "Broadway-Max-Body-Bytes": 16 * MIB}


def limits_in(headers):
    return {name: int(headers[name]) for name in LIMITS}


def test_a_registration_answers_the_limits_in_every_protocol(stack, staff):
    arguments = {"token": stack.cluster_token, "hostname": "x"}
    answer = stack.api.request("GET", "/api/v1/worker_register", params=arguments)
    assert answer.status_code == 200 and limits_in(answer.headers) == LIMITS
    answer = staff.grader(register=False).register()
    assert answer.json()["data"] == {"heartbeat": 1} and limits_in(answer.headers) == LIMITS
    assert limits_in(staff.socket().socket.response_headers) == LIMITS


def test_a_refused_registration_answers_no_limits(stack):
    answer = stack.api.request("GET", "/api/v1/worker_register", params={"token": "wrong"})
    assert answer.status_code == 400 and not set(LIMITS) & set(answer.headers)


# Mended


@pytest.mark.parametrize("kind", KINDS)
def test_a_classic_result_is_mended_and_noted(stack, leased, kind):
    grader, job = leased
    sent, _, word = KINDS[kind]
    body = b'{"worker_id": "%s", "result": %s, "logs": {"stdout": %s}}' % (grader.id.encode(), sent, rb'"x\u0000y"')
    for _ in range(2):  # the same bytes again are the same result
        assert post(grader, job, body).status_code == 200
    student = shown(stack, job)
    assert student["outcome"] == "succeeded"
    assert_value(kind, student["result"])
    assert student["note"].startswith("mended: ") and word in student["note"]
    assert stack.database.result(job["job_id"])["note"] == student["note"]
    assert stack.database.logs(job["job_id"])[0]["stdout"] == "xy"


@pytest.mark.parametrize(
    ("sent", "becomes", "word"),
    [
        (b"a%00b", "ab", "NUL"),
        (b"a\0b", "ab", "NUL"),
        (b"%FF%FE", "\ufffd\ufffd", "UTF-8"),
        (b"100%", "100%", "escapes"),
    ],
)
def test_a_classic_result_in_a_form_is_mended_and_noted(stack, leased, sent, becomes, word):
    grader, job = leased
    body = b"worker_id=%s&result=%s" % (grader.id.encode(), sent)
    for _ in range(2):
        assert post(grader, job, body).status_code == 200
    student = shown(stack, job)
    assert student["result"] == becomes and word in student["note"]


def test_a_classic_result_in_a_multipart_form_or_a_query_is_mended(stack):
    grader = stack.grader()
    stack.api.submit_and_start(run_of(2))
    first, second = grader.take(), grader.take()
    path = "/api/v1/grading_job/"
    parts = {"worker_id": (None, grader.id), "result": (None, b"a\0\xffb")}
    assert grader.http.post(path + first["job_id"], files=parts).status_code == 200
    answer = grader.http.post(f"{path}{second['job_id']}?worker_id={grader.id}&result=a%00%FFb")
    assert answer.status_code == 200
    students = stack.api.status(first["job_id"][:24], results="true")["student_statuses"]
    assert [student["result"] for student in students] == ["a\ufffdb"] * 2


def test_a_valid_result_has_no_note(stack, leased):
    grader, job = leased
    grader.finish(job, {"score": 0.1})
    assert "note" not in shown(stack, job) and "note" not in stack.database.result(job["job_id"])


def course_body(job, sent):
    return b'{"grading_job_id": "%s", "success": true, "results": [{"v": %s}], "logs": {"stderr": %s}}' % (
        job["grading_job_id"].encode(),
        sent,
        rb'"err\u0000"',
    )


def assert_course_result(staff, course, run, job, kind):
    job = job["grading_job_id"]
    assert course.status(run)["student_jobs_state"] == {job: "grading job was successful"}
    stored = staff.stack.database.result(job)
    assert_value(kind, json.loads(stored["result"])[0]["v"])
    assert KINDS[kind][2] in stored["note"]
    assert course.log(job) == {"stderr": f"err\n[{stored['note']}]\n", "stdout": ""}


@pytest.mark.parametrize("kind", KINDS)
def test_a_course_result_over_http_is_mended_and_noted(staff, kind):
    course, grader = staff.course(), staff.grader()
    run = course.run()
    job = grader.take()
    for _ in range(2):
        answer = grader.http.post(f"/grading_job/{grader.name}", content=course_body(job, KINDS[kind][0]))
        assert answer.status_code == 200, answer.text
    assert_course_result(staff, course, run, job, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_by_websocket_is_mended_and_noted(staff, kind):
    course, grader = staff.course(), staff.socket_grader()
    run = course.run(2)
    job = grader.take()
    message = b'{"type": "job_result", "args": %s}' % course_body(job, KINDS[kind][0])
    for _ in range(2):
        LOOP.run(grader.socket.write_frame(True, TEXT_FRAME, message))
    second = grader.take()  # the socket is still open, and gets the next job
    grader.finish(second)
    wait_until(lambda: course.state(run) == COMPLETE, 5, "the run is complete")
    stored = staff.stack.database.result(job["grading_job_id"])
    assert_value(kind, json.loads(stored["result"])[0]["v"])
    assert KINDS[kind][2] in stored["note"]
    assert course.log(job["grading_job_id"])["stderr"] == f"err\n[{stored['note']}]\n"


def test_a_registration_by_websocket_is_not_mended(staff):
    link = staff.socket()
    link.send(rb'{"type": "register", "args": {"hostname": "a\ud800"}}')
    assert link.closed()[0] == 1011


# Numbers


@pytest.mark.parametrize("number", ["0.1", "2.675", "1e300", "-0.0", "5e-324", "1.0", "9223372036854775807"])
def test_a_number_in_a_result_is_returned_unchanged(stack, leased, number):
    grader, job = leased
    body = b'{"worker_id": "%s", "result": [%s]}' % (grader.id.encode(), number.encode())
    assert post(grader, job, body).status_code == 200
    assert stack.database.result(job["job_id"])["result"] == f"[{number}]"
    answer = stack.api.request("GET", f"/api/v1/grading_run/{job['job_id'][:24]}", params={"results": "true"})
    assert f'"result":[{number}]' in answer.text


def test_numbers_in_stages_and_configs_are_returned_unchanged(stack, staff):
    stack.api.submit_and_start(run_of(1, student_pipeline=[{"image": "x", "timeout": 0.1}]))
    answer = stack.grader().poll_response(wait=5)
    assert '"timeout":0.1,' in answer.text
    course = staff.course()
    config = config_of()
    config["env"] = {"WEIGHT": 0.1}
    assignment = course.configure(config)
    assert '"WEIGHT":0.1}' in course.ask("GET", f"/grading_config/{course.name}/{assignment}").text


# Too large


@pytest.mark.parametrize("style", ["json", "form"])
def test_a_string_over_the_limit_is_cut_in_the_middle(stack, leased, style):
    grader, job = leased
    result = "first\n" + "€" * (LIMIT // 3) + "\nscore 97"
    assert grader.finish_response(job, result, style).status_code == 200
    assert grader.finish_response(job, result, style).status_code == 200
    student = shown(stack, job)
    assert student["result"].startswith("first\n€") and student["result"].endswith("€\nscore 97")
    assert "bytes cut" in student["result"] and "cut to fit" in student["note"]
    assert len(stack.database.result(job["job_id"])["result"].encode()) <= LIMIT


def test_a_classic_list_over_the_limit_is_cut_at_its_end(stack, leased):
    grader, job = leased
    grader.finish(job, [{"n": n, "text": "x" * 1_000_000} for n in range(6)])
    result = shown(stack, job)["result"]
    assert [item.get("n") for item in result] == [0, 1, 2, 3, None] and "2 of 6" in result[-1]["cut"]


def test_the_limit_can_be_set(stack, leased, make_replica):
    grader, job = leased
    strict = make_replica(stack, "--heartbeat-interval=1", "--max-result-bytes=1024").wait_ready()
    grader.at(strict.url).finish(job, "x" * 1100)
    assert len(stack.database.result(job["job_id"])["result"]) <= 1024


def test_a_result_that_cannot_be_cut_fails_its_job_at_once(stack, leased):
    grader, job = leased
    result = {f"test {number:040}": number for number in range(120_000)}
    for _ in range(2):
        answer = grader.finish_response(job, result)
        assert answer.status_code == 413 and str(LIMIT) in error_of(answer)
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"]) == ("failed", 1)
    assert (student["result"], student["owner"]) == (error_of(answer), "infrastructure")
    assert stack.api.status(job["job_id"][:24])["state"] == "finished"


def large_body(grader, result_bytes=17 * MIB):
    return b'{"worker_id": "%s", "result": "%s"}' % (grader.id.encode(), b"x" * result_bytes)


@pytest.mark.parametrize("where", ["query", "body", "form"])
def test_a_body_over_the_limit_fails_the_job_of_the_worker_who_sends_it(stack, leased, where):
    grader, job = leased
    junk = b"x" * (17 * MIB)
    bodies = {
        "query": junk,
        "body": large_body(grader),
        "form": b"worker_id=%s&result=%s" % (grader.id.encode(), junk),
    }
    answer = post(grader, job, bodies[where], **({"worker_id": grader.id} if where == "query" else {}))
    assert answer.status_code == 413 and str(16 * MIB) in error_of(answer)
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"]) == ("failed", 1)
    assert student["result"] == error_of(answer)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit_may_reach_another_replica(stack, is_chunked):
    """A replica that does not know the worker or its job."""
    grader = stack.grader()
    stack.api.submit_and_start(run_of(1))
    job = grader.take()
    body = large_body(grader)
    chunks = (body[at : at + MIB] for at in range(0, len(body), MIB))
    answer = post(grader.at(stack.apis[2].url), job, chunks if is_chunked else body)
    assert answer.status_code == 413
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"], student["result"]) == ("failed", 1, error_of(answer))


@pytest.mark.parametrize("where", ["nowhere", "too late"])
def test_a_body_over_the_limit_without_a_worker_is_not_read_completely(stack, where):
    """The same if the worker is named late in the body. No job fails."""
    grader = stack.grader()
    stack.api.submit_and_start(run_of(1))
    job = grader.take()
    junk = b'{"result": "%s"' % (b"x" * (17 * MIB))
    body = junk + (b', "worker_id": "%s"}' % grader.id.encode() if where == "too late" else b"}")
    answer = post(grader.at(stack.apis[2].url), job, body)
    assert answer.status_code == 413 and stack.database.result(job["job_id"]) is None
    grader.finish(job)


def send_declared(link, path, length, *headers, body=b""):
    """Sends the head of a request and the first part of its body; returns the answer."""
    link.send(head_of(path, length, *headers) + body)
    return link.read_answer()


BEYOND = 65 * MIB  # more than four times the limit of a body


@pytest.mark.parametrize("where", ["query", "body", "form"])
def test_a_result_far_beyond_the_limit_fails_its_job_before_it_is_read(stack, leased, where):
    grader, job = leased
    path, id = f"/api/v1/grading_job/{job['job_id']}", grader.id.encode()
    body = {
        "query": b"",
        "body": b'{"worker_id": "%s", "result": "%s' % (id, b"x" * 20000),
        "form": b"worker_id=%s&result=%s" % (id, b"x" * 20000),
    }[where]
    with connect(stack.urls[0]) as link:
        answer = send_declared(link, path + (f"?worker_id={grader.id}" if where == "query" else ""), BEYOND, body=body)
    assert answer.status == 413 and str(16 * MIB) in answer.error
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"]) == ("failed", 1)
    assert student["result"] == answer.error


@pytest.mark.parametrize("begun", [b"", b'{"result": "x'], ids=["head", "some bytes"])
def test_a_far_too_large_declared_length_is_refused_soon(stack, leased, begun):
    """No worker is named, so the job continues."""
    grader, job = leased
    asked = time.monotonic()
    with connect(stack.urls[0]) as link:
        answer = send_declared(link, f"/api/v1/grading_job/{job['job_id']}", BEYOND, body=begun)
    assert answer.status == 413 and str(16 * MIB) in answer.error
    assert time.monotonic() - asked < 3 * PATIENCE
    result = {"worker_id": grader.id, "result": 1, "success": True}
    assert post(grader, job, json.dumps(result).encode()).status_code == 200


def test_a_whole_result_far_beyond_the_limit_fails_its_job(stack, leased):
    grader, job = leased
    with contextlib.suppress(httpx.TransportError):  # a client that continues sending may lose the answer
        answer = post(grader, job, large_body(grader, BEYOND), worker_id=grader.id)
        assert answer.status_code == 413
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"]) == ("failed", 1) and str(16 * MIB) in student["result"]


def test_chunks_far_beyond_the_limit_fail_their_job(stack, leased):
    grader, job = leased
    chunk = b"%x\r\n%s\r\n" % (MIB, b"x" * MIB)
    with connect(stack.urls[0]) as link:
        head = head_of(f"/api/v1/grading_job/{job['job_id']}", 0).replace(
            b"Content-Length: 0", b"Transfer-Encoding: chunked"
        )
        start = b'{"worker_id": "%s", "result": "' % grader.id.encode()
        link.send(head + b"%x\r\n%s\r\n" % (len(start), start))
        for _ in range(BEYOND // MIB):
            link.send(chunk)
        answer = link.read_answer()
    assert answer.status == 413
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"], student["result"]) == ("failed", 1, answer.error)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_course_result_far_beyond_the_limit_fails_its_job_and_is_200(staff, is_chunked):
    course, grader = staff.course(), staff.grader()
    run = course.run()
    job = grader.take()["grading_job_id"]
    start = b'{"grading_job_id": "%s", "results": [{"text": "%s' % (job.encode(), b"x" * 20000)
    head = head_of(
        f"/api/v1/grading_job/{grader.name}", BEYOND, f"Authorization: {grader.http.headers['authorization']}"
    )
    if is_chunked:
        head = head.replace(b"Content-Length: %d" % BEYOND, b"Transfer-Encoding: chunked")
        start = b"%x\r\n%s\r\n" % (len(start), start)
    with connect(staff.stack.urls[0]) as link:
        link.send(head + start)
        for _ in range(BEYOND // MIB if is_chunked else 0):
            link.send(b"%x\r\n%s\r\n" % (MIB, b"x" * MIB))
        answer = link.read_answer()
    assert answer.status == 200 and json.loads(answer.body) == {"status": "success", "data": None}
    assert course.status(run)["student_jobs_state"] == {job: FAILED}
    assert str(16 * MIB) in course.log(job)["stderr"] and len(staff.stack.database.leases(run)) == 1


def test_an_unknown_sender_fails_no_job_by_a_large_declared_length(stack, leased):
    grader, job = leased
    stranger = stack.grader(1)
    for worker in (stranger.id, "e" * 32, "x"):
        with connect(stack.urls[0]) as link:
            body = b"" if worker != "x" else b"x" * 20000
            answer = send_declared(link, f"/api/v1/grading_job/{job['job_id']}?worker_id={worker}", BEYOND, body=body)
            assert answer.status == 413
    assert stack.database.result(job["job_id"]) is None
    grader.finish(job)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit_may_name_its_worker_last(stack, leased, is_chunked):
    """At the replica that handed out the job. A worker id inside the result does not count."""
    grader, job = leased
    wrong = b'\\", \\"worker_id\\": \\"%s\\"' % (b"e" * 32)
    body = b'{"result": [{"worker_id": "no"}, "%s%s"], "worker_id": "%s"}' % (
        wrong,
        b"x" * 17 * MIB,
        grader.id.encode(),
    )
    answer = post(grader, job, (body[at : at + MIB] for at in range(0, len(body), MIB)) if is_chunked else body)
    assert answer.status_code == 413
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"], student["result"]) == ("failed", 1, error_of(answer))


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_course_body_over_the_limit_may_name_its_job_after_its_results(staff, is_chunked):
    course, grader = staff.course(), staff.grader()
    run = course.run()
    job = grader.take()["grading_job_id"]
    body = b'{"results": [{"text": "%s"}], "grading_job_id": "%s", "success": true, "logs": {}}'
    body %= (b"x" * 17 * MIB, job.encode())
    content = (body[at : at + MIB] for at in range(0, len(body), MIB)) if is_chunked else body
    answer = grader.http.post(f"/grading_job/{grader.name}", content=content)
    assert answer.status_code == 200
    assert course.status(run)["student_jobs_state"] == {job: FAILED}


def test_a_compressed_result_fails_the_job_of_the_worker_in_its_query(stack, leased):
    grader, job = leased
    sent = {"content": gzip.compress(b'{"result": 1}'), "headers": {"Content-Encoding": "gzip"}}
    path = f"/api/v1/grading_job/{job['job_id']}"
    for worker in (stack.grader(1).id, None):
        answer = grader.http.post(path, params={"worker_id": worker} if worker else {}, **sent)
        assert answer.status_code == 400 and "Content-Encoding" in error_of(answer)
    assert stack.database.result(job["job_id"]) is None
    answer = grader.http.post(path, params={"worker_id": grader.id}, **sent)
    assert answer.status_code == 400 and "Content-Encoding" in error_of(answer)
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"], student["result"]) == ("failed", 1, error_of(answer))


def test_a_chunked_body_over_the_limit_fails_its_job(stack, leased):
    grader, job = leased
    body = large_body(grader)
    chunks = (body[at : at + MIB] for at in range(0, len(body), MIB))
    answer = post(grader, job, chunks)
    assert answer.status_code == 413
    assert shown(stack, job)["result"] == error_of(answer)


def test_a_course_body_over_the_limit_fails_its_job_and_is_200(staff):
    """Graders of the course protocol exit at any other status."""
    course, grader = staff.course(), staff.grader()
    run = course.run()
    job = grader.take()
    for _ in range(2):
        grader.finish(job, results=[{"text": "x" * (17 * MIB)}])
    assert course.status(run)["student_jobs_state"] == {job["grading_job_id"]: FAILED}
    assert str(16 * MIB) in course.log(job["grading_job_id"])["stderr"]


def test_a_message_over_the_limit_fails_its_job_before_the_socket_closes(staff):
    course, grader = staff.course(), staff.socket_grader()
    run = course.run()
    job = grader.take()
    grader.send({"type": "job_result", "args": {"grading_job_id": job["grading_job_id"], "text": "x" * (17 * MIB)}})
    code, reason = grader.closed()
    assert code == 1009 and str(16 * MIB) in reason
    again = staff.socket_grader(name=grader.name)
    assert again.receives_nothing(0.5)
    assert course.state(run) == COMPLETE
    stored = staff.stack.database.result(job["grading_job_id"])
    assert stored["reason"] == reason and len(staff.stack.database.leases(run)) == 1
    assert course.log(job["grading_job_id"])["stderr"] == reason


def test_a_frame_that_claims_to_be_too_large_and_stops_fails_the_job_that_was_pushed(staff):
    """The message can't be read, so it counts as the result of the grader's job."""
    course, grader = staff.course(), staff.socket_grader()
    run = course.run()
    job = grader.take()["grading_job_id"]
    head = b"\x81\xff" + struct.pack(">Q", 8 << 30) + b"\0\0\0\0" + b"x"
    LOOP.loop.call_soon_threadsafe(grader.socket.transport.write, head)
    assert grader.closed()[0] == 1009
    assert course.status(run)["student_jobs_state"] == {job: FAILED}
    assert str(16 * MIB) in course.log(job)["stderr"]


def test_fragments_that_are_too_large_together_fail_the_job_that_was_pushed(staff):
    course, grader = staff.course(), staff.socket_grader()
    run = course.run()
    job = grader.take()["grading_job_id"]
    for index in range(4):
        piece = b"x" * (5 * MIB)
        LOOP.run(grader.socket.write_frame(index == 3, TEXT_FRAME if index == 0 else 0, piece))
    assert grader.closed()[0] == 1009
    assert course.status(run)["student_jobs_state"] == {job: FAILED}


def test_an_old_message_over_the_limit_sent_again_does_not_fail_the_next_job(staff):
    """A grader that keeps an unsent message sends it first on its next socket."""
    course, grader = staff.course(), staff.socket_grader()
    run = course.run(2)
    job = grader.take()
    message = {"type": "job_result", "args": {"grading_job_id": job["grading_job_id"], "text": "x" * (17 * MIB)}}
    grader.send(message)
    assert grader.closed()[0] == 1009
    again = staff.socket_grader(name=grader.name)
    second = again.take()
    again.send(message)
    assert again.closed()[0] == 1009
    wait_until(lambda: course.state(run) == COMPLETE, 5, "the second job was lost with its socket")
    assert "grader lost" in staff.stack.database.result(second["grading_job_id"])["reason"]


# Results that can't be repaired


BAD_BODIES = {
    "not whole": (b'{"worker_id": "%s", "result": [1, 2', "JSON"),
    "no result": (b'{"worker_id": "%s"}', "result"),
    "success text": (b'{"worker_id": "%s", "result": 1, "success": "yes"}', "success"),
    "success null": (b'{"worker_id": "%s", "result": 1, "success": null}', "success"),
    "logs a list": (b'{"worker_id": "%s", "result": 1, "logs": []}', "logs"),
    "logs text": (b'{"worker_id": "%s", "result": 1, "logs": "stdout"}', "logs"),
    "unknown logs": (b'{"worker_id": "%s", "result": 1, "logs": {"stdin": ""}}', "stdin"),
    "stdout a number": (b'{"worker_id": "%s", "result": 1, "logs": {"stdout": 1}}', "stdout"),
    "stderr null": (b'{"worker_id": "%s", "result": 1, "logs": {"stderr": null}}', "stderr"),
    "an unknown key": (b'{"worker_id": "%s", "result": 1, "grade": 1}', "grade"),
    "an unknown key in a form": (b"worker_id=%s&result=1&grade=1", "grade"),
    "a form without a result": (b"worker_id=%s", "result"),
    "escapes in the key": (rb'{"worker\u005fid": "%s"}', "result"),
}


def escaped(id):
    """The text as a JSON string with every character escaped."""
    return "".join(f"\\u{ord(character):04x}" for character in id)


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_a_result_that_cannot_be_read_fails_its_job_at_once(stack, leased, kind):
    grader, job = leased
    body, word = BAD_BODIES[kind]
    for _ in range(2):
        answer = post(grader, job, body % grader.id.encode())
        assert answer.status_code == 400 and word in error_of(answer)
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"]) == ("failed", 1)
    assert (student["result"], student["owner"]) == (error_of(answer), "infrastructure")
    assert stack.api.status(job["job_id"][:24])["state"] == "finished"


def parts_of(*parts, end=b"--\r\n"):
    """A multipart form with the boundary "x"."""
    body = b"".join(b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part for part in parts)
    return body + b"--x" + end


BAD_PARTS = {
    "no result": ([], {}, "result"),
    "success text": ([(b"result", b"1"), (b"success", b"perhaps")], {}, "success"),
    "an unknown part": ([(b"result", b"1"), (b"grade", b"1")], {}, "grade"),
    "not whole": ([(b"result", b"1")], {"end": b"-"}, "incomplete"),
    "behind a text that looks like JSON": ([(b"grade", b'{"worker_id": "%s"}' % (b"e" * 32))], {}, "grade"),
}


def post_parts(grader, job, body):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return grader.http.post(f"/api/v1/grading_job/{job['job_id']}", content=body, headers=headers)


@pytest.mark.parametrize("kind", BAD_PARTS)
@pytest.mark.parametrize("is_last", [False, True])
def test_a_multipart_form_that_cannot_be_read_fails_its_job_at_once(stack, leased, kind, is_last):
    grader, job = leased
    parts, more, word = BAD_PARTS[kind]
    mine = [(b"worker_id", grader.id.encode())]
    answer = post_parts(grader, job, parts_of(*([*parts, *mine] if is_last else [*mine, *parts]), **more))
    assert answer.status_code == 400 and word in error_of(answer)
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"], student["result"]) == ("failed", 1, error_of(answer))


@pytest.mark.parametrize("length", [17 * MIB, BEYOND])
def test_a_multipart_form_over_the_limit_fails_its_job(stack, leased, length):
    grader, job = leased
    begun = parts_of((b"worker_id", grader.id.encode()), (b"result", b"x" * length))[:length]
    with contextlib.suppress(httpx.TransportError):  # a client that continues sending may lose the answer
        answer = post_parts(grader, job, begun)
        assert answer.status_code == 413
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"]) == ("failed", 1) and str(16 * MIB) in student["result"]


@pytest.mark.parametrize("is_over_the_limit", [False, True])
def test_an_id_that_is_written_in_escapes_is_read(stack, leased, is_over_the_limit):
    grader, job = leased
    result = b'"result": "%s", ' % (b"x" * 17 * MIB) if is_over_the_limit else b""
    body = b'{%s"worker\\u005fid": "%s"}' % (result, escaped(grader.id).encode())
    assert post(grader, job, body).status_code == (413 if is_over_the_limit else 400)
    student = shown(stack, job)
    assert (student["outcome"], student["attempts"]) == ("failed", 1)


def test_a_worker_can_not_fail_the_job_of_another(stack, leased):
    """Neither a worker that never had the job, nor an unknown one, nor a sender without a worker id."""
    grader, job = leased
    stranger = stack.grader(1)
    for worker in (stranger.id, "e" * 32, "x", ""):
        for body, _ in BAD_BODIES.values():
            assert post(stranger, job, body % worker.encode()).status_code == 400
        assert post_parts(stranger, job, parts_of((b"worker_id", worker.encode()))).status_code == 400
        large = large_body(stranger).replace(stranger.id.encode(), worker.encode(), 1)
        assert post(stranger, job, large).status_code in (400, 413)
        assert post(stranger, job, b"{", worker_id=worker or "0").status_code == 400
    assert post(stranger, job, b"{").status_code == 400
    assert stack.database.result(job["job_id"]) is None
    grader.finish(job)


def test_a_result_that_cannot_be_read_does_not_change_one_that_counts(stack, leased):
    grader, job = leased
    grader.finish(job, "good")
    answer = post(grader, job, b'{"worker_id": "%s"}' % grader.id.encode())
    assert answer.status_code == 400 and "result" in error_of(answer)
    assert shown(stack, job)["result"] == "good"


COURSE_BODIES = {
    "not whole": (b'{"grading_job_id": "%s", "success": true, "results": [', "JSON"),
    "no results": (b'{"grading_job_id": "%s", "success": true, "logs": {}}', "results"),
    "results an object": (b'{"grading_job_id": "%s", "success": true, "results": {}, "logs": {}}', "results"),
    "a result a number": (b'{"grading_job_id": "%s", "success": true, "results": [1], "logs": {}}', "results[0]"),
    "success text": (b'{"grading_job_id": "%s", "success": "yes", "results": [], "logs": {}}', "success"),
    "an unknown key": (b'{"grading_job_id": "%s", "success": true, "results": [], "logs": {}, "x": 1}', "x"),
}


@pytest.mark.parametrize("kind", COURSE_BODIES)
def test_a_course_result_that_cannot_be_read_fails_its_job_at_once(staff, kind):
    course, grader, stranger = staff.course(), staff.grader(), staff.grader(replica=1)
    run = course.run()
    job = grader.take()["grading_job_id"]
    body, word = COURSE_BODIES[kind]
    for sender, state in ((stranger, "grading job is running"), (grader, FAILED), (grader, FAILED)):
        answer = sender.http.post(f"/grading_job/{sender.name}", content=body % job.encode())
        assert answer.status_code == 400 and word in answer.json()["data"]
        assert course.status(run)["student_jobs_state"] == {job: state}
    assert course.log(job)["stderr"] == answer.json()["data"]
    assert course.status(run)["owners"] == {job: "infrastructure"}
    assert len(staff.stack.database.leases(run)) == 1


@pytest.mark.parametrize("kind", COURSE_BODIES)
@pytest.mark.parametrize("names_it", [True, False])
def test_a_message_that_cannot_be_read_fails_its_job_before_the_socket_closes(staff, kind, names_it):
    course, grader = staff.course(), staff.socket_grader()
    run = course.run()
    job = grader.take()["grading_job_id"]
    body, word = COURSE_BODIES[kind]
    message = b'{"type": "job_result", "args": %s}' % (body % job.encode())
    if not names_it:
        message, word = b"no json, but the end of a job", "JSON"
    grader.send(message.decode())
    assert grader.closed() == (1011, "internal error")
    assert course.status(run)["student_jobs_state"] == {job: FAILED}
    stored = staff.stack.database.result(job)
    assert word in stored["reason"] and stored["worker"] == grader.name
    assert course.log(job)["stderr"] == stored["reason"]


def test_a_message_that_cannot_be_read_fails_no_job_of_another(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run()
    job = grader.take()["grading_job_id"]
    other = staff.socket_grader(name=unique("other"))
    other.send(f'{{"type": "job_result", "args": {{"grading_job_id": "{job}"}}}}')
    assert other.closed() == (1011, "internal error")
    assert course.status(run)["student_jobs_state"] == {job: "grading job is running"}
    grader.finish(job)
