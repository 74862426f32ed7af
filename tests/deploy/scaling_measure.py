"""The measurement behind tests/deploy/scaling."""

import argparse
import json
import re
import selectors
import tempfile
import time
from pathlib import Path

import httpx
from crowd import Crowd, Member
from harness import Stack
from pipelines import run_of
from processes import cpu_seconds
from raw import connect
from waiting import wait_until

CONNECTIONS = 32
GRADERS = 48  # for each replica: larger installations have more graders
COUNTERS = {"callbacks": "broadway_scheduler_callbacks_total", "events": "broadway_scheduler_events_total"}


class Meter:
    """CPU seconds of each tier and the scheduler's counters since the meter was made."""

    def __init__(self, stack):
        self.pids = {
            "api": [replica["pid"] for replica in stack.described["api"]],
            "scheduler": [scheduler["pid"] for scheduler in stack.described["scheduler"]],
            "database": [stack.described["database_pid"]],
        }
        self.scheduler = stack.described["scheduler"][0]["url"]
        self.begun = time.monotonic()
        self.before = self._now()

    def read(self):
        """({tier: CPU seconds, counter: count}, seconds)."""
        return {tier: now - self.before[tier] for tier, now in self._now().items()}, time.monotonic() - self.begun

    def _now(self):
        spent = {tier: sum(map(cpu_seconds, pids)) for tier, pids in self.pids.items()}
        text = httpx.get(f"{self.scheduler}/metrics", trust_env=False).text
        counts = {name: float(re.search(rf"^{full} (\S+)", text, re.M)[1]) for name, full in COUNTERS.items()}
        return {**spent, **counts}


def exchange_all(stack, count, request):
    """Sends `count` requests over keep-alive connections to all replicas in turn, each connection one at a time."""
    links = [connect(stack.urls[n % len(stack.urls)]) for n in range(CONNECTIONS)]
    selector = selectors.DefaultSelector()
    sent = 0
    for link in links:
        selector.register(link.socket, selectors.EVENT_READ, link)
        link.send(request)
        sent += 1
    answered = 0
    while answered < count:
        for key, _ in selector.select(30):
            answer = key.data.read_answer()
            assert answer.status in (200, 498), f"{answer.status}: {answer.body}"
            answered += 1
            if sent < count:
                key.data.send(request)
                sent += 1
    selector.close()
    for link in links:
        link.close()


def http(method, path, body=b""):
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
    return f"{head}\r\n".encode() + body


def submissions(stack, count):
    """Runs of one student, submitted."""
    exchange_all(stack, count, http("POST", "/api/v1/grading_run", json.dumps(run_of(1)).encode()))
    return count


def polls(stack, count):
    """Empty polls with wait 0: each is a query to the scheduler and its answer."""
    member = Member(stack.urls[0], stack.cluster_token)
    path = f"/api/v1/grading_job?worker_id={member.id}&wait=0"
    exchange_all(stack, count, http("GET", path))
    member.link.close()
    return count


def jobs(stack, count):
    """A run of this many students, graded at once by graders that wait at all replicas: a poll and a result each."""
    run = stack.api.submit_and_start(run_of(count))
    with Crowd(stack.urls, stack.cluster_token, GRADERS * len(stack.urls)) as crowd:
        crowd.park()
        crowd.work(count)
    wait_until(lambda: stack.api.is_over(run), 60, "the run is over")
    return count


KINDS = {"submissions": submissions, "polls": polls, "jobs": jobs}


def measure(replicas, counts):
    """[(kind, requests per second, {tier or counter: per 1,000 requests})] with this many replicas, on a new
    database."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        stack = Stack(Path(directory) / "stack", replicas=replicas).up()
        try:
            for kind, run in KINDS.items():
                run(stack, 200)  # warm-up
                meter = Meter(stack)
                done = run(stack, counts[kind])
                spent, seconds = meter.read()
                rows.append((kind, done / seconds, {what: 1000 * count / done for what, count in spent.items()}))
        finally:
            stack.down()
    return rows


def print_row(replicas, kind, rate, cost):
    print(
        f"| {replicas} | {kind} | {rate:,.0f} | {cost['api']:.3f} | {cost['scheduler']:.3f} | {cost['database']:.2f} "
        f"| {cost['callbacks']:.0f} | {cost['events']:.0f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description="What each tier costs with 1, 2 and 4 replicas of the API.")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--submissions", type=int, default=4000)
    parser.add_argument("--polls", type=int, default=8000)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    counts = {kind: getattr(arguments, kind) for kind in KINDS}
    figures = []
    print("CPU seconds of each tier, callbacks and events of the scheduler; each per 1,000:\n")
    print("| replicas | of what | per second | api | scheduler | database | callbacks | events |")
    print("|---|---|---|---|---|---|---|---|")
    for replicas in arguments.replicas:
        for kind, rate, cost in measure(replicas, counts):
            print_row(replicas, kind, rate, cost)
            figures.append({"replicas": replicas, "kind": kind, "per_second": rate, "per_1000": cost})
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    check_flat(figures)


def check_flat(figures):
    """Checks that the scheduler's CPU time per job does not grow with the replicas."""
    costs = [each["per_1000"]["scheduler"] for each in figures if each["kind"] == "jobs"]
    growth = costs[-1] / costs[0]
    print(f"\nThe scheduler's cost of a job with the most replicas is {growth:.2f} times that with the fewest.")
    assert growth < 1.5, "the scheduler's cost per job rises with the replicas"
