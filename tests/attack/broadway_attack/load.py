"""Graders and instructors at work, with measurements: a separate process, so that the attack does not delay it.

    python load.py CLUSTER_TOKEN GRADERS URL...

It reads commands line by line and answers each with a line of JSON: `mark` begins a measurement, `report` returns the
measurements since, `finish` submits no more runs, waits for the present ones, and reports on them; the end of the input
ends it. Standard library only.
"""

import asyncio
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ROUTE = "/api/v1"
BEAT_S = 1.0
WORK_S = (0.2, 0.7)
TRY_S = 5.0  # a request without an answer is tried again after this
AGAIN_S = 0.1
ELSEWHERE_AFTER = 3  # tries without an answer until the replica is changed
FRESH_EVERY = 5  # one of this many heartbeats uses a new connection
RUN_OF, RUNS = 20, 6
FINISH_S = 60.0
LAG_S = 0.02
RESULT_BYTES = "RESULT_BYTES"  # a job with this variable gets a result of that size


class Answer(Exception):
    """An unexpected answer."""


class Link:
    """One connection to one replica, opened on demand."""

    def __init__(self, url: str):
        self.url, parts = url, urlsplit(url)
        self.address = parts.hostname, parts.port
        self.streams = None

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None

    async def ask(self, method: str, path: str, body: bytes | None = None, *headers: str) -> tuple[int, bytes]:
        """(status, body). An error closes the connection."""
        try:
            return await self._ask(method, path, body, headers)
        except BaseException:
            self.close()
            raise

    async def _ask(self, method, path, body, headers):
        if self.streams is None:
            self.streams = await asyncio.open_connection(*self.address)
        reader, writer = self.streams
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body is not None else []
        writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
        answer = int(head.split()[1]), await reader.readexactly(length)
        if "\r\nconnection: close" in head:
            self.close()
        return answer


@dataclass
class Timings:
    """The durations of one kind of request: from its first byte until it is answered with 200, including all tries."""

    count: int = 0
    worst: float = 0.0
    tries: int = 0
    pending: dict = field(default_factory=dict)

    def begin(self, key) -> None:
        self.pending[key] = time.monotonic()

    def end(self, key) -> None:
        self.count += 1
        self.worst = max(self.worst, time.monotonic() - self.pending.pop(key))

    def mark(self) -> None:
        self.count, self.worst, self.tries = 0, 0.0, 0

    def report(self, begun: float) -> dict:
        """Summarizes the durations. A request in progress counts with its age."""
        waiting = [time.monotonic() - max(since, begun) for since in self.pending.values()]
        return {"count": self.count, "worst": max([self.worst, *waiting]), "refused": self.tries}


