"""A strict parser of a server's bytes: HTTP answers, and websocket frames after a 101."""

import json
import re
from dataclasses import dataclass

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) ([\t -~]*)")
VALUE = re.compile(rb"[\t -~\x80-\xff]*")
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
OPCODES = (0, 1, 2, 8, 9, 10)
SWITCHING = 101
BODILESS = (204, 304)


class Malformed(ValueError):
    """The bytes are not HTTP, or not a websocket frame; the text has the reason."""


class Incomplete(Exception):
    """The data end before the answer does."""


@dataclass
class Answer:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


def parse_answers(data: bytes, is_closed: bool, may_be_to_head: bool = False) -> tuple[list[Answer], bytes]:
    """All complete answers in `data`, and the rest after the last one, which is the beginning of an answer or empty.
    `is_closed`: no more bytes will follow. `may_be_to_head`: an answer without body may be one to HEAD. Raises
    Malformed."""
    answers: list[Answer] = []
    while data:
        try:
            answer, rest = _parse_answer(data, is_closed, may_be_to_head)
        except Incomplete:
            return answers, data
        answers.append(answer)
        data = rest
        if answer.status == SWITCHING:
            return answers, _skip_frames(data)
    return answers, b""


def _parse_answer(data: bytes, is_closed: bool, may_be_to_head: bool) -> tuple[Answer, bytes]:
    head, mark, rest = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    found = STATUS_LINE.fullmatch(lines[0])
    if found is None and (mark or len(lines) > 1 or not b"HTTP/1.1 ".startswith(lines[0][:9])):
        raise Malformed(f"not a status line: {lines[0][:80]!r}")
    if not mark:
        raise Incomplete
    answer = Answer(int(found.group(1)), _parse_headers(lines[1:]))
    if answer.status < 200 or answer.status in BODILESS:
        return answer, rest
    if may_be_to_head and (not rest or rest.startswith(b"HTTP/1.")):
        return answer, rest
    answer.body, rest = _take_body(answer.headers, rest, is_closed)
    _check_json(answer)
    return answer, rest


def _parse_headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise Malformed(f"not a header: {line[:80]!r}")
        key = name.decode("ascii").lower()
        if key in headers and key in ("content-length", "content-type", "transfer-encoding"):
            raise Malformed(f"the header {key} is there twice")
        headers[key] = value.strip().decode("latin-1")
    return headers


def _take_body(headers: dict[str, str], data: bytes, is_closed: bool) -> tuple[bytes, bytes]:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return take_chunks(data)
    length = headers.get("content-length")
    if length is None:
        if not is_closed:
            raise Incomplete
        return data, b""
    if not length.isdigit():
        raise Malformed(f"Content-Length: {length!r}")
    if len(data) < int(length):
        raise Incomplete
    return data[: int(length)], data[int(length) :]


def take_chunks(data: bytes) -> tuple[bytes, bytes]:
    """(body, rest) of chunked data. Raises Incomplete, Malformed."""
    body = b""
    while True:
        size, mark, data = data.partition(b"\r\n")
        if not mark:
            raise Incomplete
        if not CHUNK_SIZE.fullmatch(size):
            raise Malformed(f"not a chunk's size: {size[:80]!r}")
        count = int(size, 16)
        if len(data) < count + 2:
            raise Incomplete
        if data[count : count + 2] != b"\r\n":
            raise Malformed(f"a chunk has no end: {data[count : count + 20]!r}")
        body, data = body + data[:count], data[count + 2 :]
        if count == 0:
            return body, data


def _check_json(answer: Answer) -> None:
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return
    try:
        json.loads(answer.body.decode("utf-8"))
    except ValueError as error:
        raise Malformed(f"{answer.status}: the body is not JSON: {error}: {answer.body[:200]!r}") from error


def _skip_frames(data: bytes) -> bytes:
    """The rest after complete frames of a server."""
    while len(data) >= 2:
        opcode, is_final, length = data[0] & 15, data[0] & 128, data[1] & 127
        if opcode not in OPCODES or data[0] & 112 or data[1] & 128:
            raise Malformed(f"not a frame of a server: {data[:20]!r}")
        if opcode >= 8 and (length > 125 or not is_final):
            raise Malformed(f"not a control frame: {data[:20]!r}")
        start = {126: 4, 127: 10}.get(length, 2)
        if length > 125:
            length = int.from_bytes(data[2:start], "big")
        if len(data) < start + length:
            return data
        data = data[start + length :]
    return data
