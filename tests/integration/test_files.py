"""Files of clients: sending them, asking for them, their limits and refusals, in both protocols."""

import hashlib
import os
import re
import select
from pathlib import Path

import httpx
import pytest
from broadway import ROUTE, error_of
from course_names import bearer
from harness import run_stack
from raw import connect, exchange
from waiting import is_instrumented, wait_until

MIB = 1024 * 1024
FILES = f"{ROUTE}/files"
RECEIVED_AT_ONCE = 16  # SPOOL_MAX in api/http/spool.h
FLAT_KIB = 16 * 1024


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def send_file(api, content, **query):
    return api.request("POST", FILES, content=content, params=query)


def peak_kib(pid):
    """The largest resident size of a process so far."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8")).group(1))


def reset_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")


# Sending and asking


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 128 * 1024 + 1, 5 * MIB], ids=str)
def test_a_file_is_answered_with_its_digest_and_size_and_read_back_as_it_was(stack, size):
    content = os.urandom(size)
    answer = send_file(stack.api, content)
    assert (answer.status_code, answer.json()) == (200, {"digest": digest_of(content), "size": size})
    read = stack.apis[1].request("GET", f"{FILES}/{digest_of(content)}")
    assert (read.status_code, read.content) == (200, content)
    assert read.headers["content-type"] == "application/octet-stream"
    assert read.headers["etag"] == f'"{digest_of(content)}"'
    assert read.headers["content-length"] == str(size)


def test_head_says_whether_a_file_is_there_without_its_bytes(stack):
    content = os.urandom(300000)
    unknown = stack.api.request("HEAD", f"{FILES}/{digest_of(content)}")
    assert (unknown.status_code, unknown.content) == (400, b"")
    send_file(stack.api, content)
    known = stack.api.request("HEAD", f"{FILES}/{digest_of(content)}")
    assert (known.status_code, known.content, known.headers["content-length"]) == (200, b"", "300000")


def test_a_file_that_is_sent_twice_is_stored_once_and_answered_alike(stack):
    content = os.urandom(1000)
    answers = [send_file(api, content).json() for api in stack.apis]
    assert answers == [{"digest": digest_of(content), "size": 1000}] * len(stack.apis)
    database = stack.database.db
    hex_digits = digest_of(content)[7:]
    assert database["files.files"].count_documents({"_id": f"/{hex_digits}"}) == 1
    assert database["files.chunks"].count_documents({"files_id": f"/{hex_digits}"}) == 1
    assert database["file_uploads"].count_documents({"_id": re.compile(hex_digits)}) == 0


def test_a_file_with_the_given_digest_is_stored(stack):
    content = os.urandom(1000)
    assert send_file(stack.api, content, digest=digest_of(content)).status_code == 200


def test_a_file_with_another_digest_than_the_given_one_is_refused_and_not_stored(stack):
    content = os.urandom(1000)
    answer = send_file(stack.api, content, digest=digest_of(b"another"))
    assert answer.status_code == 400
    assert error_of(answer) == (
        f"digest: the body has 1000 bytes and the digest {digest_of(content)}: nothing was stored"
    )
    assert stack.api.request("HEAD", f"{FILES}/{digest_of(content)}").status_code == 400


@pytest.mark.parametrize("digest", ["sha256:12", "md5:x", "0" * 64, ""])
def test_a_digest_of_another_form_is_refused(stack, digest):
    answer = send_file(stack.api, b"x", digest=digest)
    assert answer.status_code == 400
    assert "digest: must be sha256: and 64 hex digits" in error_of(answer)


@pytest.mark.parametrize("digest", ["x", "sha256:12", f"sha256:{'A' * 64}", "0" * 64])
def test_asking_for_what_is_no_digest_is_refused(stack, digest):
    answer = stack.api.request("GET", f"{FILES}/{digest}")
    assert answer.status_code == 400
    assert "is not the digest of a file" in error_of(answer)


def test_an_unknown_argument_of_a_file_is_refused(stack):
    answer = send_file(stack.api, b"x", name="y")
    assert answer.status_code == 400
    assert "name" in error_of(answer)


# Limits


def test_a_file_of_64_mib_takes_no_memory_of_the_replica_to_send_and_to_read(stack):
    pid = stack.pid("api-0")
    piece = os.urandom(MIB)
    send_file(stack.api, os.urandom(MIB))
    reset_peak(pid)
    before = peak_kib(pid)
    digest = hashlib.sha256()
    for _ in range(64):
        digest.update(piece)
    answer = stack.api.request("POST", FILES, content=(piece for _ in range(64)), timeout=120)
    assert answer.json() == {"digest": f"sha256:{digest.hexdigest()}", "size": 64 * MIB}
    after_upload = peak_kib(pid)
    read = hashlib.sha256()
    with httpx.stream("GET", f"{stack.urls[0]}{FILES}/sha256:{digest.hexdigest()}", timeout=120) as response:
        for received in response.iter_bytes():
            read.update(received)
    assert read.hexdigest() == digest.hexdigest()
    print(f"peak before: {before} KiB, after sending: {after_upload} KiB, after reading: {peak_kib(pid)} KiB")
    if not is_instrumented():  # freed memory stays with AddressSanitizer for a while
        assert after_upload - before < FLAT_KIB
        assert peak_kib(pid) - before < FLAT_KIB


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A stack with small limits."""
    flags = ("max-file-bytes=100000", "request-timeout=1")
    yield from run_stack(tmp_path_factory, "small", both=("heartbeat-interval=1",), api=flags)


