"""Pre- and post-processing jobs contain all students: many hand-outs of megabytes at once."""

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from harness import run_stack
from pipelines import run_of, stage
from processes import resident_bytes
from test_health import sample_values
from waiting import PATIENCE, is_instrumented, wait_until

MIB = 1024 * 1024
HEAVY, STUDENTS, VALUE = 10, 40_000, 140  # some 6 MB each
AMPLIFIED = 40  # jobs of 1.7 MB from a submission of 126 KB; half of them exceed the limit of a callback (32 MiB)
GROWTH_MIB = 120  # less than all of them while they are built


@pytest.fixture(scope="module")
def heavy_stack(tmp_path_factory):
    yield from run_stack(tmp_path_factory, "heavy", replicas=1)


class Watch:
    """Records the peak of a process's memory."""

    def __init__(self, pid):
        self.pid, self.before, self.peak = pid, resident_bytes(pid), 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def _sample(self):
        while not self.stopped.wait(0.02):
            self.peak = max(self.peak, resident_bytes(self.pid))

    def growth_mib(self):
        return (self.peak - self.before) // MIB


def take_all(stack, count, wait=50):
    """One grader per job, which takes it and sends its result; returns the sizes of the hand-outs."""
    graders = [stack.grader() for _ in range(count)]

    def one(grader):
        answer = grader.poll_response(wait=wait)
        assert answer.status_code == 200, answer.status_code
        grader.finish(json.loads(answer.content)["job_id"])
        return len(answer.content)

    pool = ThreadPoolExecutor(count)
    taken = [pool.submit(one, grader) for grader in graders]
    wait_until(lambda: metric(stack, "broadway_api_parked_polls") >= count, 20, "all graders wait")
    return pool, taken


def metric(stack, name):
    url = stack.described["api"][0]["internal_url"]
    return sample_values(httpx.get(f"{url}/metrics", trust_env=False).text)[name]


def put_off(stack):
    """How many hand-outs were put off so far."""
    return metric(stack, 'broadway_api_hand_outs_total{outcome="later"}')


@contextmanager
def stopped(stack, name):
    """Stops a process by SIGSTOP within the block."""
    stack.kill(name, signal.SIGSTOP)
    try:
        yield
    finally:
        stack.kill(name, signal.SIGCONT)


def test_a_small_run_is_handed_out_at_once_during_large_hand_outs(heavy_stack, capsys):
    stack = heavy_stack
    students = [{"N": "x" * VALUE + str(number)} for number in range(STUDENTS)]
    heavy = run_of(0, pre=True, students=students, student_pipeline=[stage()], priority=0)
    runs = [stack.api.submit(heavy) for _ in range(HEAVY)]
    pool, taken = take_all(stack, HEAVY)
    small = stack.grader()
    with Watch(stack.pid("api-0")) as watch:
        for run in runs:
            stack.api.start(run)
        begun = time.monotonic()
        run = stack.api.submit_and_start(run_of(1, priority=100))
        job = small.take(20)
        while job["job_id"][:24] != run:  # one of the large jobs, if no other grader has polled yet
            small.finish(job)
            job = small.take(20)
        took = time.monotonic() - begun
        small.finish(job)
        sizes = [done.result(timeout=60 * PATIENCE) for done in taken]
    pool.shutdown()
    for run in runs:
        stack.api.cancel(run)
    with capsys.disabled():
        print(f"\nsmall run after {took:.2f} s, {sum(sizes) // MIB} MiB handed out, grown by {watch.growth_mib()} MiB")
    assert took < 3 * PATIENCE
    assert "replica out of contact" not in stack.log_text()
    if not is_instrumented():
        assert watch.growth_mib() < GROWTH_MIB


def test_no_attempt_fails_while_hand_outs_are_put_off(heavy_stack, capsys):
    stack = heavy_stack
    env = {f"B{number}": "$A" for number in range(14)}
    definition = run_of(AMPLIFIED, env={"A": "a" * 125_000}, student_pipeline=[stage(env=env)])
    run = stack.api.submit(definition)
    pool, taken = take_all(stack, AMPLIFIED)
    before = put_off(stack)
    with Watch(stack.pid("api-0")) as watch:
        with stopped(stack, "scheduler-0"):
            stack.api.start(run)
            stack.kill("api-0", signal.SIGSTOP)
        # The first callback has the leases that were stored first, the second all others: one has half of the jobs.
        wait_until(lambda: len(stack.database.leases(run)) == AMPLIFIED, 20, "all jobs have a lease")
        stack.kill("api-0", signal.SIGCONT)
        sizes = [done.result(timeout=60 * PATIENCE) for done in taken]
    pool.shutdown()
    assert min(sizes) > 14 * 125_000
    assert put_off(stack) > before  # together they are larger than a callback may be
    status = wait_until(lambda: stack.api.is_over(run) and stack.api.status(run), 20, "the run is over")
    assert status["state"] == "finished"
    assert {student["attempts"] for student in status["student_statuses"]} == {1}
    with capsys.disabled():
        later, grown = put_off(stack) - before, watch.growth_mib()
        print(f"\n{AMPLIFIED} jobs of {sizes[0] / MIB:.1f} MiB, {later:.0f} times put off, grown by {grown} MiB")
    if not is_instrumented():
        assert watch.growth_mib() < GROWTH_MIB
