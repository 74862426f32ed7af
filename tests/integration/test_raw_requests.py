"""Requests that no client of good manners sends: framing, encodings, sizes. Each is answered; the server lives on."""

import json
import time

import pytest
from broadway import ROUTE
from pipelines import run_of
from processes import resident_bytes
from raw import connect, exchange
from waiting import PATIENCE, is_instrumented

RUN = f"{ROUTE}/grading_run"
BODY = json.dumps(run_of(1))
MAX_BODY = 16 * 1024 * 1024


def post(*headers, body=BODY, path=RUN, version="1.1"):
    """A POST with exactly these headers."""
    return "\r\n".join([f"POST {path} HTTP/{version}", *headers, "", ""]) + body


@pytest.fixture
def url(stack):
    """A replica's; nothing is submitted in these tests, unless they say so, and it works afterwards as before."""
    before = stack.database.db.grading_runs.count_documents({})
    yield stack.urls[0]
    assert stack.database.db.grading_runs.count_documents({}) == before
    assert (
        exchange(stack.urls[0], "GET /api/v1/grading_job?worker_id=x HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 400
    )


LENGTH = f"Content-Length: {len(BODY)}"


@pytest.mark.parametrize(
    "headers",
    [
        ["Host: localhost", LENGTH, LENGTH],
        ["Host: localhost", LENGTH, "Content-Length: 3"],
        ["Host: localhost", "Content-Length: 3", LENGTH],
        ["Host: localhost", LENGTH, "Transfer-Encoding: chunked"],
        ["Host: localhost", "Transfer-Encoding: chunked", LENGTH],
        ["Host: localhost", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Host: localhost", f"Content-Length : {len(BODY)}"],
        ["Host: localhost", "Transfer-Encoding : chunked", LENGTH],
        ["Host: localhost", "Transfer-Encoding: gzip"],
        ["Host: localhost", "Transfer-Encoding: gzip, chunked"],
        ["Host: localhost", "Content-Encoding: gzip", LENGTH],
        ["Host: localhost", "Content-Length: 3, 3"],
        ["Host: localhost", "Content-Length: -1"],
        ["Host: localhost", "Content-Length: +3"],
        ["Host: localhost", "Content-Length: 0x10"],
        ["Host: localhost", "Content-Length: 99999999999999999999999"],
        ["Host: localhost", "Host: y", LENGTH],
        [LENGTH],
    ],
    ids=lambda headers: " | ".join(headers)[:80],
)
def test_a_request_whose_end_is_in_doubt_is_refused_and_the_connection_closed(url, headers):
    with connect(url) as link:
        link.send(post(*headers))
        answer = link.read_answer()
        assert answer.status in (400, 413, 415, 501), answer.status
        assert link.is_closed_by_peer(), "what follows must not be taken for a request"


def test_the_body_of_a_refused_request_is_not_taken_for_a_request(url):
    smuggled = f"POST {RUN} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
    with connect(url) as link:
        link.send(post("Host: localhost", "Content-Length: 0", f"Content-Length: {len(smuggled)}", body=smuggled))
        assert link.read_answer().status == 400
        assert link.is_closed_by_peer()


def test_a_chunked_body_is_processed_or_refused_with_a_sentence(stack):
    chunked = "".join(f"{len(part):x}\r\n{part}\r\n" for part in (BODY[:7], BODY[7:])) + "0\r\n\r\n"
    answer = exchange(stack.urls[0], post("Host: localhost", "Transfer-Encoding: chunked", body=chunked))
    if answer.status == 200:
        assert json.loads(answer.body)["id"]
    else:
        assert answer.status in (400, 411) and answer.error


def test_chunks_without_end_are_refused(url):
    with connect(url) as link:
        link.send(post("Host: localhost", "Transfer-Encoding: chunked", body=""))
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(2 * MAX_BODY // 65536):
            link.send(chunk)
        answer = link.read_answer()
    assert answer.status in (400, 411, 413) and answer.error


def test_http_1_0_is_served(stack):
    grader = stack.grader()
    with connect(stack.urls[0]) as link:
        link.send(f"GET {ROUTE}/grading_job?worker_id={grader.id}&wait=0 HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert link.read_answer().status == 498


@pytest.mark.parametrize(
    "part", ["%00", "a%00", "%2f", "..%2f..%2f", "%2F", "%5c", "%5C..%5C", "%252e", "%", "%g1", "%0d%0aX: y"]
)
def test_a_path_with_doubtful_escapes_is_refused(url, part):
    for prefix in (RUN, f"{ROUTE}/grading_job"):
        method = "GET" if prefix == RUN else "POST"
        answer = exchange(url, f"{method} {prefix}/{part} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert answer.status in (400, 404) and answer.error
        assert "X" not in answer.headers and "x" not in answer.headers


@pytest.mark.parametrize("query", ["worker_id=a%00b", "%00=1", "worker_id=%FF", "=", "&&&", "worker_id", "a" * 3000])
def test_a_doubtful_query_is_refused(url, query):
    answer = exchange(url, f"GET {ROUTE}/grading_job?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.status == 400 and answer.error


def test_an_announced_length_over_the_limit_is_413_before_the_body_is_sent(url):
    begun = time.monotonic()
    answer = exchange(url, post("Host: localhost", f"Content-Length: {MAX_BODY + 1}", body=""))
    assert answer.status == 413 and answer.error
    assert time.monotonic() - begun < 3


def test_a_body_of_just_the_limit_is_read(url):
    filler = "{" + " " * (MAX_BODY - 1)
    answer = exchange(url, post("Host: localhost", f"Content-Length: {MAX_BODY}", body=filler), timeout=30)
    assert answer.status == 400 and "JSON" in answer.error


@pytest.mark.parametrize("path", [f"{ROUTE}/heartbeat", f"{ROUTE}/grading_job/{'0' * 32}", RUN, f"{ROUTE}/nowhere"])
def test_every_route_refuses_a_gigabyte(url, path):
    answer = exchange(url, post("Host: localhost", "Content-Length: 1073741824", body="", path=path))
    assert answer.status in (413, 404)


def test_expect_100_continue_is_answered_before_the_body_is_sent(stack):
    with connect(stack.urls[0]) as link:
        link.send(post("Host: localhost", LENGTH, "Expect: 100-continue", body=""))
        link.receive("nothing came")
        assert link.received.startswith(b"HTTP/1.1 100 ")
        link.send(BODY)
        assert link.read_answer().status == 200


def test_expect_100_continue_with_too_long_a_body_is_413_without_a_continue(url):
    with connect(url) as link:
        link.send(post("Host: localhost", f"Content-Length: {MAX_BODY * 10}", "Expect: 100-continue", body=""))
        link.receive("nothing came")
        assert link.received.startswith(b"HTTP/1.1 413 ")


def test_a_hundred_gigabyte_posts_at_once_take_no_memory(stack, url):
    pid = stack.pid("api-0")
    before = resident_bytes(pid)
    links = [connect(url) for _ in range(100)]
    for link in links:
        link.send(post("Host: localhost", "Content-Length: 1000000000", body=""))
        link.send(b" " * 100000)
    statuses = [link.read_answer().status for link in links]
    for link in links:
        link.close()
    assert statuses == [413] * 100
    assert resident_bytes(pid) - before < (200 if is_instrumented() else 64) * 1024 * 1024


def test_requests_that_never_come_to_their_end_hold_up_nobody(stack, url):
    links = [connect(url) for _ in range(200)]
    for n, link in enumerate(links):
        link.send(post("Host: localhost", "Content-Length: 1000", body="{") if n % 2 else "GET /api/v1/gra")
    grader = stack.grader()
    for _ in range(10):
        begun = time.monotonic()
        assert grader.beat().status_code == 200
        assert time.monotonic() - begun < 1
    for link in links:
        link.close()


@pytest.mark.parametrize(
    "text", ["GET\r\n\r\n", "\r\n\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00", "\x00" * 100]
)
def test_noise_harms_nobody(url, text):
    with connect(url, timeout=1) as link:
        link.send(text)
        try:
            link.socket.recv(65536)
        except OSError:
            pass  # no answer is owed to what can't be parsed


def test_a_header_over_the_limit_gets_an_answer(url):
    answer = exchange(url, "GET / HTTP/1.1\r\nHost: localhost\r\n" + f"X-Pad: {'p' * 200000}\r\n\r\n")
    assert answer.status in (400, 413, 414, 431)


def test_a_worker_id_with_a_line_of_log_stays_on_its_line(stack, url):
    injected = '%0A%7B"level":"error","canary":"forged-4711"%7D%0D%0Aforged-4712'
    for path in (f"grading_job?worker_id={injected}", f"worker_register?token=x&hostname={injected}", injected):
        exchange(url, f"GET {ROUTE}/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    exchange(
        url,
        post(
            "Host: localhost",
            "Content-Length: 60",
            path=f"{ROUTE}/heartbeat",
            body=f"worker_id={injected}".ljust(60)[:60],
        ),
    )
    exchange(url, f"POST {RUN}/{injected} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    forged = [
        line
        for line in stack.log_text().splitlines()
        if line.lstrip().startswith(('{"level":"error","canary', "forged-"))
    ]
    assert forged == []


def test_control_bytes_never_reach_the_log(stack, url):
    for byte in ("%1b[31m", "%07", "%7f", "%c2%9b", "%00"):
        exchange(url, f"GET {ROUTE}/grading_job?worker_id=x{byte}x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        exchange(url, f"GET {RUN}/x{byte}x HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for path in stack.log_paths():
        if path.name != "database.log":
            assert not set(path.read_bytes()) & (set(range(9)) | set(range(11, 32)) | {0x7F}), path.name


def test_five_hundred_that_drip_keep_nobody_waiting_and_are_ended(stack, make_replica):
    """Half of them send headers a byte at a time, half a body. An upload that comes steadily is not among them."""
    small = make_replica(stack, "--request-timeout=4", "--heartbeat-interval=1").wait_ready()
    grader = stack.grader().at(small.url)
    head = f"POST {RUN} HTTP/1.1\r\nHost: localhost\r\n"
    begun = time.monotonic()
    links = [connect(small.url) for _ in range(500)]
    try:
        for number, link in enumerate(links):
            link.send(head + ("Content-Length: 100000\r\n\r\n" if number % 2 else ""))
        while time.monotonic() < begun + 3:
            for number, link in enumerate(links):
                link.send(" " if number % 2 else "X")
            asked = time.monotonic()
            assert grader.beat().status_code == 200
            assert time.monotonic() - asked < PATIENCE
        for link in links:
            assert link.read_answer().status == 408
            assert link.is_closed_by_peer()
        assert time.monotonic() - begun < 10 * PATIENCE
    finally:
        for link in links:
            link.close()


def test_a_body_that_comes_slowly_but_steadily_has_the_time_it_takes(stack, make_replica):
    small = make_replica(stack, "--request-timeout=1").wait_ready()
    body = json.dumps(run_of(1)) + " " * 12000
    with connect(small.url) as link:
        link.send(post("Host: localhost", f"Content-Length: {len(body)}", body=""))
        for start in range(0, len(body), 2048):
            link.send(body[start : start + 2048])
            time.sleep(0.5)  # a slow line, not a wait
        assert link.read_answer().status == 200
