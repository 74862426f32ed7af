"""Invalid requests: framing, encodings, sizes. Each is answered, and the server keeps running."""

import json
import socket
import time

import pytest
from broadway import ROUTE
from pipelines import run_of
from processes import cpu_seconds, is_running, resident_bytes
from raw import connect, exchange
from waiting import PATIENCE, is_instrumented, soon

RUN = f"{ROUTE}/grading_run"
BODY = json.dumps(run_of(1))
MAX_BODY = 16 * 1024 * 1024


def post(*headers, body=BODY, path=RUN, version="1.1"):
    """A POST with exactly these headers."""
    return "\r\n".join([f"POST {path} HTTP/{version}", *headers, "", ""]) + body


@pytest.fixture
def url(stack):
    """The URL of a replica; checks that the test stores nothing, unless it is marked, and that the replica still
    works."""
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
def test_a_request_with_ambiguous_length_is_refused_and_closed(url, headers):
    with connect(url) as link:
        link.send(post(*headers))
        answer = link.read_answer()
        assert answer.status in (400, 413, 415, 501), answer.status
        assert link.is_closed_by_peer(), "what follows must not be taken for a request"


ONCE = {
    "Host": "localhost",
    "Authorization": "Bearer x",
    "Content-Type": "application/json",
    "Content-Encoding": "identity",
    "Origin": "http://localhost",
    "Idempotency-Key": "one-of-two",
}


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("is_same", [True, False])
def test_a_header_that_counts_only_once_may_not_repeat(url, name, is_same):
    headers = [f"{header}: {value}" for header, value in ONCE.items()]
    second = ONCE[name] if is_same else "http://evil.example"
    answer = exchange(url, post(*headers, f"{name.lower()}: {second}", LENGTH))
    assert answer.status == 400 and answer.error == f"the header {name} is there 2 times"


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
def test_a_path_with_ambiguous_escapes_is_refused(url, part):
    for prefix in (RUN, f"{ROUTE}/grading_job"):
        method = "GET" if prefix == RUN else "POST"
        answer = exchange(url, f"{method} {prefix}/{part} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert answer.status in (400, 404) and answer.error
        assert "X" not in answer.headers and "x" not in answer.headers


@pytest.mark.parametrize("query", ["worker_id=a%00b", "%00=1", "worker_id=%FF", "=", "&&&", "worker_id", "a" * 3000])
def test_an_ambiguous_query_is_refused(url, query):
    answer = exchange(url, f"GET {ROUTE}/grading_job?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.status == 400 and answer.error


def test_a_declared_length_over_the_limit_is_413_before_the_body_is_sent(url):
    begun = time.monotonic()
    answer = exchange(url, post("Host: localhost", f"Content-Length: {MAX_BODY + 1}", body=""))
    assert answer.status == 413 and answer.error
    assert time.monotonic() - begun < soon(3)


def test_a_body_at_the_limit_is_read(url):
    filler = "{" + " " * (MAX_BODY - 1)
    answer = exchange(url, post("Host: localhost", f"Content-Length: {MAX_BODY}", body=filler), timeout=30)
    assert answer.status == 400 and "JSON" in answer.error


@pytest.mark.parametrize("path", [f"{ROUTE}/heartbeat", f"{ROUTE}/grading_job/{'0' * 32}", RUN, f"{ROUTE}/nowhere"])
def test_every_route_refuses_a_gigabyte(url, path):
    is_result = "grading_job" in path  # the beginning of a result is read, since it may name the worker
    body = "x" * 20000 if is_result else ""
    answer = exchange(url, post("Host: localhost", "Content-Length: 1073741824", body=body, path=path))
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


def test_endless_requests_delay_no_other(stack, url):
    links = [connect(url) for _ in range(200)]
    for n, link in enumerate(links):
        link.send(post("Host: localhost", "Content-Length: 1000", body="{") if n % 2 else "GET /api/v1/gra")
    grader = stack.grader()
    for _ in range(10):
        begun = time.monotonic()
        assert grader.beat().status_code == 200
        assert time.monotonic() - begun < soon(1)
    for link in links:
        link.close()


@pytest.mark.parametrize(
    "text", ["GET\r\n\r\n", "\r\n\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00", "\x00" * 100]
)
def test_random_bytes_do_no_harm(url, text):
    with connect(url, timeout=1) as link:
        link.send(text)
        try:
            link.socket.recv(65536)
        except OSError:
            pass  # unparsable input need not be answered


def test_a_header_over_the_limit_gets_an_answer(url):
    answer = exchange(url, "GET / HTTP/1.1\r\nHost: localhost\r\n" + f"X-Pad: {'p' * 200000}\r\n\r\n")
    assert answer.status in (400, 413, 414, 431)


def test_a_worker_id_can_not_forge_a_log_line(stack, url):
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


def test_five_hundred_slow_requests_delay_no_other_and_are_ended(stack, make_replica):
    """Half of them send headers a byte at a time, half a body. No upload with a steady rate is among them."""
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


def test_a_slow_but_steady_body_is_read(stack, make_replica):
    small = make_replica(stack, "--request-timeout=1").wait_ready()
    body = json.dumps(run_of(1)) + " " * 12000
    with connect(small.url) as link:
        link.send(post("Host: localhost", f"Content-Length: {len(body)}", body=""))
        for start in range(0, len(body), 2048):
            link.send(body[start : start + 2048])
            time.sleep(0.5)  # the pace of a slow line
        assert link.read_answer().status == 200


def many(form, count):
    return "".join(form.format(number) for number in range(count))


# Each is close to one of the HTTP library's own limits, or above it.
LIMITS = {
    "arguments": "GET /?a=1" + many("&a{}=1", 120) + " HTTP/1.1\r\nHost: x\r\n\r\n",
    "arguments of a form": "POST /api/v1/heartbeat?a=1" + many("&a{}", 900) + " HTTP/1.1\r\nHost: x\r\n\r\n",
    "arguments behind a NUL": "GET /\0?a=1" + many("&a{}=1", 400) + " HTTP/1.1\r\nHost: x\r\n\r\n",
    "arguments behind a copied end": "GET /\0HTTP/1.1\0\0?a=1" + many("&a{}=1", 400) + " HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long URI": "GET /" + "x" * 9000 + " HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": "GET / HTTP/1.1\r\nHost: x\r\nA: " + "x" * 9000 + "\r\n\r\n",
    "headers": "GET / HTTP/1.1\r\nHost: x\r\n" + many("A{}: 1\r\n", 600) + "\r\n",
    "a long cookie": "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=" + "x" * 5000 + "\r\n\r\n",
    "cookies": "GET / HTTP/1.1\r\nHost: x\r\nCookie: " + many("a{}=1;", 300) + "\r\n\r\n",
    "cookies without values": "GET / HTTP/1.1\r\nHost: x\r\nCookie: " + "a;" * 1000 + "\r\n\r\n",
    "cookies and a length": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\nCookie: " + "a;" * 1000 + "\r\n\r\n",
    "a length": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n",
    "a huge length": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "a line without a colon": "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "a first line without a colon": "GET / HTTP/1.1\r\nnonsense\r\n\r\n",
    "a version": "GET / HTTP/3.0\r\nHost: x\r\n\r\n",
    "no version": "GET /\r\n\r\n",
    "folded lines": "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n" + " " + "c" * 7000 + "\r\n d\r\n\r\n",
    "a folded line": "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "a NUL in a value": "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\0x\r\n\r\n",
    "a NUL in the last value": "GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n",
    "a NUL for a value": "GET / HTTP/1.1\r\nHost: x\r\nA:\0b\r\nB: c\r\n\r\n",
    "a NUL in a name": "GET / HTTP/1.1\r\nHost: x\r\nA\0B: c\r\n\r\n",
    "a NUL in the path": "GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a NUL in the method": "GET\0X / HTTP/1.1\r\nHost: x\r\n\r\n",
}
CHUNKED = "POST /api/v1/heartbeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
LIMITS |= {
    "a chunk's extension": CHUNKED + "\r\n5;a=" + "x" * 20000 + "\r\nhello\r\n0\r\n\r\n",
    "a chunk's size": CHUNKED + "\r\nffffffffffffffffffff\r\n",
    "no chunk's size": CHUNKED + "\r\nzz\r\nhello\r\n",
    "a chunk's end": CHUNKED + "\r\n5\r\nhelloXX0\r\n\r\n",
    "a chunk after long headers": CHUNKED + "A: " + "x" * 7700 + "\r\n\r\n5;" + "x" * 400 + "\r\nhello\r\n0\r\n\r\n",
    "a trailer": CHUNKED + "\r\n5\r\nhello\r\n0\r\nA: " + "x" * 20000 + "\r\n\r\n",
    "trailers": CHUNKED + "\r\n5\r\nhello\r\n0\r\n" + many("A{}: 1\r\n", 600) + "\r\n",
    "a trailer without a colon": CHUNKED + "\r\n5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("port", ["public", "internal"])
def test_refusals_of_the_http_library_are_one_answer_with_a_sentence(stack, port, name):
    replica = stack.described["api"][0]
    server = replica["url"] if port == "public" else replica["internal_url"]
    pid, before = stack.pid("api-0"), cpu_seconds(stack.pid("api-0"))
    for _ in range(10):
        with connect(server) as link:
            link.send(LIMITS[name])
            answer = link.read_answer()
            assert 400 <= answer.status < 500 or answer.status == 505, answer.body
            assert answer.error
            assert b"HTTP/1.1" not in link.received, "there is a second answer"
    assert is_running(pid)
    assert stack.api.request("GET", "/nowhere").status_code == 404
    assert cpu_seconds(pid) - before < 1 * PATIENCE, "it keeps looking at what it has refused"


@pytest.mark.parametrize("name", [name for name in LIMITS if "NUL" in name or "folded" in name])
def test_a_nul_or_a_folded_line_in_the_head_is_refused_and_the_connection_closed(url, name):
    with connect(url) as link:
        link.send(LIMITS[name])
        assert link.read_answer().status in (400, 431)
        assert link.is_closed_by_peer()


@pytest.mark.parametrize("kind", ["/{}", "/?{}", "/ HTTP/1.1\r\nA: {}"])
def test_a_head_of_any_length_gets_an_answer(url, kind):
    for length in range(6500, 8300, 25):
        first = "GET " + kind.format("q" * length) + ("" if "HTTP" in kind else " HTTP/1.1")
        assert exchange(url, f"{first}\r\nHost: x\r\n\r\n").status in (400, 404, 414, 431), length


def test_lines_that_end_without_a_carriage_return_are_read(url):
    assert exchange(url, "GET /nowhere HTTP/1.1\nHost: x\nA:\t  b \nC:\n\n").status == 404


def test_only_a_part_of_a_refused_chunked_body_is_read(url):
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with connect(url) as link:
        link.send(CHUNKED + "\r\n")
        link.socket.settimeout(1)
        sent = 0
        try:
            while sent < 400:
                link.socket.sendall(chunk)
                sent += 1
        except OSError:
            pass
        assert sent < 60, "megabytes that were read away"
        assert link.read_answer().status == 413


@pytest.mark.parametrize("count", [120, 400, 600, 900, 2000])
def test_the_schedulers_port_survives_invalid_requests(stack, count):
    scheduler = stack.described["scheduler"][0]
    before = cpu_seconds(scheduler["pid"])
    arguments = "GET /?a=1" + many("&a{}=1", count) + " HTTP/1.1\r\nHost: x\r\n\r\n"
    cookies = "GET / HTTP/1.1\r\nHost: x\r\nCookie: " + "a;" * count + "\r\n\r\n"
    for data in (arguments, cookies, *LIMITS.values()):
        with connect(scheduler["url"]) as link:
            link.send(data)
            link.socket.shutdown(socket.SHUT_WR)
    assert exchange(scheduler["url"], "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 200
    assert is_running(scheduler["pid"])
    assert cpu_seconds(scheduler["pid"]) - before < 1 * PATIENCE
