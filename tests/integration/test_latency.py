"""The time from the start of a run to its hand-out, while graders wait."""

import json
import statistics
import time

import pytest
from crowd import Crowd
from harness import run_stack
from pipelines import run_of
from waiting import is_instrumented

HAND_OUTS, GRADERS = (50 if is_instrumented() else 200), 50


@pytest.fixture(scope="module")
def idle_stack(tmp_path_factory):
    yield from run_stack(tmp_path_factory, "latency", replicas=3)


def test_a_job_started_while_fifty_graders_wait_is_handed_out_in_milliseconds(idle_stack, capsys):
    stack = idle_stack
    took = []
    with Crowd(stack.urls, stack.cluster_token, GRADERS) as crowd:
        crowd.park()
        for n in range(HAND_OUTS):
            run = stack.apis[n % 3].submit(run_of(1))
            begun = time.monotonic()
            stack.apis[(n + 1) % 3].start(run)
            (member,) = crowd.ready()
            took.append(time.monotonic() - begun)
            job = json.loads(member.link.read_answer().body)
            assert job["job_id"].startswith(run)
            member.send_result(job["job_id"])
            assert member.link.read_answer().status == 200
            member.park()
    p50, p99 = statistics.median(took), statistics.quantiles(took, n=100)[98]
    with capsys.disabled():
        print(f"\n{HAND_OUTS} hand-outs, {GRADERS} waiting graders: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")
    if not is_instrumented():
        assert p50 < 0.1
