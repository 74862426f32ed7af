"""The oracle reports a server that dies, hangs, answers 500, answers invalid HTTP or not at all, and accepts a correct
one."""

import contextlib
import random
import socket
import subprocess
import sys
import time

import pytest
from broadway_fuzz.bystander import Bystander
from broadway_fuzz.case import FIN, PAUSE, RESET, SEND, Case, Step, read_finding, whole
from broadway_fuzz.cases import Cases
from broadway_fuzz.fuzzer import Fuzzer
from broadway_fuzz.mutate import delivered
from broadway_fuzz.oracle import Oracle, Target, documented_statuses, owes_answer
from broadway_tools import processes

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
# A server that answers /healthz correctly, and other paths with argv[1], with nothing, or by exiting.
SERVER = """
import os, socket, sys, threading
answer, listener = eval(sys.argv[1]), socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)
def serve(link):
    data = link.recv(65536)
    if data.startswith(b"GET /healthz "):
        link.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    elif answer == "die":
        os._exit(1)
    elif answer == "report":
        print("==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x1", file=sys.stderr, flush=True)
        link.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    elif answer == "grow":
        kept.append(b"x" * 2**26)
        link.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    elif answer == "hang":
        threading.Event().wait(60)
    else:
        link.sendall(answer)
    link.close()
kept = []
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@contextlib.contextmanager
def server(answer, tmp_path):
    """A target that answers everything but /healthz with `answer`."""
    log = tmp_path / "server.log"
    argv = [sys.executable, "-c", SERVER, repr(answer)]
    with open(log, "wb") as output, subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=output) as process:
        address = ("127.0.0.1", int(process.stdout.readline()))
        target = Target("public", "api-0", address, address, process.pid, processes.identity(process.pid), log)
        try:
            yield target
        finally:
            process.kill()


def problem_of(answer, tmp_path, request=REQUEST, **options):
    with server(answer, tmp_path) as target:
        return Oracle(**options).try_case(whole("test", "public", request), target)


@pytest.mark.parametrize(
    "answer",
    [GOOD, GOOD + GOOD, b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD, b"HTTP/1.1 204 No Content\r\n\r\n"]
    + [b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"]
    + [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x88\x02\x03\xea"],
    ids=["one", "two", "after 100", "no body", "chunks", "websocket"],
)
def test_a_correct_answer_is_not_a_finding(answer, tmp_path):
    assert problem_of(answer, tmp_path) is None


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("die", "process has died"),
        ("hang", "hangs"),
        ("report", "sanitizer"),
        (b"", "no answer to a whole request"),
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "status 500"),
        (b"HTTP/1.1 299 What\r\nContent-Length: 0\r\n\r\n", "status 299"),
        (b"garbage", "not a status line"),
        (b"\x16\x03\x01", "not a status line"),
        (GOOD + b"garbage", "not a status line"),
        (GOOD.replace(b": 2", b": 20"), "cut short"),
        (GOOD.replace(b": 2", b": 1"), "not JSON"),
        (GOOD.replace(b": 2", b": 2x"), "Content-Length"),
        (GOOD.replace(b"{}", b"{\xff"), "not JSON"),
        (GOOD.replace(b"Content-T", b"Content T"), "not a header"),
        (GOOD.replace(b"json", b"json\0"), "not a header"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not a chunk's size"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x83\x00", "not a frame"),
    ],
)
def test_a_bad_server_is_a_finding(answer, part, tmp_path):
    assert part in problem_of(answer, tmp_path, slowness=0.2)


def test_growth_is_a_finding(tmp_path):
    assert "memory has grown" in problem_of("grow", tmp_path, growth_bytes=2**24)


def test_unanswered_health_is_a_finding(tmp_path):
    with server(GOOD, tmp_path) as target, socket.create_server(("127.0.0.1", 0)) as silent:
        target.health = silent.getsockname()
        problem = Oracle(slowness=0.1).examine(target)
    assert "/healthz is not answered" in problem


def test_invalid_bytes_may_be_closed_without_an_answer(tmp_path):
    assert problem_of(b"", tmp_path, request=b"\x16\x03\x01\x02\r\n\r\n") is None
    assert problem_of(b"", tmp_path, request=REQUEST[:-2]) is None


@pytest.mark.parametrize(
    ("sent", "owed"),
    [
        (REQUEST, True),
        (b"GET /\xff HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\n:\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", False),
    ],
)
def test_a_complete_request_must_be_answered(sent, owed):
    assert owes_answer(sent) is owed


def test_a_disconnected_client_need_not_be_answered(tmp_path):
    for last in (FIN, RESET):
        steps = (Step(SEND, REQUEST), Step(PAUSE, milliseconds=1), Step(last))
        with server(b"", tmp_path) as target:
            assert Oracle().try_case(Case("test", "public", steps), target) is None


def test_connections_that_stay_open_are_a_finding(tmp_path):
    with server("hang", tmp_path) as target:
        before = target.descriptors()
        assert Oracle(slowness=0.01).comes_to_rest(target, before) is None
        links = [socket.create_connection(target.address) for _ in range(40)]
        deadline = time.monotonic() + 10
        while target.descriptors() < before + 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "connections are kept" in Oracle(slowness=0.01).comes_to_rest(target, before)
        for link in links:
            link.close()


def test_the_same_seed_is_the_same_cases():
    first, second, other = Cases(1), Cases(1), Cases(2)
    assert [first.case(n) for n in range(300)] == [second.case(n) for n in range(300)]
    assert [first.case(n) for n in range(300)] != [other.case(n) for n in range(300)]


def test_every_directed_case_is_run():
    cases = Cases(3)
    count = len(cases.directed)
    turned = {cases.case(n) for n in range(count * 3 // 2 + 3) if n % 3 != 2}
    assert turned >= set(cases.directed)


def test_an_empty_case_can_be_sent_in_every_way():
    chance = random.Random(1)
    assert {delivered("nothing", "public", b"", chance).sent for _ in range(200)} == {b""}


def test_placeholders_are_replaced_across_pieces():
    case = Case("test", "public", (Step(SEND, b"a beef"), Step(PAUSE), Step(SEND, b"beef b")))
    pieces = [step.data for step in case.translated({b"beefbeef": b"12345678"}).steps]
    assert pieces == [b"a 1234", b"", b"5678 b"]


class OneSystem:
    """A running system of one target that is never revived."""

    def __init__(self, target):
        self.targets, self.pairs = {"public": target}, {}

    def revive(self):
        pass


def test_a_finding_is_stored_and_read_back(tmp_path, capsys):
    case = whole("test", "public", REQUEST)
    with server(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", tmp_path) as target:
        fuzzer = Fuzzer(OneSystem(target), Oracle(), seed=7, directory=tmp_path)
        fuzzer.run_case(41, whole("test", "public", b"GET /healthz HTTP/1.1\r\n\r\n"))
        fuzzer.run_case(42, case)
    kept, earlier = read_finding(tmp_path / "finding-seed-7-case-42.json")
    assert kept == case and len(earlier) == 1
    assert (fuzzer.tally.total, fuzzer.tally.failed) == (2, 1)
    said = capsys.readouterr().out
    assert "seed 7, case 42" in said and repr(REQUEST) in said and "--replay" in said


def test_a_refused_bystander_is_a_finding(tmp_path):
    for answer, part in ((GOOD, None), (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "[503]"), (b"", "[]")):
        with server(answer, tmp_path) as target:
            bystander = Bystander(target, b"w" * 32, slowness=0.1)
            deadline, problem = time.monotonic() + (5 if part else 0.5), None
            while problem is None and time.monotonic() < deadline:
                time.sleep(0.02)
                problem = bystander.take_problem()
            bystander.close()
        assert (part is None and problem is None) or part in problem


def test_statuses_are_the_documented_ones():
    found = documented_statuses()
    assert {100, 101, 200, 204, 400, 401, 404, 405, 408, 409, 413, 414, 426, 429, 431, 498, 503} <= found
    assert not {402, 418, 500, 502} & found