class Load:
    """The state of the load."""

    def __init__(self, token: str, urls: list[str]):
        self.token, self.urls = token, urls
        self.beats, self.results = Timings(), Timings()
        self.begun, self.lag = time.monotonic(), 0.0
        self.refusals: dict[str, int] = {}
        self.runs: dict[str, dict | None] = {}
        self.is_closing, self.known = False, 0

    def refused(self, what: object) -> None:
        """Counts unexpected answers and exceptions."""
        text = what if isinstance(what, str) else f"{type(what).__name__}"
        self.refusals[text] = self.refusals.get(text, 0) + 1

    def mark(self) -> None:
        """Begins a measurement."""
        self.begun, self.lag, self.refusals = time.monotonic(), 0.0, {}
        self.beats.mark()
        self.results.mark()

    def report(self) -> dict:
        """Returns the measurements since the mark."""
        return {
            "beat": self.beats.report(self.begun),
            "result": self.results.report(self.begun),
            "lag": self.lag,
            "refusals": self.refusals,
            "graders": self.known,
            "runs": len(self.runs),
        }

    async def insist(self, timings, links: list[Link], number: int, method: str, path: str, body: bytes) -> None:
        """Sends a request until it is answered with 200. After a refusal it tries the same replica again, as behind a
        balancer with sticky sessions; after some tries without an answer it changes the replica."""
        key, tries = object(), 0
        timings.begin(key)
        while True:
            link = links[(number + tries // ELSEWHERE_AFTER) % len(links)]
            try:
                status, answer = await asyncio.wait_for(link.ask(method, path, body), TRY_S)
                if status == 200 or (status == 400 and b"has its result already" in answer):
                    break
                self.refused(f"{status} to {path[8:17]}: {answer[:120].decode(errors='replace')}")
            except (OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.TimeoutError) as trouble:
                self.refused(trouble)
                tries += ELSEWHERE_AFTER if isinstance(trouble, ConnectionRefusedError) else 1
            timings.tries += 1
            await asyncio.sleep(AGAIN_S)
        timings.end(key)

    async def grade(self, number: int) -> None:
        """One grader, until the process ends."""
        links = [Link(url) for url in self.urls]
        worker = None
        while worker is None:
            path = f"{ROUTE}/worker_register?token={self.token}&hostname=load-{number}&concurrency=1"
            status, answer = await self.try_somewhere(links, number, "GET", path)
            worker = json.loads(answer)["worker_id"] if status == 200 else None
        self.known += 1
        asyncio.get_running_loop().create_task(self.beat(number, worker))
        while True:
            status, answer = await self.try_somewhere(
                links, number, "GET", f"{ROUTE}/grading_job?worker_id={worker}&wait=5"
            )
            if status == 200:
                await self.work(links, number, worker, json.loads(answer))
            elif status != 498:
                await asyncio.sleep(AGAIN_S)

    async def work(self, links: list[Link], number: int, worker: str, job: dict) -> None:
        """Works for a while and sends the result."""
        await asyncio.sleep(random.uniform(*WORK_S))
        env = dict(entry.split("=", 1) for stage in job["stages"] for entry in stage["env"])
        result = "r" * int(env[RESULT_BYTES]) if RESULT_BYTES in env else {"score": 9}
        body = json.dumps({"worker_id": worker, "result": result}).encode()
        await self.insist(self.results, links, number, "POST", f"{ROUTE}/grading_job/{job['job_id']}", body)

    async def beat(self, number: int, worker: str) -> None:
        """Sends heartbeats, some on a new connection."""
        links, count = [Link(url) for url in self.urls], 0
        body = json.dumps({"worker_id": worker}).encode()
        while True:
            await asyncio.sleep(random.uniform(0.9, 1.1) * BEAT_S)
            count += 1
            if count % FRESH_EVERY == 0:
                links[number % len(links)].close()
            await self.insist(self.beats, links, number, "POST", f"{ROUTE}/heartbeat", body)

    async def try_somewhere(self, links, number, method, path, body=None, *headers) -> tuple[int, bytes]:
        """The answer of the first replica that gives one, beginning with its own; (0, b"") if none does."""
        for link in links[number % len(links) :] + links[: number % len(links)]:
            try:
                return await asyncio.wait_for(link.ask(method, path, body, *headers), TRY_S + 5)
            except (OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.TimeoutError) as trouble:
                self.refused(trouble)
        await asyncio.sleep(AGAIN_S)
        return 0, b""

    async def instruct(self, number: int) -> None:
        """Submits small runs, one after the other."""
        links, count = [Link(url) for url in self.urls], 0
        stage = {"image": "x", "env": {"NETID": ""}, "timeout": 60}
        students = [{"NETID": f"s{n}"} for n in range(RUN_OF)]
        body = json.dumps({"student_pipeline": [stage], "students": students}).encode()
        while not self.is_closing:
            count += 1
            key = f"Idempotency-Key: load-{os.getpid()}-{number}-{count}"
            status, answer = await self.try_somewhere(links, number, "POST", f"{ROUTE}/grading_run", body, key)
            if status != 200:
                continue
            run = json.loads(answer)["id"]
            self.runs[run] = None
            await self.follow(links, number, run)

    async def follow(self, links: list[Link], number: int, run: str) -> None:
        """Starts a run and polls its status until it is over."""
        is_started = False
        while self.runs[run] is None:
            if not is_started:
                status, answer = await self.try_somewhere(links, number, "POST", f"{ROUTE}/grading_run/{run}", b"")
                is_started = status == 200 or b"was started already" in answer
            await asyncio.sleep(0.3)
            status, answer = await self.try_somewhere(links, number, "GET", f"{ROUTE}/grading_run/{run}")
            if status == 200 and (found := json.loads(answer))["state"] in ("finished", "failed", "cancelled"):
                self.runs[run] = found

    async def finish(self) -> dict:
        """Stops submitting and waits for the present runs. Counts jobs that were handed out twice because their grader
        was lost."""
        self.is_closing, deadline = True, time.monotonic() + FINISH_S
        while None in self.runs.values() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        over = [found for found in self.runs.values() if found is not None]
        jobs = [job for found in over for job in found["student_statuses"]]
        return {
            "runs": len(self.runs),
            "unfinished": len(self.runs) - len(over),
            "failed": sum(found["progress"]["succeeded"] != found["progress"]["total"] for found in over),
            "lost": sum(job["attempts"] > 1 for job in jobs),
            "jobs": len(jobs),
        }

    async def watch_lag(self) -> None:
        """Measures the scheduling delay of this process."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(LAG_S)
            self.lag = max(self.lag, time.monotonic() - before - LAG_S)


async def main(token: str, graders: int, urls: list[str]) -> None:
    """Starts all threads, then reads commands."""
    load, loop = Load(token, urls), asyncio.get_running_loop()
    tasks = [load.grade(number) for number in range(graders)] + [load.instruct(number) for number in range(RUNS)]
    kept = [loop.create_task(task) for task in [*tasks, load.watch_lag()]]
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = line.strip()
        if command == "mark":
            load.mark()
        answer = await load.finish() if command == "finish" else load.report()
        answer["broken"] = [repr(task.exception()) for task in kept if task.done() and task.exception()]
        print(json.dumps(answer), flush=True)
    os._exit(0)


if __name__ == "__main__":
    try:
        os.nice(-10)  # the measuring process must not be delayed by the measured ones
    except PermissionError:
        pass
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
