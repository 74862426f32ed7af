"""Floods of connections: A5, A6."""

import re
import time
from collections.abc import Callable

from processes import cpu_seconds
from raw import Link

from broadway_attack.extra_replica import ExtraReplica
from broadway_attack.registry import attack
from broadway_attack.scene import COURSE, LOOK_TOKEN, ROUTE, Scene

MAXIMUM = 256  # --max-connections of the replicas here
MORE = 44
FEW_DESCRIPTORS, SOME_DESCRIPTORS = 256, 512
CORE_SHARE = 0.5


def hold_connections(scene: Scene, count: int, greeting: Callable[[Link], None]) -> None:
    """Keeps `count` connections open, replaces each that is closed, and checks that new clients are served
    meanwhile."""
    links: list[Link] = []
    end, opened, served, asked = time.monotonic() + scene.seconds, 0, 0, 0
    while time.monotonic() < end:
        links = [link for link in links if not _is_closed(link)]
        while len(links) < count and time.monotonic() < end:
            link = _opened(scene, greeting)
            if link is None:
                break
            links.append(link)
            opened += 1
        asked += 1
        served += scene.new_connection_answers()
        time.sleep(0.2)
    scene.note(f"{opened} connections were opened, {len(links)} are left; {served} of {asked} newcomers were served")
    scene.claim(served == asked, f"{asked - served} of {asked} new clients were not served within a second")
    for link in links:
        link.close()


def _opened(scene: Scene, greeting: Callable[[Link], None]) -> Link | None:
    try:
        link = Link(scene.url, timeout=2)
        greeting(link)
        link.socket.setblocking(False)
        return link
    except (OSError, AssertionError):
        return None


def _is_closed(link: Link) -> bool:
    try:
        if link.socket.recv(65536) != b"":
            return False
    except BlockingIOError:
        return False
    except OSError:
        pass
    link.close()
    return True


@attack("A5a", f"{MAXIMUM + MORE} idle connections where {MAXIMUM} are allowed", is_quick=True, max_connections=MAXIMUM)
def idle_connections(scene: Scene) -> None:
    """Connections that send nothing."""
    hold_connections(scene, MAXIMUM + MORE, lambda link: None)


@attack("A5b", "the same, each kept alive after one request", max_connections=MAXIMUM)
def kept_alive_connections(scene: Scene) -> None:
    """Connections after one request each, for an unknown path."""

    def greet(link: Link) -> None:
        link.send("GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        link.read_answer()

    hold_connections(scene, MAXIMUM + MORE, greet)


@attack("A5c", "the same, each an event stream of one query token", max_connections=MAXIMUM)
def event_streams(scene: Scene) -> None:
    """Event streams of one job, which waits since its course has no graders."""
    config = {"student_pipeline": [{"image": "x"}]}
    path = f"{COURSE}/streams"
    scene.http.post(f"{ROUTE}/grading_config/{path}", json=config, headers=scene.staff()).raise_for_status()
    run = scene.http.post(f"{ROUTE}/grading_run/{path}", json={"students_env": [{}]}, headers=scene.staff())
    job = run.json()["data"]["grading_run_id"] + "10000000"
    lines = f"Host: 127.0.0.1\r\nAuthorization: Bearer {LOOK_TOKEN}\r\n\r\n"

    def greet(link: Link) -> None:
        link.send(f"GET {ROUTE}/stream/{COURSE}/{job} HTTP/1.1\r\n{lines}")

    hold_connections(scene, MAXIMUM + MORE, greet)


@attack(
    "A6a",
    f"{FEW_DESCRIPTORS + MORE} connections, half of them polls, to a replica with {FEW_DESCRIPTORS} descriptors",
    course_poll_wait=55,
)
def few_descriptors(scene: Scene) -> None:
    """The replica either refuses to start with the reason, or reserves descriptors for its internal port and does not
    spin."""
    attack_limited(scene, FEW_DESCRIPTORS)


@attack(
    "A6b",
    f"{SOME_DESCRIPTORS + MORE} connections, half of them polls, to a replica with {SOME_DESCRIPTORS} descriptors",
    course_poll_wait=55,
)
def some_descriptors(scene: Scene) -> None:
    """The same with a limit that is sufficient to start."""
    attack_limited(scene, SOME_DESCRIPTORS)


def attack_limited(scene: Scene, limit: int) -> None:
    """Starts another replica with a hard limit of descriptors, and uses all of them up."""
    limited = ExtraReplica(scene, limit)
    try:
        if limited.is_refused():
            said = limited.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            scene.note(f"it refuses to start: {' '.join(said)[:200]}")
            named = any(re.search(r"descriptor|open files", line) for line in said)
            scene.claim(named, "it ends without naming the descriptors")
            return
        _use_up(scene, limited, limit + MORE)
    finally:
        limited.end()


def _use_up(scene: Scene, limited: ExtraReplica, count: int) -> None:
    """Uses up its descriptors, and observes it for a while."""
    token = f"Host: 127.0.0.1\r\nAuthorization: Bearer {scene.stack.cluster_token}\r\n"
    body = '{"hostname": "h"}'
    scene.send(f"POST {ROUTE}/worker/limited HTTP/1.1\r\n{token}Content-Length: {len(body)}\r\n\r\n{body}", limited.url)
    for number in range(count):
        try:
            link = scene.connect(limited.url, timeout=2)
        except OSError:
            break
        if number % 2:
            link.send(f"GET {ROUTE}/grading_job/limited HTTP/1.1\r\n{token}\r\n")
    before, begun, worst = cpu_seconds(limited.process.pid), time.monotonic(), 0.0
    while time.monotonic() < begun + scene.seconds / 2:
        worst = max(worst, limited.health_seconds() or 9.9)
        time.sleep(0.2)
    share = (cpu_seconds(limited.process.pid) - before) / (time.monotonic() - begun)
    scene.note(f"{share:.2f} of a core, worst /healthz {worst:.2f} s")
    scene.claim(share < CORE_SHARE, f"it uses {share:.2f} of a core while its descriptors are used up")
    scene.claim(worst < 1, f"its internal port takes {worst:.1f} s or doesn't answer")
    scene.claim(limited.process.poll() is None, "it has died")
