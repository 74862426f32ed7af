"""What running costs: nothing that grows, and no CPU while waiting."""

import time

import pytest
from broadway import soon
from crowd import Crowd
from harness import run_stack
from pipelines import run_of
from processes import cpu_seconds, descriptors, resident_bytes, threads
from waiting import is_instrumented, wait_until

MIB = 1024 * 1024
WARM_UP, JOBS, PER_RUN = (200, 1000, 100) if is_instrumented() else (1000, 5000, 500)


@pytest.fixture(scope="module")
def busy_stack(tmp_path_factory):
    """With the default heartbeat, so that what is measured is the work."""
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
            # A connection or two may come and go in the driver's pool.
            wait_until(
                lambda name=name: settled(stack, name, before[name]),
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


def settled(stack, name, before):
    now = usage(stack.pid(name))
    return now["threads"] <= before["threads"] + 1 and now["fds"] <= before["fds"] + 4


def show(usage_):
    return f"{usage_['threads']} threads, {usage_['fds']} files, {usage_['rss'] / MIB:.1f} MiB"


def test_connections_that_come_and_go_leave_nothing_behind(busy_stack):
    stack = busy_stack
    pid = stack.pid("api-0")
    before = usage(pid)
    for _ in range(5):
        with Crowd(stack.urls, stack.cluster_token, 40) as crowd:
            crowd.park()
    wait_until(lambda: settled(stack, "api-0", before), soon(15), "the connections' descriptors and threads are gone")


@pytest.mark.skipif(is_instrumented(), reason="a sanitizer's time says nothing")
def test_fifty_waiting_polls_cost_no_cpu(busy_stack, capsys):
    stack = busy_stack
    with Crowd(stack.urls, stack.cluster_token, 50) as crowd:
        crowd.park()
        assert crowd.ready(0.5) == [], "all of them wait"
        pids = [stack.pid("api-0"), stack.pid("scheduler-0")]
        before = [cpu_seconds(pid) for pid in pids]
        time.sleep(3)  # the time over which is measured
        spent = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
    with capsys.disabled():
        print(f"\n50 waiting polls over 3 s: api {spent[0]:.2f} s, scheduler {spent[1]:.2f} s of CPU")
    assert max(spent) <= 0.15
