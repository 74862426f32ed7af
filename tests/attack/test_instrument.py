"""Tests of the harness: it fails a row for each exceeded limit, and measures slow requests."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from broadway_attack import load, runner
from broadway_attack.attacks_tokens import _agrees
from broadway_attack.registry import Attack, load_attacks
from broadway_attack.runner import Row, table
from broadway_attack.scene import MemoryWatch
from raw import Answer

GOOD = {
    "beat": {"count": 9, "worst": 0.1, "refused": 0},
    "result": {"count": 9, "worst": 0.1, "refused": 0},
    "lag": 0.0,
    "refusals": {},
}
FINISHED = {"unfinished": 0, "runs": 3, "failed": 0, "lost": 0, "jobs": 60}


def faults_of(measured=GOOD, finished=FINISHED, growth_mib=None, **row):
    """The faults of a row with these measurements."""
    stack, graders = SimpleNamespace(directory="build"), SimpleNamespace(ask=lambda command: finished)
    where = SimpleNamespace(faults=[], notes=[], load=graders, stack=stack)
    where.claim = lambda holds, otherwise: None if holds else where.faults.append(otherwise)
    made = Row("A0", "nothing", before=20, peak=30, after=21)
    for name, value in row.items():
        setattr(made, name, value)
    runner._check_limits(where, Attack("A0", "nothing", None, growth_mib=growth_mib), made, measured)
    return made.faults


def test_a_row_within_its_limits_is_ok():
    assert faults_of() == [] and faults_of(growth_mib=10) == []


@pytest.mark.parametrize(
    ("seen", "part"),
    [
        ({"dead": ["api-0"]}, "died: api-0"),
        ({"after": 53}, "33 MiB of memory remain"),
        ({"growth_mib": 9}, "memory grew by 10 MiB"),
        ({"scheduler_growth": 65}, "the scheduler grew by 65 MiB"),
        ({"measured": {**GOOD, "beat": {**GOOD["beat"], "worst": 1.5}}}, "a heartbeat took 1.50 s"),
        ({"measured": {**GOOD, "result": {**GOOD["result"], "worst": 1.5}}}, "a result took 1.50 s"),
        ({"finished": {**FINISHED, "unfinished": 1}}, "1 of 3 runs don't end"),
        ({"finished": {**FINISHED, "failed": 1}}, "1 runs have failed jobs"),
        ({"finished": {**FINISHED, "lost": 1}}, "1 jobs lost their grader"),
    ],
)
def test_each_broken_limit_fails_its_row(seen, part):
    faults = faults_of(**seen)
    assert len(faults) == 1 and part in faults[0]


def test_a_request_in_progress_counts_with_its_age():
    timings = load.Timings()
    timings.begin("first")
    time.sleep(0.05)
    assert timings.report(begun=0)["worst"] >= 0.05
    timings.end("first")
    assert timings.report(begun=0)["count"] == 1


def test_refusals_count_in_the_time_of_a_heartbeat():
    """A server that answers 503 twice, then 200: one heartbeat, and the time of all three tries."""
    answers = [b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n{}"] * 2 + [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    ]
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        link, _ = listener.accept()
        for answer in answers:
            link.recv(65536)
            link.sendall(answer)
        link.close()

    threading.Thread(target=serve, daemon=True).start()
    working = load.Load("token", [f"http://127.0.0.1:{listener.getsockname()[1]}"])
    links = [load.Link(working.urls[0])]
    asyncio.run(working.insist(working.beats, links, 0, "POST", "/api/v1/heartbeat", b"{}"))
    listener.close()
    report = working.beats.report(begun=0)
    assert report["refused"] == 2 and report["worst"] >= 2 * load.AGAIN_S


def test_memory_is_watched_while_it_rises_and_falls():
    program = "import sys; x = b'x' * 2**26; print(flush=True); input(); del x; print(flush=True); input()"
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        watch = MemoryWatch(process.pid)
        deadline = time.monotonic() + 5
        while watch.peak < 2**26 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        watch.close()
        assert watch.peak >= 2**26 > watch.now()
        process.kill()
    assert watch.now() == 0


def test_every_known_attack_exists():
    names = list(load_attacks())
    assert {name.rstrip("abcd") for name in names} == {f"A{number}" for number in range(1, 14)}
    assert names[0] == "A1" and names[-1] == "A13"


def test_the_table_ends_with_its_counts():
    rows = [Row("A1", "one"), Row("A2", "two", faults=["broken"])]
    assert list(table(rows))[-1] == "1 passed, 1 failed"
    assert any("! broken" in line for line in table(rows))


@pytest.mark.parametrize(
    ("after", "text", "agrees"),
    [
        ("10", "try again in a minute", False),
        ("60", "try again in a minute", True),
        ("7", "in 7 s", True),
        ("", "", False),
    ],
)
def test_retry_after_and_the_sentence_are_compared(after, text, agrees):
    assert _agrees(Answer(429, {"retry-after": after}, text.encode())) is agrees
