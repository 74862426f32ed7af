"""The use of resources: no growth over time, and no CPU while waiting."""

import statistics
import time

import pytest
from broadway import ROUTE
from bson import ObjectId
from crowd import Crowd
from harness import run_stack
from pipelines import STUDENT, job_id_of, run_of
from processes import cpu_seconds, descriptors, resident_bytes, threads
from raw import connect
from waiting import is_instrumented, soon, wait_until

MIB = 1024 * 1024
WARM_UP, JOBS, PER_RUN = (200, 1000, 100) if is_instrumented() else (1000, 5000, 500)


@pytest.fixture(scope="module")
def busy_stack(tmp_path_factory):
    """With the default heartbeat, so that the work dominates the measurement."""
    yield from run_stack(tmp_path_factory, "resources", replicas=1)


def do_jobs(stack, crowd, count):
    for _ in range(count // PER_RUN):
        run = stack.api.submit_and_start(run_of(PER_RUN))
        crowd.work(PER_RUN)
        assert stack.api.status(run, students="false")["state"] == "finished"


def test_threads_descriptors_and_memory_do_not_grow_over_thousands_of_jobs(busy_stack, capsys):
    stack = busy_stack
    names = ("api-0", "scheduler-0")
    with Crowd(stack.urls, stack.cluster_token, 16) as crowd:
        crowd.park()
        do_jobs(stack, crowd, WARM_UP)
        before = {name: usage(stack.pid(name)) for name in names}
        begun = time.monotonic()
        do_jobs(stack, crowd, JOBS)
        took = time.monotonic() - begun
        for name in names:
            # The driver's pool may open or close a connection or two.
            wait_until(
                lambda name=name: has_returned(stack, name, before[name]),
                soon(10),
                f"{name} is back to its threads and files",
            )
        after = {name: usage(stack.pid(name)) for name in names}
    with capsys.disabled():
        print(f"\n{JOBS} jobs in {took:.1f} s ({JOBS / took:.0f}/s)")
        for name in names:
            print(f"  {name}: before {show(before[name])}, after {show(after[name])}")
    if not is_instrumented():
        for name in names:
            assert after[name]["rss"] <= before[name]["rss"] * 1.1 + 8 * MIB, f"{name} has grown"


def usage(pid):
    return {"threads": threads(pid), "fds": descriptors(pid), "rss": resident_bytes(pid)}


def has_returned(stack, name, before):
    now = usage(stack.pid(name))
    return now["threads"] <= before["threads"] + 1 and now["fds"] <= before["fds"] + 4


def show(usage_):
    return f"{usage_['threads']} threads, {usage_['fds']} files, {usage_['rss'] / MIB:.1f} MiB"


def test_closed_connections_leave_no_descriptors_or_threads(busy_stack):
    stack = busy_stack
    pid = stack.pid("api-0")
    before = usage(pid)
    for _ in range(5):
        with Crowd(stack.urls, stack.cluster_token, 40) as crowd:
            crowd.park()
    wait_until(
        lambda: has_returned(stack, "api-0", before), soon(15), "the connections' descriptors and threads are gone"
    )


@pytest.mark.skipif(is_instrumented(), reason="a sanitizer's time says nothing")
def test_fifty_waiting_polls_cost_no_cpu(busy_stack, capsys):
    stack = busy_stack
    with Crowd(stack.urls, stack.cluster_token, 50) as crowd:
        crowd.park()
        assert crowd.ready(0.5) == [], "all of them wait"
        pids = [stack.pid("api-0"), stack.pid("scheduler-0")]
        before = [cpu_seconds(pid) for pid in pids]
        time.sleep(3)  # the duration of the measurement
        spent = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
    with capsys.disabled():
        print(f"\n50 waiting polls over 3 s: api {spent[0]:.2f} s, scheduler {spent[1]:.2f} s of CPU")
    assert max(spent) <= 0.15


# ---- The results of a large run ----

STUDENTS, RESULT = 10_000, {"output": "x" * 2000}
# The first byte may take this long, or this many times as long as a short answer on the same machine at the same time.
FIRST_S, FIRST_RATIO = 0.1, 12


@pytest.fixture(scope="module")
def large_run(busy_stack):
    """A finished run of 10,000 students with results of 2 KB: copies of the job of a run that was graded."""
    stack, db = busy_stack, busy_stack.database.db
    small = stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    grader.finish(grader.take(), RESULT)
    model = wait_until(lambda: ended(stack, small), soon(10), "the end of the run is recorded")
    run = stack.api.submit(run_of(STUDENTS))
    for collection, documents in (
        ("job_leases", stack.database.leases(small)),
        ("job_results", stack.database.results(small)),
    ):
        (document,) = documents
        end = document["_id"][32:]
        copies = [{**document, "_id": job_id_of(run, STUDENT, index) + end} for index in range(STUDENTS)]
        for first in range(0, STUDENTS, 500):
            db[collection].insert_many(copies[first : first + 500], ordered=False)
    changed = {name: model[name] for name in ("state", "started_at", "finished_at")}
    db.grading_runs.update_one({"_id": ObjectId(run)}, {"$set": {**changed, "summary": model["summary"] * STUDENTS}})
    return run


def ended(stack, run):
    found = stack.database.run(run)
    return found if "finished_at" in found else None


class Reading:
    """One answer, read to its end, or to its first byte: its length, the seconds to the first byte and to the last one,
    and the most memory that the replica had meanwhile."""

    def __init__(self, stack, path, is_whole=True):
        link, pid = connect(stack.urls[0], timeout=120), stack.pid("api-0")
        begun, self.bytes, self.peak, self.first = time.monotonic(), 0, resident_bytes(pid), None
        link.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while piece := link.socket.recv(1 << 16):
            self.first = self.first or time.monotonic() - begun
            self.bytes += len(piece)
            self.peak = max(self.peak, resident_bytes(pid))
            if not is_whole:
                break
        self.total = time.monotonic() - begun
        link.close()


@pytest.mark.timeout(900)
@pytest.mark.skipif(is_instrumented(), reason="a sanitizer's time and memory say nothing")
def test_the_results_of_ten_thousand_students_come_at_once_with_flat_memory(busy_stack, large_run, capsys):
    """Answers with results are made while they are sent, the status too: the replica's memory does not grow with
    them."""
    stack, path = busy_stack, f"{ROUTE}/grading_run/{large_run}"
    short = f"{path}?students=false"
    paths = {"status": f"{path}?results=true", "csv": f"{path}/results?format=csv", "json": f"{path}/results"}
    for query in paths.values():  # fills the caches, and the allocator's pools
        Reading(stack, query)
    first = {name: median_first(stack, query) for name, query in {**paths, "short": short}.items()}
    before = resident_bytes(stack.pid("api-0"))
    rounds = [{name: Reading(stack, query) for name, query in paths.items()} for _ in range(3)]
    whole = {name: min((seen[name] for seen in rounds), key=lambda reading: reading.total) for name in paths}
    peak = {name: max(seen[name].peak for seen in rounds) for name in paths}
    with capsys.disabled():
        for name, seen in whole.items():
            print(
                f"\n{name}: {seen.bytes / MIB:.1f} MiB, first byte {first[name] * 1000:.0f} ms (a short one: "
                f"{first['short'] * 1000:.0f} ms), all {seen.total:.2f} s, {(peak[name] - before) / MIB:+.1f} MiB",
                end="",
            )
    for name in paths:
        assert peak[name] - before <= 8 * MIB, f"{name}: the replica's memory has grown"
    for name in ("csv", "json"):
        assert first[name] <= max(FIRST_S, FIRST_RATIO * first["short"]), name
    assert whole["json"].bytes > STUDENTS * len(RESULT["output"])
    assert whole["csv"].bytes > STUDENTS * len(large_run)
    assert whole["csv"].total < whole["status"].total


def median_first(stack, path):
    return statistics.median(Reading(stack, path, is_whole=False).first for _ in range(5))
