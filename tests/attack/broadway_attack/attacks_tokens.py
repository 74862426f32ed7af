"""Requests with no token, a wrong one, or a valid one: A4, A9, A10, A13."""

import hashlib
import json
import re
import secrets
import struct
from collections import Counter

import httpx
from raw import Answer, exchange

from broadway_attack.extra_replica import ExtraReplica
from broadway_attack.registry import attack
from broadway_attack.scene import COURSE, ROUTE, STAFF_TOKEN, Scene

WRONG_TOKENS = 1000
REFUSED_SHARE = 0.85  # a hundred a minute are checked
DEFINITION = {"student_pipeline": [{"image": "x"}], "students": [{"N": "1"}]}


@attack("A4", "the classic endpoints, with the id of a course's run", is_quick=True)
def runs_of_courses(scene: Scene) -> None:
    """Clients of classic runs can't read runs of courses, and a run's id can't be computed from its key."""
    path, key = f"{COURSE}/secret", "lab-1"
    config = {"student_pipeline": [{"image": "x", "env": {"SECRET": "canary-4711"}}]}
    scene.http.post(f"{ROUTE}/grading_config/{path}", json=config, headers=scene.staff()).raise_for_status()
    headers = {**scene.staff(), "Idempotency-Key": key}
    answer = scene.http.post(f"{ROUTE}/grading_run/{path}", json={"students_env": [{}]}, headers=headers)
    run = answer.raise_for_status().json()["data"]["grading_run_id"]
    parts = b"".join(struct.pack("<Q", len(part)) + part for part in (COURSE.encode(), key.encode()))
    scene.claim(run != hashlib.sha256(parts).hexdigest()[:24], "the run's id can be computed from course and key")
    seen = scene.http.get(f"{ROUTE}/grading_run/{run}", params={"results": "true"})
    scene.claim(seen.status_code in (400, 404), f"GET is answered {seen.status_code}")
    scene.claim("canary-4711" not in seen.text, "GET shows its environment")
    for what in ("", "/cancel"):
        answer = scene.http.post(f"{ROUTE}/grading_run/{run}{what}")
        scene.claim(answer.status_code in (400, 404), f"POST {what or 'to start'} is answered {answer.status_code}")
        scene.claim("no grading run" in answer.text, f"POST {what or 'to start'} tells that there is such a run")


@attack("A9", "a submission from a foreign page: Host and Origin of its own, text/plain", is_quick=True)
def foreign_pages(scene: Scene) -> None:
    """DNS rebinding: the browser treats 127.0.0.1 as the page's own server. Without a client token only names of this
    machine are served, and no foreign Origin."""
    port = scene.url.rpartition(":")[2]
    good, foreign = f"127.0.0.1:{port}", f"rebound.example:{port}"
    for host, origin in (
        (foreign, f"http://{foreign}"),
        (foreign, None),
        (good, "http://other.example"),
        (good, "null"),
    ):
        answer = _submitted(scene, host, origin)
        scene.claim(answer.status == 403, f"Host {host}, Origin {origin}: {answer.status}")
        if answer.status == 200:
            run = json.loads(answer.body)["id"]
            lines = f"Host: {host}\r\n" + (f"Origin: {origin}\r\n" if origin else "")
            started = scene.send(f"POST {ROUTE}/grading_run/{run} HTTP/1.1\r\n{lines}Content-Length: 0\r\n\r\n")
            scene.note(f"Host {host}, Origin {origin}: its start is answered {started.status}")
    for host in (good, f"localhost:{port}", f"[::1]:{port}", "localhost", "127.0.0.1"):
        answer = _submitted(scene, host, None)
        scene.claim(answer.status == 200, f"Host {host}: {answer.status}")


def _submitted(scene: Scene, host: str, origin: str | None) -> Answer:
    body = json.dumps(DEFINITION)
    lines = [
        f"POST {ROUTE}/grading_run HTTP/1.1",
        f"Host: {host}",
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"Origin: {origin}"] if origin else []
    answer = scene.send("\r\n".join([*lines, "", ""]) + body)
    assert answer is not None, f"a submission with Host {host} is not answered"
    return answer


