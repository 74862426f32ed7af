"""Bodies that are slow, that expand, or that never end: A2, A7, A8."""

import json
import secrets
import struct
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
from raw import Link

from broadway_attack.extra_replica import ExtraReplica
from broadway_attack.registry import attack
from broadway_attack.scene import ROUTE, Scene

BODY_BYTES = 16 * 1024 * 1024 - 1
HELD_BACK = 24 * 1024
DRIP_BYTES, DRIP_S = 120, 0.1  # 1.2 KB/s
SLOW = 17
NOBODIES, REPORTERS, RESULT_BYTES = 5, 3, 15_000_000
SOCKETS, MESSAGE_BYTES = 80, 15_900_000
PING, PING_S, UPLOAD_S = b"\x89\x80\0\0\0\0", 0.8, 16.0
BUDGET_MIB = 320  # the bodies that a replica may hold, and a quarter more


def slow_bodies(scene: Scene, path: str) -> None:
    """17 bodies of just under 16 MiB: almost all of it at once, the rest at 1.2 KB/s. A refused client tries again."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {BODY_BYTES}\r\n\r\n".encode()
    filler, end, said = b"a" * (BODY_BYTES - HELD_BACK), time.monotonic() + scene.seconds, Counter()

    def one(_: int) -> None:
        while time.monotonic() < end:
            try:
                with Link(scene.url, timeout=2) as link:
                    said[_drip(link, head, filler, end)] += 1
            except OSError:
                said["none"] += 1
            time.sleep(0.2)

    scene.at_once(one, SLOW)
    scene.note(f"answers to the slow ones: {dict(said)}")


def _drip(link: Link, head: bytes, filler: bytes, end: float) -> str:
    """Sends slowly until the end of the body or an answer; returns which."""
    link.send(head)
    link.socket.settimeout(0.1)
    try:  # a refusal of the head arrives before the body is sent
        return link.socket.recv(12).decode()[9:] or "closed"
    except TimeoutError:
        pass
    link.socket.settimeout(5)
    link.send(filler)
    link.socket.settimeout(DRIP_S)
    while time.monotonic() < end:
        link.send(b"a" * DRIP_BYTES)
        try:
            return link.socket.recv(12).decode()[9:] or "closed"
        except TimeoutError:
            pass
    return "held"


@attack("A2a", "17 slow bodies of 16 MiB as heartbeats", growth_mib=BUDGET_MIB, is_quick=True)
def slow_heartbeats(scene: Scene) -> None:
    """Heartbeats, whose sender is unknown until the body is complete."""
    slow_bodies(scene, f"{ROUTE}/heartbeat")


@attack("A2b", "17 slow bodies of 16 MiB as results", growth_mib=BUDGET_MIB)
def slow_results(scene: Scene) -> None:
    """Results of jobs that are not leased."""
    slow_bodies(scene, f"{ROUTE}/grading_job/{'0' * 32}")


@attack("A2c", "17 slow bodies of 16 MiB as submissions", growth_mib=BUDGET_MIB)
def slow_submissions(scene: Scene) -> None:
    """Submissions of runs, which need no token on loopback."""
    slow_bodies(scene, f"{ROUTE}/grading_run")


@attack(
    "A2d",
    "10 results of 15 MB by nobody, and large ones of graders that the replica does not remember",
    max_log_bytes=65536,
)
def results_beside_a_grader(scene: Scene) -> None:
    """At a fresh replica, from the graders' own address: five results name their worker late, five name an unregistered
    one. Results of registered graders are as large and must never be refused."""
    replica, filler, said = ExtraReplica(scene), b"a" * RESULT_BYTES, Counter()
    try:
        scene.claim(not replica.is_refused(), "the fresh replica is not ready")
        over = threading.Event()
        with ThreadPoolExecutor(2 * NOBODIES) as pool:
            for number in range(2 * NOBODIES):
                pool.submit(_send_as_unknown_worker, replica.url, number % 2 == 0, filler, over)
            try:
                time.sleep(1)  # as many as there is memory for are in progress
                end = time.monotonic() + scene.seconds
                scene.at_once(lambda _: _report_beside_them(scene, replica.url, said, end), REPORTERS)
            finally:
                over.set()
    finally:
        replica.end()
    scene.note(f"answers to the graders: {dict(said)}")
    scene.claim(set(said) == {200}, f"the graders were answered {dict(said)}")


def _send_as_unknown_worker(url: str, is_late: bool, filler: bytes, over: threading.Event) -> None:
    """Sends a result without its end and waits; begins again when it is refused."""
    head = f"POST {ROUTE}/grading_job/{'0' * 32} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {RESULT_BYTES}\r\n\r\n"
    begun = b'{"result": "' if is_late else b'{"worker_id": "%s", "result": "' % secrets.token_hex(16).encode()
    while not over.wait(1):
        try:
            with Link(url, timeout=2) as link:
                link.send(head.encode() + begun)
                link.send(filler[HELD_BACK:])
                while not over.is_set() and _is_silent(link):
                    pass
        except OSError:
            pass


def _is_silent(link: Link) -> bool:
    """True if no answer arrives for a moment."""
    link.socket.settimeout(0.2)
    try:
        link.socket.recv(4096)
    except TimeoutError:
        return True
    return False


def _report_beside_them(scene: Scene, url: str, said: Counter, end: float) -> None:
    """Repeatedly registers a grader and takes a job at the stack, and sends the result to the fresh replica."""
    with httpx.Client(base_url=url, timeout=20, trust_env=False) as fresh:
        while time.monotonic() < end:
            asked = {"token": scene.stack.cluster_token}
            worker = scene.http.get(f"{ROUTE}/worker_register", params=asked).json()["worker_id"]
            job = scene.http.get(f"{ROUTE}/grading_job", params={"worker_id": worker, "wait": 5})
            if job.status_code != 200:
                continue
            result = {"worker_id": worker, "result": 1, "logs": {"stdout": "a" * RESULT_BYTES}}
            said[fresh.post(f"{ROUTE}/grading_job/{job.json()['job_id']}", json=result).status_code] += 1


def bomb(size: int) -> bytes:
    """A request with a small body that is large in memory when parsed."""
    body = b'{"worker_id":[' + b"{}," * ((size - 20) // 3) + b"{}]}"
    head = (
        f"POST {ROUTE}/heartbeat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def send_bombs(scene: Scene, size: int, clients: int, times: int, seconds: float) -> None:
    """Sends bombs from several clients at once, each a number of times, with a time limit."""
    data, said, end = bomb(size), Counter(), time.monotonic() + seconds

    def one(_: int) -> None:
        for _ in range(times):
            if time.monotonic() > end:
                return
            with Link(scene.url, timeout=15) as link:
                link.send(data)
                said[link.socket.recv(12).decode()[9:] or "closed"] += 1

    scene.at_once(one, clients)
    scene.note(f"answers: {dict(said)}")


@attack("A7a", "7 JSON bombs of 2 MB as heartbeats, by anybody", growth_mib=128, is_quick=True)
def bombs(scene: Scene) -> None:
    """A list of 700,000 empty objects each."""
    send_bombs(scene, 2_000_000, 7, 1, scene.seconds)


@attack("A7b", "JSON bombs of 16 MB, 6 at a time, twice", growth_mib=BUDGET_MIB)
def large_bombs(scene: Scene) -> None:
    """5,000,000 empty objects each."""
    send_bombs(scene, 16_000_000, 6, 2, scene.seconds)


@attack("A7c", "16 clients with JSON bombs of 3 MB again and again", growth_mib=BUDGET_MIB)
def steady_bombs(scene: Scene) -> None:
    """The same for the whole duration of the attack."""
    send_bombs(scene, 3_000_000, 16, 1000, scene.seconds)


def open_websocket(scene: Scene, name: str) -> Link:
    """A registered grader's websocket."""
    link = scene.connect()
    lines = ["Host: 127.0.0.1", f"Authorization: Bearer {scene.stack.cluster_token}", "Upgrade: websocket"]
    lines += ["Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
    link.send("\r\n".join([f"GET {ROUTE}/worker_ws/{name} HTTP/1.1", *lines, "", ""]))
    while b"\r\n\r\n" not in link.received:
        link.receive("the handshake was not answered")
    link.received = link.received.partition(b"\r\n\r\n")[2]
    link.send(text_frame(json.dumps({"type": "register", "args": {"hostname": "attack"}}).encode()))
    while b'"success"' not in link.received:
        link.receive("the registration was not answered")
    return link


def text_frame(payload: bytes, is_final: bool = True) -> bytes:
    """A text frame of a client, masked with zeros."""
    size, first = len(payload), 0x81 if is_final else 0x01
    head = struct.pack("!BBQ", first, 0x80 | 127, size) if size >= 126 else struct.pack("!BB", first, 0x80 | size)
    return head + b"\0\0\0\0" + payload


@attack("A8", "80 registered websockets, each with an unfinished message of 15.9 MB", growth_mib=BUDGET_MIB)
def unfinished_messages(scene: Scene) -> None:
    """Graders send the first fragment of a message, as many graders as possible, and pings, so that none counts as
    dead."""
    links = [open_websocket(scene, f"attack-{number}") for number in range(SOCKETS)]
    piece, sent, pinged = text_frame(b" " * MESSAGE_BYTES, is_final=False), 0, 0.0
    end = time.monotonic() + UPLOAD_S
    for link in links:
        if time.monotonic() < end:
            _send_to(link, piece)
            sent += 1
        if time.monotonic() > pinged + PING_S:
            pinged = _ping(links)
    for _ in range(int(scene.seconds / 2 / PING_S)):
        _ping(links)
        time.sleep(PING_S)
    scene.note(
        f"{sent} fragments were sent; {sum(_is_over(link) for link in links)} of {SOCKETS} websockets were closed"
    )


def _ping(links: list[Link]) -> float:
    for link in links:
        _send_to(link, PING)
    return time.monotonic()


def _send_to(link: Link, data: bytes) -> None:
    try:
        link.socket.settimeout(2)
        link.send(data)
    except OSError:
        pass


def _is_over(link: Link) -> bool:
    """True if the server has closed the socket or sent a close frame."""
    link.socket.settimeout(0.01)
    try:
        while data := link.socket.recv(65536):
            if b"\x88" in data:
                return True
    except TimeoutError:
        return False
    except OSError:
        pass
    return True
