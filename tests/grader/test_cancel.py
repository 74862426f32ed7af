"""A cancelled job's container is stopped, and the grader takes the next job."""

import time

import pytest
from broadway import ROUTE
from podman import IMAGE
from waiting import wait_until

GRACE_S = 2
HEARTBEAT_S = 1
# Podman's own time for a stop and a start.
ENGINE_S = 3

WAYS = {"socket": (), "command line": ("--engine-arg=--annotation=a=b",)}
# How a stage takes TERM, and how long it may still run.
STAGES = {
    "ends at TERM": ("trap 'exit 0' TERM; echo begun; sleep 60 & wait", 0),
    "ignores TERM": ("trap '' TERM; echo begun; sleep 60 & while :; do wait; done", GRACE_S),
}


def job_state(stack, run, student):
    return stack.api.status(run)["student_statuses"][student]["outcome"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", STAGES)
def test_a_cancelled_jobs_container_is_stopped(stack, start_grader, podman, way, kind):
    script, may_take_s = STAGES[kind]
    flags = ["--runner=podman", "--concurrency=1", f"--stop-grace={GRACE_S}", *WAYS[way]]
    if way == "socket":
        flags.append(f"--engine-socket={podman.socket}")
    start_grader(*flags, env=podman.env)
    stage = {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", 'if [ "$WHO" = first ]; then eval "$SCRIPT"; fi']}
    stage["env"] = {"WHO": "", "SCRIPT": script}
    run = stack.api.submit({"student_pipeline": [stage], "students": [{"WHO": "first"}, {"WHO": "next"}]})
    stack.api.start(run)
    wait_until(podman.containers, 30, "the stage runs")
    job = next(iter(stack.database.leases(run)))["_id"].partition(".")[0]
    assert stack.api.request("POST", f"{ROUTE}/grading_job/{job}/cancel").status_code == 200
    cancelled_at = time.monotonic()
    wait_until(lambda: job_state(stack, run, 1) == "succeeded", 60, "the next job is done")
    took = time.monotonic() - cancelled_at
    assert took < 2 * HEARTBEAT_S + may_take_s + 2 * ENGINE_S, took
    if may_take_s:
        assert took >= may_take_s, "KILL comes after the grace"
    assert job_state(stack, run, 0) == "cancelled"
    wait_until(lambda: podman.containers() == [], 10, "no container is left")
