"""Directed sweeps: each crosses one limit of the HTTP library or of Broadway in steps."""

from collections.abc import Iterable, Iterator

from broadway_fuzz.case import AWAIT, PAUSE, SEND, Case, Step, whole
from broadway_fuzz.seeds import HOST, JSON, RUN_DEFINITION, V1, request, to_json

LARGEST_URI = 40_000
POOL = 8 * 1024  # the library's memory for the head of a request
HEALTHZ = b"/healthz"
SUBMIT = V1 + b"grading_run"
BODY = to_json(RUN_DEFINITION)
TARGETS = ("public", "internal", "scheduler")


def lengths(most: int, *edges: int) -> list[int]:
    """Numbers from 0 to `most` in steps of a fifth, and all numbers next to the edges."""
    chosen, n = set(range(0, 12)), 12
    while n <= most:
        chosen.add(n)
        n += max(1, n // 5)
    for edge in edges:
        chosen.update(range(edge - 4, edge + 5))
    return sorted(n for n in chosen if 0 <= n <= most)


def arguments(step: int) -> Iterator[bytes]:
    """Number of query arguments, 0 to 400; with and without values; by GET and POST."""
    for count in range(0, 401, step):
        forms = [b"a%d=%d" % (n, n) for n in range(count)], [b"a"] * count, [b""] * count
        form = forms[count // step % 5 % 3] if count % 2 else forms[0]
        body = b"x" if count % 7 == 0 else None
        yield request("POST" if body else "GET", b"/?" + b"&".join(form), body=body)


def many_headers(step: int) -> Iterator[bytes]:
    """Number of headers, 0 to 400: different names, one name, no values."""
    for count in range(0, 401, step):
        shape = count // step % 3
        lines = [(b"X%d: %d" % (n, n), b"X: y", b"X:")[shape] for n in range(count)]
        yield request("GET", HEALTHZ, *lines)


def cookies() -> Iterator[bytes]:
    """Number of cookies in one header and in many; their forms."""
    for count in [*range(0, 60, 3), *range(60, 401, 17)]:
        pairs = [b"c%d=%d" % (n, n) for n in range(count)]
        yield request("GET", HEALTHZ, b"Cookie: " + b"; ".join(pairs))
        yield request("GET", HEALTHZ, *[b"Cookie: " + pair for pair in pairs])
    for form in (
        b"",
        b"=",
        b"a",
        b"a=",
        b"=b",
        b";;;;",
        b'a="b',
        b'a="b;c"',
        b"a=b,c=d",
        b"a=\0",
        b"$V=1;a=b",
        b" " * 99,
    ):
        yield request("GET", HEALTHZ, b"Cookie: " + form)


def header_sizes() -> Iterator[bytes]:
    """The size of one header, and of all of them together, up to and beyond the library's pool."""
    for size in lengths(40_000, POOL, POOL - 100, 2 * POOL, 32768):
        yield request("GET", HEALTHZ, b"X-Pad: " + b"p" * size)
        yield request("GET", HEALTHZ, b"N" * size + b": v")
    for total in range(6_000, 10_000, 61):
        yield request(
            "GET", HEALTHZ, *[b"X-%03d: " % n + b"p" * 92 for n in range(total // 101)], b"Y: " + b"q" * (total % 101)
        )
    for size in lengths(9_000, POOL):
        yield request("POST", SUBMIT, b"X-Pad: " + b"p" * size, JSON, body=BODY)


def folded_lines() -> Iterator[bytes]:
    """Headers that continue in the next line."""
    for count in [*range(1, 40), *range(40, 2_000, 97)]:
        yield request("GET", HEALTHZ, b"X-Folded: a" + b"\r\n b" * count)
    for blank in (b" ", b"\t", b"  ", b" \t"):
        for line in (
            b"Content-Length:" + blank + b"\r\n" + blank + b"3",
            b"Host: a\r\n" + blank + b"b",
            blank + b"X: y",
        ):
            yield request("POST", SUBMIT, line, body=b"abc")
        yield b"GET /healthz HTTP/1.1\r\n" + blank + b"Host: x\r\n\r\n"
        yield b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n" + blank + b"chunked\r\n\r\n0\r\n\r\n"


def methods() -> Iterator[bytes]:
    """Methods of every length, and odd ones."""
    for size in lengths(LARGEST_URI, POOL, 2 * POOL, 32768):
        yield request("M" * size, HEALTHZ)
    for method in ("get", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PRI", "G\0T", "G ET", "(", "\x7f", "GET\t"):
        yield request(method, HEALTHZ)
        yield request(method, SUBMIT, body=b"x")


def uris() -> Iterator[bytes]:
    """Paths and queries of every length up to 40,000; of escapes, slashes, arguments."""
    for size in lengths(LARGEST_URI, POOL - 100, POOL, 2 * POOL, 32768):
        yield request("GET", b"/" + b"a" * size)
        yield request("GET", b"/?" + b"q" * size)
        yield request("GET", b"/healthz?a=" + b"%41" * (size // 3))
    for size in lengths(12_000, POOL):
        yield request("POST", V1 + b"grading_run/" + b"f" * size, body=b"")
        yield request("GET", b"/" * size)
        yield request("GET", V1 + b"grading_job/" + b"%2e" * (size // 3))
        yield request("GET", b"/x?" + b"&" * size)
    for uri in (
        b"",
        b"*",
        b"?",
        b"a",
        b"//",
        b"/%",
        b"/%0",
        b"/%00",
        b"/\0",
        b"/ /",
        b"/\xff",
        b"http://a/healthz",
        b"/#x",
    ):
        yield request("GET", uri)


def request_lines() -> Iterator[bytes]:
    """Malformed request lines."""
    for version in (
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/0.9",
        b"HTTP/2.0",
        b"HTTP/1.9",
        b"HTTP/11",
        b"http/1.1",
        b"HTTP/1.1 ",
        b"",
    ):
        for space in (b" ", b"  ", b"\t", b"\r"):
            yield b"GET" + space + b"/healthz" + space + version + b"\r\nHost: x\r\n\r\n"
    yield from (b"\r\n" * n + request("GET", HEALTHZ) for n in (1, 2, 3, 10, 100, 5_000))
    yield from (b"\n" * n + request("GET", HEALTHZ) for n in (1, 2, 10, 9_000))
    yield from (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0",
        b"GET\r\n\r\n",
        b"\0" * 100,
        b"\xff" * 20_000,
    )
    yield from (b"x" * size for size in lengths(20_000, POOL))


def content_lengths() -> Iterator[bytes]:
    """Forms of Content-Length, alone and twice."""
    forms = [
        b"",
        b" ",
        b"0",
        b"00",
        b"-0",
        b"-1",
        b"+3",
        b"0x3",
        b"3.0",
        b"3,3",
        b"3, 4",
        b"3 3",
        b"3;",
        b"3\0",
        b"\t3\t",
    ]
    forms += [b"1e1", b"abc", b"9" * 18, b"9" * 19, b"9" * 20, b"9" * 40, b"9" * 3_000, b"%d" % 2**31, b"%d" % 2**32]
    forms += [b"%d" % n for n in (2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**64 + 3, 16 * 2**20, 16 * 2**20 + 1)]
    for path in (SUBMIT, V1 + b"heartbeat", HEALTHZ):
        for form in forms:
            yield request("POST", path, b"Content-Length: " + form) + b"abc"
            yield request("POST", path, b"Content-Length: " + form, body=b"abc")
        for name in (b"Content-Length ", b" Content-Length", b"Content_Length", b"content-length\0", b"CONTENT-LENGTH"):
            yield request("POST", path, name + b": 3") + b"abc"


def transfer_encodings() -> Iterator[bytes]:
    """Forms of Transfer-Encoding, with and without a Content-Length."""
    forms = [
        b"chunked",
        b"Chunked",
        b" chunked ",
        b"\tchunked",
        b"chunked, chunked",
        b"gzip",
        b"gzip, chunked",
        b"chunked, gzip",
    ]
    forms += [
        b"identity",
        b"",
        b'"chunked"',
        b"chunked;q=1",
        b"xchunked",
        b"chunked\0",
        b"chun\r\n ked",
        b"deflate,",
        b",",
    ]
    body = b"3\r\nabc\r\n0\r\n\r\n"
    for form in forms:
        line = b"Transfer-Encoding: " + form
        yield request("POST", SUBMIT, line) + body
        yield request("POST", SUBMIT, line, line) + body
        yield request("POST", SUBMIT, line, b"Content-Length: 3") + body
        yield request("POST", SUBMIT, line, version="1.0") + body
        yield request("GET", HEALTHZ, line) + body


def chunks() -> Iterator[bytes]:
    """Sizes of chunks, their extensions, their ends, trailers."""
    head = request("POST", SUBMIT, JSON, "Transfer-Encoding: chunked")
    sizes = [
        b"",
        b"0",
        b"00",
        b"-1",
        b"+1",
        b"0x1",
        b"g",
        b" 1",
        b"1 ",
        b"f" * 7,
        b"f" * 8,
        b"f" * 15,
        b"f" * 16,
        b"f" * 17,
    ]
    sizes += [b"0" * n + b"1" for n in (1, 7, 15, 16, 17, 100, 5_000, 20_000)] + [
        b"1\0",
        b"1\t",
        b"1;",
        b"1;a",
        b"1;a=b",
        b'1;a="b',
    ]
    for size in sizes:
        for end in (b"\r\n", b"\n", b"\r"):
            yield head + size + end + b"{" + end + b"0\r\n\r\n"
    for size in lengths(25_000, POOL, 16 * 1024, 20 * 1024):
        yield head + b"1;" + b"e" * size + b"\r\n{\r\n0\r\n\r\n"
        yield head + b"0;" + b"e" * size + b"\r\n\r\n"
        yield head + b"2\r\n{}\r\n0\r\nX-Trailer: " + b"t" * size + b"\r\n\r\n"
        yield head + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"
    for count in [*range(0, 60, 7), *range(60, 401, 31)]:
        yield head + b"2\r\n{}\r\n0\r\n" + b"".join(b"T%d: %d\r\n" % (n, n) for n in range(count)) + b"\r\n"
        yield head + b"1\r\n \r\n" * count + b"0\r\n\r\n"
    for trailer in (
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b" folded\r\n",
        b": x\r\n",
        b"\0\r\n",
        b"x\r\n",
    ):
        yield head + b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n"


def bodies() -> Iterator[bytes]:
    """Bodies that are deep, wide, or not text; forms and multiparts."""
    paths = (SUBMIT, V1 + b"heartbeat", V1 + b"grading_job/" + b"0" * 32, V1 + b"grading_config/fuzz/hw")
    texts = [b"[" * n + b"]" * n for n in (1, 31, 32, 33, 1_000, 20_000)] + [
        b'{"a":' * n + b"1" + b"}" * n for n in (32, 33, 9_000)
    ]
    texts += [b"{" + b",".join(b'"k%d":1' % n for n in range(count)) + b"}" for count in (1, 100, 3_000)]
    texts += [b"[" + b"{}," * count + b"{}]" for count in (10, 10_000)] + [
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\0"}',
        b"{}x",
    ]
    texts += [
        b'{"a":%s}' % number
        for number in (b"1e999", b"-0", b"9" * 400, b"1.", b"01", b"NaN", b"-", b"1e", b"0." + b"1" * 999)
    ]
    texts += [b"&".join(b"a%d=%d" % (n, n) for n in range(count)) for count in (1, 15, 16, 17, 18, 400, 4_000)] + [
        b"%",
        b"a=%f",
        b"=",
    ]
    for path in paths:
        for text in texts:
            yield request("POST", path, JSON if text[:1] in b"[{" else "X: y", body=text)
    for boundary in (b"", b"b", b'"b"', b"b" * 70, b"b" * 2_000, b"b; charset=x", b'"b', b"\0"):
        for part in (
            b"--b\r\n\r\nx\r\n--b--\r\n",
            b'--b\r\nContent-Disposition: form-data; name="a\r\n\r\n',
            b"--b--",
            b"--b" * 999,
        ):
            yield request("POST", SUBMIT, b"Content-Type: multipart/form-data; boundary=" + boundary, body=part)


def late_bodies() -> Iterator[Case]:
    """Bodies that are sent after the server has refused them, or after Expect: 100-continue."""
    for path in (SUBMIT, V1 + b"heartbeat", b"/nowhere"):
        for length in (b"5", b"16777217", b"99999999999"):
            head = request("POST", path, b"Content-Length: " + length, "Expect: 100-continue")
            steps = (Step(SEND, head), Step(AWAIT, b"\r\n\r\n"), Step(SEND, b"{}" * 2_000), Step(PAUSE, milliseconds=5))
            yield Case("sweep late bodies", "public", (*steps, Step(SEND, b"x" * 20_000)))


EVERYWHERE = {
    "arguments": lambda target: arguments(1 if target == "public" else 3),
    "headers": lambda target: many_headers(1 if target == "public" else 3),
    "cookies": lambda target: cookies(),
    "header sizes": lambda target: header_sizes(),
    "folded lines": lambda target: folded_lines(),
    "methods": lambda target: methods(),
    "URIs": lambda target: uris(),
    "request lines": lambda target: request_lines(),
    "Content-Length": lambda target: content_lengths(),
    "Transfer-Encoding": lambda target: transfer_encodings(),
    "chunks": lambda target: chunks(),
    "bodies": lambda target: bodies(),
}


def _thinned(cases: Iterable[bytes], target: str) -> Iterator[bytes]:
    """All cases for the public port, and every third for the other ports, which use the same library."""
    for number, data in enumerate(cases):
        if target == "public" or number % 3 == TARGETS.index(target):
            yield data.replace(b"Host: " + HOST.encode(), b"Host: localhost") if number % 5 == 4 else data


def all_sweeps() -> list[Case]:
    """Every directed case, in a fixed order."""
    cases = []
    for target in TARGETS:
        for name, make in EVERYWHERE.items():
            taken = make(target) if name in ("arguments", "headers") else _thinned(make(target), target)
            cases += [whole(f"sweep {name}", target, data) for data in taken]
    return cases + list(late_bodies())
