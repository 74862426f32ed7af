"""Websockets: malformed handshakes, and frames of every kind after a valid one."""

import random
import struct
from collections.abc import Iterator

from broadway_fuzz.case import AWAIT, FIN, PAUSE, RESET, SEND, Case, Step, whole
from broadway_fuzz.mutate import mutated
from broadway_fuzz.seeds import CLUSTER_TOKEN, COURSE_RESULT, COURSE_WORKER, V1, bearer, request, to_json

PATH = V1 + b"worker_ws/"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION, UPGRADE, CONNECTION = b"Sec-WebSocket-Version: 13", b"Upgrade: websocket", b"Connection: Upgrade"
REGISTER = to_json({"type": "register", "args": {"hostname": "h"}})
RESULT = to_json({"type": "job_result", "args": COURSE_RESULT})
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def handshake(*lines: bytes, worker: bytes = COURSE_WORKER, token: bytes = CLUSTER_TOKEN) -> bytes:
    """The request that opens a websocket; `lines` in place of its usual headers."""
    return request("GET", PATH + worker, bearer(token), *(lines or (UPGRADE, CONNECTION, KEY, VERSION)))


def frame(
    opcode: int,
    payload: bytes = b"",
    final: bool = True,
    mask: bytes | None = b"\0\0\0\0",
    length: int | None = None,
    rsv: int = 0,
) -> bytes:
    """A frame of a client. A mask of zeros keeps placeholders unchanged; None omits the mask. `length` may be wrong."""
    size = len(payload) if length is None else length
    first = (128 if final else 0) | rsv << 4 | opcode
    if size < 126:
        head = struct.pack("!BB", first, (128 if mask is not None else 0) | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, (128 if mask is not None else 0) | 126, size)
    else:
        head = struct.pack("!BBQ", first, (128 if mask is not None else 0) | 127, size % 2**64)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def after_handshake(kind: str, frames: list[bytes], worker: bytes, together: bool = False) -> Case:
    """Opens a websocket, then sends; `together`: in one packet with the handshake."""
    opening = handshake(worker=worker)
    if together:
        return whole(kind, "public", opening + b"".join(frames))
    steps = [Step(SEND, opening), Step(AWAIT, b"\r\n\r\n")]
    for one in frames:
        steps.append(Step(SEND, one))
    return Case(kind, "public", (*steps, Step(PAUSE, milliseconds=3)))


def handshakes() -> Iterator[Case]:
    """Handshakes: each header missing, twice, in another form."""
    usual = (UPGRADE, CONNECTION, KEY, VERSION)
    for n in range(4):
        yield whole("websocket handshake", "public", handshake(*(line for m, line in enumerate(usual) if m != n)))
        yield whole("websocket handshake", "public", handshake(*usual, usual[n]))
    keys = [b"", b"x", b"dGhlIHNhbXBsZSBub25jZQ=", b"A" * 24, b"=" * 24, b"dGhlIHNhbXBsZSBub25jZQ==" * 40, b"\xff" * 24]
    changes = [(2, b"Sec-WebSocket-Key: " + key) for key in keys]
    changes += [
        (3, b"Sec-WebSocket-Version: " + v) for v in (b"", b"0", b"8", b"12", b"14", b"13, 8", b"013", b"9" * 30)
    ]
    changes += [(0, b"Upgrade: " + v) for v in (b"", b"WebSocket", b"h2c", b"websocket, h2c", b"websocket/13")]
    changes += [
        (1, b"Connection: " + v) for v in (b"", b"close", b"keep-alive, Upgrade", b"upgrade", b"Upgrade, close")
    ]
    for place, line in changes:
        lines = [*usual[:place], line, *usual[place + 1 :]]
        yield whole("websocket handshake", "public", handshake(*lines))
    for more in (
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Sec-WebSocket-Protocol: a,b",
    ):
        yield whole("websocket handshake", "public", handshake(*usual, more) + b"hello")
    for token in (b"wrong", b"", b"x" * 3_000):
        yield whole("websocket handshake", "public", handshake(token=token))


