"""Random changes of requests, and random ways of sending them."""

import random
import re
from collections.abc import Callable

from broadway_fuzz.case import FIN, PAUSE, RESET, SEND, Case, Step
from broadway_fuzz.seeds import SEEDS

NUMBERS = [b"0", b"-1", b"+1", b"00", b"1e9", b"0x7fffffff", b"2147483648", b"4294967296", b"9223372036854775807"]
NUMBERS += [b"18446744073709551615", b"18446744073709551616", b"9" * 40, b"NaN", b"1.5", b"1 1", b"", b"1_000"]
PIECES = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\r\n\t",
    b" ",
    b"\t",
    b":",
    b"%",
    b"%00",
    b"%zz",
    b"\xff",
]
PIECES += [
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"{",
    b"[",
    b'"',
    b"\\u0000",
    b"\\ud800",
    b"&",
    b"=",
    b";",
]
PIECES += [b"..", b"//", b"?", b"#", b"HTTP/1.1", b"chunked", b"\x7f", b"\x1b[31m", b"null", b"[" * 100, b'{"a":' * 40]
HEADERS = [b"Connection: close", b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Expect: 100-continue"]
HEADERS += [b"Transfer-Encoding: chunked", b"Content-Length: 0", b"Host: localhost", b"Host:", b"Authorization: Bearer"]
HEADERS += [b"Content-Type: multipart/form-data; boundary=" + b"b" * 80, b"Cookie: a=b; c; =d;;", b"X-A:" + b"a" * 3000]
HEADERS += [b"Content-Encoding: gzip", b"Idempotency-Key: \x01", b"Origin: null", b"Range: bytes=0-1", b" folded: x"]
ENOUGH = 60_000


def _place(data: bytes, chance: random.Random) -> int:
    return chance.randrange(len(data) + 1)


def _span(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = _place(data, chance)
    return start, min(len(data), start + int(chance.paretovariate(0.7)))


def flip(data: bytes, chance: random.Random) -> bytes:
    """One bit."""
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]


def overwrite(data: bytes, chance: random.Random) -> bytes:
    """One byte, by any other."""
    place = chance.randrange(len(data))
    return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]


def remove(data: bytes, chance: random.Random) -> bytes:
    """Some bytes."""
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def repeat(data: bytes, chance: random.Random) -> bytes:
    """Some bytes, up to many times."""
    start, end = _span(data, chance)
    times = min(chance.choice((1, 2, 3, 10, 100, 1000)), max(1, ENOUGH // max(1, end - start)))
    return data[:end] + data[start:end] * times + data[end:]


def insert(data: bytes, chance: random.Random) -> bytes:
    """A piece of text with a meaning in HTTP or JSON."""
    place = _place(data, chance)
    return data[:place] + chance.choice(PIECES) + data[place:]


def truncate(data: bytes, chance: random.Random) -> bytes:
    """The end."""
    return data[: _place(data, chance)]


def number(data: bytes, chance: random.Random) -> bytes:
    """One number becomes another, huge or none at all."""
    found = list(re.finditer(rb"[0-9]+", data))
    if not found:
        return data
    one = chance.choice(found)
    return data[: one.start()] + chance.choice(NUMBERS) + data[one.end() :]


def add_header(data: bytes, chance: random.Random) -> bytes:
    """A header, after any line of the head."""
    lines = data.split(b"\r\n")
    lines.insert(chance.randrange(1, len(lines) + 1), chance.choice(HEADERS))
    return b"\r\n".join(lines)


def double_line(data: bytes, chance: random.Random) -> bytes:
    """A line twice, here or there."""
    lines = data.split(b"\r\n")
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
    return b"\r\n".join(lines)


def fold_line(data: bytes, chance: random.Random) -> bytes:
    """A folded header line (obsolete folding)."""
    place = data.find(b" ", _place(data, chance))
    return data if place < 0 else data[:place] + b"\r\n" + data[place:]


def bare_ends(data: bytes, chance: random.Random) -> bytes:
    """LF or CR alone for one end of a line, or for all."""
    return data.replace(b"\r\n", chance.choice((b"\n", b"\r", b"\n\r", b"\r\r\n")), chance.choice((1, 2, -1)))


def splice(data: bytes, chance: random.Random) -> bytes:
    """The beginning of one request and the end of another."""
    other = chance.choice(SEEDS["public"])
    return data[: _place(data, chance)] + other[_place(other, chance) :]


def escape(data: bytes, chance: random.Random) -> bytes:
    """One byte as %XX."""
    place = chance.randrange(len(data))
    return data[:place] + b"%%%02x" % data[place] + data[place + 1 :]


def change_case(data: bytes, chance: random.Random) -> bytes:
    """Upper case for lower, in one span."""
    start, end = _span(data, chance)
    return data[:start] + data[start:end].swapcase() + data[end:]


CHANGES: list[Callable[[bytes, random.Random], bytes]] = [
    flip,
    overwrite,
    remove,
    repeat,
    insert,
    insert,
    truncate,
    number,
    number,
    add_header,
    double_line,
    fold_line,
    bare_ends,
    splice,
    escape,
    change_case,
]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Up to four changes; sometimes none, since valid requests between the others matter too."""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        data = chance.choice(CHANGES)(data, chance) if data else data
    return data[:ENOUGH] or b"\r\n"


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    """`data` in pieces: mostly few, sometimes byte by byte."""
    if chance.random() < 0.1 and len(data) < 600:
        return [data[n : n + 1] for n in range(len(data))]
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 6)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if b > a]


def delivered(kind: str, target: str, data: bytes, chance: random.Random) -> Case:
    """A way of sending: at once, in pieces, with pauses between them, or broken off by FIN or RST."""
    way = chance.choice(("whole", "whole", "whole", "split", "split", "slow", "fin", "reset"))
    if way == "whole" or not data:
        return Case(f"{kind}", target, (Step(SEND, data),))
    pieces = cut(data, chance)
    steps: list[Step] = []
    for piece in pieces:
        steps.append(Step(SEND, piece))
        if way == "slow" and len(pieces) < 20:
            steps.append(Step(PAUSE, milliseconds=chance.choice((1, 2, 10))))
    if way in (FIN, RESET):
        del steps[chance.randrange(1, len(steps) + 1) :]
        steps.append(Step(way))
    return Case(f"{kind}, {way}", target, tuple(steps))


def random_case(target: str, chance: random.Random) -> Case:
    """A changed request, or several of them on one connection."""
    count = chance.choice((1, 1, 1, 2, 3, 8))
    requests = [mutated(chance.choice(SEEDS[target]), chance) for _ in range(count)]
    if count > 1:  # the first ones are valid, since the server closes the connection after an invalid one
        requests[:-1] = [chance.choice(SEEDS[target]) if chance.random() < 0.7 else one for one in requests[:-1]]
    kind = "mutated" if count == 1 else "pipelined"
    return delivered(f"{kind} {target}", target, b"".join(requests)[:ENOUGH], chance)