@attack("A10", f"{WRONG_TOKENS} wrong cluster tokens, and wrong internal ones", is_quick=True)
def wrong_tokens(scene: Scene) -> None:
    """After a hundred failures only tokens that the replica knows to be valid are checked."""
    said, last = Counter(), None
    for _ in range(WRONG_TOKENS):
        last = _register(scene.url, secrets.token_hex(24))
        said[last.status] += 1
    good = _register(scene.url, scene.stack.cluster_token)
    scene.note(f"answers: {dict(said)}; the graders' token: {good.status}")
    share = said[429] / WRONG_TOKENS
    scene.claim(share >= REFUSED_SHARE, f"only {share:.0%} of the wrong tokens got 429")
    scene.claim(good.status == 200, f"the graders' token gets {good.status} meanwhile")
    scene.claim(_agrees(last), f"Retry-After {last.headers.get('retry-after')!r}, but in words: {last.body!r}")
    _try_internal(scene)
    _try_unknown_token(scene)


def _try_unknown_token(scene: Scene) -> None:
    """A replica without --course-config knows only the hashes of the courses' tokens: while it is limited, it does not
    check even a valid one. That shows that it does not check the wrong ones."""
    replica = ExtraReplica(scene, without=("--course-config",))
    try:
        assert not replica.is_refused(), "the extra replica doesn't start"
        for _ in range(WRONG_TOKENS // 5):
            _register(replica.url, secrets.token_hex(24))
        lines = f"Host: 127.0.0.1\r\nAuthorization: Bearer {STAFF_TOKEN}\r\n\r\n"
        answer = exchange(replica.url, f"GET {ROUTE}/worker/{COURSE}/all HTTP/1.1\r\n{lines}")
        scene.note(f"a right token that a limited replica has never seen: {answer.status}")
        scene.claim(answer.status == 429, f"tokens are checked while limited: a right one gets {answer.status}")
    finally:
        replica.end()


def _register(url: str, token: str) -> Answer:
    return exchange(url, f"GET {ROUTE}/worker_register?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")


def _agrees(answer: Answer) -> bool:
    """True if Retry-After and the sentence of a 429 agree."""
    seconds, text = answer.headers.get("retry-after", ""), answer.body.decode()
    if not seconds.isdigit():
        return False
    said = re.search(r"(\d+) ?s", text)
    return int(seconds) == int(said.group(1)) if said else ("minute" not in text or int(seconds) >= 30)


def _try_internal(scene: Scene) -> None:
    """Checks the limit of the internal port."""
    said = Counter()
    for _ in range(WRONG_TOKENS // 4):
        lines = f"Host: 127.0.0.1\r\nAuthorization: Bearer {secrets.token_hex(24)}\r\nContent-Length: 2\r\n\r\n{{}}"
        answer = exchange(scene.attacked.internal_url, f"POST /internal/v1/callbacks HTTP/1.1\r\n{lines}")
        said[answer.status] += 1
    scene.note(f"wrong internal tokens: {dict(said)}")
    scene.claim(said[429] > 0, "the internal port has no limit on wrong tokens")


LISTED, LISTS = 1000, 100


@attack("A13", f"{LISTS} lists of {LISTED} workers at once, by the course's staff")
def lists_of_workers(scene: Scene) -> None:
    """The requests share queries to the scheduler: each gets the complete list or a 503."""
    token = scene.stack.cluster_token
    path = f"{ROUTE}/worker_register?token={token}&hostname={'h' * 200}"

    def register(_: int) -> None:
        for _ in range(LISTED // 10):
            exchange(scene.url, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    scene.at_once(register, 10)
    scene.begin()
    said, shortest = Counter(), []

    def ask(_: int) -> None:
        headers = {"Authorization": f"Bearer {STAFF_TOKEN}"}
        answer = httpx.get(f"{scene.url}{ROUTE}/worker/{COURSE}/all", headers=headers, timeout=30)
        said[answer.status_code] += 1
        if answer.status_code == 200:
            shortest.append(len(answer.json()["data"]["worker_nodes"]))

    scene.at_once(ask, LISTS)
    scene.note(f"answers: {dict(said)}")
    scene.claim(set(said) <= {200, 503}, f"answers: {dict(said)}")
    scene.claim(min(shortest, default=0) >= LISTED, f"a list of {min(shortest, default=0)} workers")
