"""The output that the reference grader keeps, how it is cut, and the memory that it takes."""

import json
import queue
import random
import threading
from pathlib import Path

import pytest
from broadway_tools.grader.json_stream import JsonBody, Text
from broadway_tools.grader.limits import ENVELOPE_BYTES, Limits, fit
from broadway_tools.grader.output import MEMORY_BYTES, HeadTail
from broadway_tools.grader.socket_worker import send_json
from websockets.sync.client import connect
from websockets.sync.server import serve

MIB = 1024 * 1024
SLOTS, MOST_MEMORY = 16, 60 * MIB


def kept(limit, *chunks, directory=None):
    log = HeadTail(limit, directory)
    for chunk in chunks:
        log.write(chunk)
    return log


def expected(content, limit):
    """What is kept of ASCII text."""
    if len(content) <= limit:
        return content
    if limit < 100:
        return content[len(content) - limit :]
    room = limit - 64
    head, tail = room // 4, room - room // 4
    return f"{content[:head]}\n[... {len(content) - room} bytes cut ...]\n{content[-tail:]}"


@pytest.mark.parametrize("limit", [0, 1, 99, 100, 1000, 8192, 100_000, 300_000])
@pytest.mark.parametrize("in_file", [False, True])
def test_the_first_quarter_and_the_end_are_kept(limit, in_file, tmp_path):
    chance = random.Random(limit)
    for length in (0, 1, limit, limit + 1, 2 * limit + 7, 5 * limit + 200_000):
        content = "".join(chance.choices("abcdefgh\n", k=length))
        log, at = HeadTail(limit, tmp_path if in_file else None), 0
        while at < length:
            size = chance.randrange(1, 70_000)
            log.write(content[at : at + size].encode())
            at += size
        assert log.text() == log.text() == expected(content, limit)
        for less in (limit // 2, limit // 3, 50, 0):
            assert "".join(log.cut(less)) == expected(content, min(less, limit))


def test_bytes_that_are_no_text_are_replaced_and_no_character_is_halved(tmp_path):
    assert kept(1000, b"a\xff\0b\xe2\x82", b"\xac\xe2\x82").text() == "a\ufffd\ufffdb€\ufffd"
    for limit in range(100, 130):
        text = kept(limit, "€".encode() * 100).text()
        assert len(text.encode()) <= limit and "\ufffd" not in text and text.strip("€").startswith("\n[... ")
    text = kept(
        300_000, *["€".encode()[at % 3 :] + b"\xe2\x82"[: at % 3] for at in range(9)], directory=tmp_path
    ).text()
    assert text.startswith("€")


def test_more_than_a_little_is_kept_in_a_file_without_a_name(tmp_path):
    log = kept(4 * MIB, b"x" * MEMORY_BYTES, directory=tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        log.write(b"x")
    log = kept(4 * MIB, b"x" * 3 * MIB, directory=tmp_path)
    assert list(tmp_path.iterdir()) == [] and log.text() == "x" * 3 * MIB


def test_a_body_is_the_json_of_its_value_and_knows_its_size():
    log = kept(300_000, b'say "\\\x01\xe2\x82\xac"\n' * 10_000)
    value = {"a": [1, {"b": None}], "é": {}, "logs": {"stdout": Text(log, 300_000), "stderr": Text(log, 0)}, "c": 1.5}
    body = JsonBody(value)
    for _ in range(2):
        content = b"".join(body)
        assert len(content) == body.size
        assert json.loads(content) == {**value, "logs": {"stdout": log.text(), "stderr": ""}}


def test_a_message_arrives_as_one_whatever_its_length():
    received = queue.SimpleQueue()
    with serve(lambda link: [received.put(message) for message in link], "127.0.0.1", 0, max_size=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with connect(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", proxy=None) as link:
            for size in (10, 1_000_000):
                log = kept(MIB, "€".encode() * (size // 3))
                send_json(link, {"logs": {"stdout": Text(log, MIB)}})
                assert json.loads(received.get(timeout=20)) == {"logs": {"stdout": "€" * (size // 3)}}
        server.shutdown()


def test_logs_are_shortened_until_the_whole_fits():
    reply = {"success": True, "result": {"success": True, "stages": []}, "logs": {"stdout": kept(MIB, b"\x01" * MIB)}}
    body = JsonBody(fit(reply, Limits(log=MIB, result=MIB, body=2 * MIB)))
    log = json.loads(b"".join(body))["logs"]["stdout"]
    assert body.size <= 2 * MIB - ENVELOPE_BYTES and MIB // 5 < len(log) <= MIB // 4 and log.count("bytes cut") == 1


@pytest.mark.parametrize("size", [20_000, 3_000_000])
def test_a_grader_with_many_slots_takes_little_memory(api, start_grader, size):
    grader = start_grader(f"--concurrency={SLOTS}")
    script = f"head -c {size} /dev/zero | tr '\\0' x | tee /dev/stderr"
    jobs = [api.put({"image": "any", "entrypoint": ["/bin/sh", "-c", script], "env": []}) for _ in range(2 * SLOTS)]
    for job in jobs:
        assert [len(log) for log in api.result_of(job, 60)["logs"].values()] == [size, size]
    status = Path(f"/proc/{grader.process.pid}/status").read_text(encoding="ascii")
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    assert peak < MOST_MEMORY, f"{peak / MIB:.0f} MiB"