def test_a_file_over_the_limit_is_refused_before_its_bytes_are_sent(small):
    head = f"POST {FILES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100001\r\n\r\n"
    answer = exchange(small.urls[0], head.encode())
    assert answer.status == 413
    assert answer.error == "the file is larger than 100000 bytes, which is this server's limit"


def test_a_chunked_file_over_the_limit_is_refused(small):
    answer = small.api.request("POST", FILES, content=(b"x" * 50001 for _ in range(2)))
    assert answer.status_code == 413
    assert small.api.request("POST", FILES, content=(b"x" * 50000 for _ in range(2))).status_code == 200


def test_a_file_that_arrives_too_slowly_is_ended_by_the_request_timeout(small):
    with connect(small.urls[0]) as connection:
        connection.send(f"POST {FILES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx".encode())
        assert connection.read_answer().status == 408


def test_a_file_that_breaks_off_is_not_stored_and_gives_its_place_back(small):
    for _ in range(RECEIVED_AT_ONCE + 1):
        with connect(small.urls[0]) as connection:
            connection.send(f"POST {FILES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nxy".encode())
    wait_until(lambda: send_file(small.api, b"xy later").status_code == 200, 10, "there is a place")
    assert small.api.request("HEAD", f"{FILES}/{digest_of(b'xy')}").status_code == 400


def answered(connections):
    """The connections that have something to read."""
    sockets = [connection.socket for connection in connections]
    return select.select(sockets, [], [], 0)[0]


def test_more_files_at_once_than_the_limit_are_refused_with_503_and_later_taken(stack):
    head = f"POST {FILES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"
    connections = [connect(stack.urls[0]) for _ in range(RECEIVED_AT_ONCE + 4)]
    try:
        for connection in connections:
            connection.send(head.encode())
        wait_until(lambda: len(answered(connections)) == 4, 10, "all places are taken, and the others are refused")
        answer = send_file(stack.api, b"one more")
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert error_of(answer) == "16 files are being received already, which is the limit: try again"
        assert stack.api.request("GET", f"{FILES}/{digest_of(b'nothing')}").status_code == 400
    finally:
        for connection in connections:
            connection.close()
    wait_until(lambda: send_file(stack.api, b"one more").status_code == 200, 10, "the places are free again")


def test_an_encoded_file_is_refused(stack):
    answer = stack.api.request("POST", FILES, content=b"x", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    assert error_of(answer) == "a body with a Content-Encoding is not supported"


def test_a_file_of_any_content_type_is_taken(stack):
    for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        content = b'{"not": json' + kind.encode()
        answer = stack.api.request("POST", FILES, content=content, headers={"Content-Type": kind})
        assert answer.json() == {"digest": digest_of(content), "size": len(content)}


def test_a_file_that_is_sent_by_several_clients_at_once_is_stored_once(stack):
    content = os.urandom(300000)
    head = f"POST {FILES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    connections = [connect(url) for url in stack.urls for _ in range(4)]
    for connection in connections:
        connection.send(head.encode() + content[:-1])
    for connection in connections:
        connection.send(content[-1:])
    assert [connection.read_answer().status for connection in connections] == [200] * len(connections)
    for connection in connections:
        connection.close()
    name = f"/{digest_of(content)[7:]}"
    assert stack.database.db["files.chunks"].count_documents({"files_id": name}) == 3
    assert stack.database.db["file_uploads"].count_documents({"_id": re.compile(name)}) == 0
    assert stack.api.request("GET", f"{FILES}/{digest_of(content)}").content == content


# The course protocol


def test_a_course_keeps_files_of_its_own(staff):
    content = os.urandom(200000)
    course, other = staff.course(), staff.course("cs241", token="admin-of-cs241")
    answer = course.http.request("POST", "/files/cs225", content=content)
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "success", "data": {"digest": digest_of(content), "size": len(content)}},
    )
    read = course.http.request("GET", f"/files/cs225/{digest_of(content)}")
    assert (read.status_code, read.content) == (200, content)
    unknown = other.http.request("GET", f"/files/cs241/{digest_of(content)}")
    assert (unknown.status_code, unknown.json()) == (
        400,
        {"status": "fail", "data": {"message": f"there is no file {digest_of(content)}"}},
    )
    assert other.http.request("GET", f"/files/cs225/{digest_of(content)}").status_code == 401
    assert staff.stack.api.request("GET", f"{FILES}/{digest_of(content)}").status_code == 400


def test_a_course_file_with_another_digest_is_refused_in_the_form_of_the_protocol(staff):
    answer = staff.course().http.request("POST", "/files/cs225", params={"digest": digest_of(b"y")}, content=b"x")
    assert answer.status_code == 400
    assert answer.json()["status"] == "fail"
    assert "nothing was stored" in answer.json()["data"]["message"]


def test_a_token_that_may_only_query_may_not_send_or_read_files(staff):
    course = staff.course()
    headers = bearer("query-of-cs225")
    assert course.http.request("POST", "/files/cs225", content=b"x", headers=headers).status_code == 401
    path = f"/files/cs225/{digest_of(b'x')}"
    assert course.http.request("GET", path, headers=headers).status_code == 401
