"""Malformed requests: A1, A11, A12."""

import select
import time

from broadway_attack.registry import attack
from broadway_attack.scene import COURSE, MIB, ROUTE, STAFF_TOKEN, Scene

SWALLOWED_MIB = 32  # including the kernel's buffers
CHUNK = b"10000\r\n" + b" " * 65536 + b"\r\n"


@attack("A1", "a request with 120 arguments, to the public and the internal port", is_quick=True)
def arguments(scene: Scene) -> None:
    """One request of about 900 bytes without credentials, and requests with similar numbers of arguments."""
    answers = []
    for url in (scene.url, scene.attacked.internal_url):
        for count in (120, 60, 100, 140, 200, 400):
            query = "&".join(f"a{n}={n}" for n in range(count))
            try:
                answer = scene.send(f"GET /?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", url)
            except ConnectionRefusedError:
                scene.claim(False, f"nobody listens any more, before the {count} arguments")
                return
            answers.append(answer.status if answer else "none")
            time.sleep(0.05)
    scene.note(f"answers: {', '.join(map(str, answers))}")


@attack("A11", "a chunk's extension of 20 KB", is_quick=True)
def chunk_extension(scene: Scene) -> None:
    """It must be refused as a bad request, not with 500."""
    head = f"POST {ROUTE}/grading_run HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    for size in (20_000, 9_000, 40_000):
        answer = scene.send(head + f"2;{'e' * size}\r\n{{}}\r\n0\r\n\r\n")
        status = answer.status if answer else None
        scene.claim(status in (400, 413, 431), f"an extension of {size} bytes is answered {status}")


@attack("A12a", "NUL in the value of a header: a token, an Idempotency-Key", is_quick=True)
def nul_in_header(scene: Scene) -> None:
    """Text after a NUL must not be dropped silently."""
    head = f"GET {ROUTE}/worker/{COURSE}/all HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    answer = scene.send(f"{head}Authorization: Bearer {STAFF_TOKEN}\0x\r\n\r\n")
    scene.claim(answer is not None and answer.status in (400, 401), f"a token and NUL: {answer and answer.status}")
    body = '{"student_pipeline": [], "students": []}'
    for key in ("key\0one", "key\0two"):
        lines = f"Host: 127.0.0.1\r\nIdempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        answer = scene.send(f"POST {ROUTE}/grading_run HTTP/1.1\r\n{lines}")
        scene.claim(
            answer is not None and answer.status == 400, f"an Idempotency-Key with NUL: {answer and answer.status}"
        )


@attack("A12b", "413 in the middle of a chunked body, then bytes without end", growth_mib=128, is_quick=True)
def endless_body(scene: Scene) -> None:
    """After a refusal a bounded part of the body is read and dropped, so that the client can read the answer."""
    link = scene.connect()
    link.send(f"POST {ROUTE}/grading_run HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent_until_answer, swallowed, answered, deadline = 0, 0, False, time.monotonic() + scene.seconds
    link.socket.setblocking(False)
    while time.monotonic() < deadline:
        readable, writable, _ = select.select([link.socket], [link.socket], [], 0.5)
        try:
            if readable:
                answered = answered or bool(link.socket.recv(65536))
            sent = link.socket.send(CHUNK) if writable else 0
        except BlockingIOError:
            continue
        except OSError:
            break
        if answered:
            swallowed += sent
        else:
            sent_until_answer += sent
    scene.note(f"answered after {sent_until_answer / MIB:.0f} MiB, {swallowed / MIB:.0f} MiB more were taken")
    scene.claim(answered, "a chunked body without end is not refused")
    limit = SWALLOWED_MIB * MIB
    scene.claim(
        swallowed <= limit, f"{swallowed / MIB:.0f} MiB were read after the refusal, {SWALLOWED_MIB} are allowed"
    )