def frame_cases() -> Iterator[Case]:
    """Opcodes, reserved bits, wrong or overlong lengths, fragments, masks, closes."""
    kind, number = "websocket frames", 0
    for frames in _frame_lists():
        for registered in (False, True):
            number += 1
            before = [frame(TEXT, REGISTER)] if registered else []
            yield after_handshake(kind, before + frames, b"fuzz-sweep-%d" % number, together=number % 3 == 0)


def _frame_lists() -> Iterator[list[bytes]]:
    for opcode in range(16):
        for rsv in (0, 1, 2, 4, 7):
            yield [frame(opcode, b"{}", rsv=rsv)]
        yield [frame(opcode, b"x", final=False), frame(opcode, b"y")]
        yield [frame(opcode, b"x", mask=None)]
    for length in (0, 1, 125, 126, 127, 4095, 4096, 4097, 65535, 65536, 70_000):
        yield [frame(TEXT, b"a" * length)]
        yield [frame(PING, b"a" * length)]
    for claimed in (126, 65536, 2**24, 2**24 + 1, 2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1):
        yield [frame(TEXT, b"short", length=claimed)]
        yield [frame(CLOSE, b"short", length=claimed)]
    yield [struct.pack("!BBH", 0x81, 0x80 | 126, 5) + b"\0\0\0\0hello"]
    yield [struct.pack("!BBQ", 0x81, 0x80 | 127, 5) + b"\0\0\0\0hello"]
    for pieces in (2, 10, 500):
        yield (
            [frame(TEXT, b" ", final=False)]
            + [frame(CONTINUATION, b" ", final=False)] * pieces
            + [frame(CONTINUATION, b"{}")]
        )
        yield [frame(TEXT, b"", final=False)] + [frame(CONTINUATION, b"", final=False)] * pieces + [frame(PING, b"p")]
    for code in (0, 999, 1000, 1001, 1004, 1005, 1006, 1015, 1016, 2999, 3000, 4999, 5000, 65535):
        yield [frame(CLOSE, struct.pack("!H", code) + b"bye"), frame(TEXT, b"after")]
    yield from ([frame(CLOSE, payload)] for payload in (b"", b"\x03", b"\x03\xe8\xff\xfe", b"\x03\xe8" + b"r" * 123))
    yield [frame(PING, b"p")] * 500
    yield from (
        [frame(TEXT, text)]
        for text in (b"\xff", b"[" * 3_000, b"{}", b"null", RESULT, REGISTER, b'{"type":"register"}')
    )


def random_frames(chance: random.Random, number: int) -> Case:
    """A registered grader's socket, frames of every kind in any order, some of them changed, possibly truncated."""
    frames = [frame(TEXT, REGISTER)] if chance.random() < 0.8 else []
    for _ in range(chance.randrange(1, 8)):
        payload = chance.choice((RESULT, RESULT, REGISTER, b"{}", b"", bytes(chance.randrange(256) for _ in range(40))))
        if chance.random() < 0.4:
            payload = mutated(payload, chance)
        mask = None if chance.random() < 0.05 else chance.choice((b"\0\0\0\0", chance.randbytes(4)))
        opcode = chance.choice((TEXT, TEXT, TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG, chance.randrange(16)))
        frames.append(frame(opcode, payload, final=chance.random() < 0.8, mask=mask, rsv=int(chance.random() < 0.03)))
    if chance.random() < 0.3:
        frames[-1] = mutated(frames[-1], chance)
    case = after_handshake("websocket mutated", frames, b"fuzz-%d" % (number % 50), together=chance.random() < 0.3)
    if chance.random() < 0.3:
        kept = case.steps[: chance.randrange(1, len(case.steps) + 1)]
        return Case(case.kind, case.target, (*kept, Step(chance.choice((FIN, RESET)))))
    return case
