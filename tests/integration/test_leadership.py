"""Two schedulers: one leads, the other stands by and takes over."""

import time

import pytest
from broadway import Api
from harness import run_stack
from pipelines import run_of
from test_health import sample_values
from waiting import soon, wait_until

LEASE_S = 1.5


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    yield from run_stack(
        tmp_path_factory,
        "pair",
        replicas=2,
        schedulers=2,
        both=("heartbeat-interval=1",),
        scheduler=(f"leader-lease={LEASE_S}",),
    )


def readiness(stack, index):
    """(status code, body) of a scheduler's /readyz; None without an answer."""
    api = Api(stack.described["scheduler"][index]["url"])
    try:
        answer = api.request("GET", "/readyz")
        return answer.status_code, answer.json()
    except Exception:
        return None
    finally:
        api.close()


def leader(stack):
    """The index of the one that leads."""
    for index in range(2):
        answer = readiness(stack, index)
        if answer is not None and answer[0] == 200 and answer[1]["role"] == "leader":
            return index
    return None


def metrics(stack, index):
    api = Api(stack.described["scheduler"][index]["url"])
    try:
        return sample_values(api.request("GET", "/metrics").text)
    finally:
        api.close()


def test_a_standby_is_ready_and_says_who_leads(pair):
    first = leader(pair)
    standby = 1 - first
    wait_until(lambda: "leader" in readiness(pair, standby)[1], 10, "the standby has seen the leader")
    code, body = readiness(pair, standby)
    assert code == 200 and body["role"] == "standby"
    term = readiness(pair, first)[1]["term"]
    assert body["term"] == term
    assert str(pair.described["scheduler"][first]["pid"]) in body["leader"]
    assert metrics(pair, standby)["broadway_scheduler_is_leader"] == 0
    assert metrics(pair, first)["broadway_scheduler_is_leader"] == 1
    assert metrics(pair, standby)["broadway_scheduler_term"] == term


def test_a_killed_leader_is_followed_within_its_lease_and_two_seconds(pair):
    run = pair.api.submit_and_start(run_of(3))
    grader = pair.grader()
    grader.finish(grader.take())
    first = leader(pair)
    term = readiness(pair, first)[1]["term"]
    pair.kill(f"scheduler-{first}")
    killed = time.monotonic()
    job = wait_until(lambda: grader.poll(wait=1), 20, "the next job is handed out")
    seconds = time.monotonic() - killed
    print(f"\nhand-outs resumed {seconds:.2f} s after the leader was killed, with a lease of {LEASE_S} s")
    assert seconds < LEASE_S + 2
    assert readiness(pair, 1 - first)[1]["term"] == term + 1
    wait_until(lambda: metrics(pair, 1 - first)["broadway_scheduler_hand_overs_total"] >= 1, 5, "it is counted")
    grader.finish(job)
    grader.finish(grader.take())
    assert pair.api.wait_over(run)["state"] == "finished"
    pair.restart(f"scheduler-{first}")


def test_a_new_leader_continues_the_count_of_attempts(pair):
    run = pair.api.submit_and_start(run_of(2))
    jobs = [pair.grader(concurrency=1).take()["job_id"] for _ in range(2)]
    leases = pair.database.db.job_leases
    ended = {"_id": {"$in": [f"{job}.1" for job in jobs]}, "ended": "lost"}
    wait_until(lambda: leases.count_documents(ended) == 2, 20, "both graders are lost")
    holder, other = pair.grader(), pair.grader()
    held = holder.take(20)
    first = leader(pair)
    pair.kill(f"scheduler-{first}")
    job = other.take(20)
    assert {held["job_id"], job["job_id"]} == set(jobs)
    assert (held["attempt"], job["attempt"]) == (2, 2)
    holder.finish(held)
    other.finish(job)
    status = pair.api.wait_over(run)
    assert [student["attempts"] for student in status["student_statuses"]] == [2, 2]
    pair.restart(f"scheduler-{first}")


def test_a_stopped_leader_releases_its_lease_at_once(pair):
    first = leader(pair)
    began = time.monotonic()
    pair.kill(f"scheduler-{first}", 15)
    wait_until(lambda: leader(pair) == 1 - first, 10, "the other one leads")
    assert time.monotonic() - began < LEASE_S + soon(1)
    pair.restart(f"scheduler-{first}")


def test_a_leader_paused_for_longer_than_its_lease_is_deposed(pair):
    first = leader(pair)
    run = pair.api.submit_and_start(run_of(20))
    grader = pair.grader()
    grader.finish(grader.take())
    pair.kill(f"scheduler-{first}", 19)
    try:
        wait_until(lambda: leader_of_one(pair, 1 - first), 20, "the other one leads")
        for _ in range(5):
            grader.finish(grader.take())
    finally:
        pair.kill(f"scheduler-{first}", 18)
    wait_until(lambda: readiness(pair, first)[1]["role"] == "standby", 10, "it stands by")
    for _ in range(14):
        grader.finish(grader.take())
    status = pair.api.wait_over(run)
    assert status["state"] == "finished"
    assert {job["outcome"] for job in status["student_statuses"]} == {"succeeded"}


def leader_of_one(stack, index):
    answer = readiness(stack, index)
    return answer is not None and answer[0] == 200 and answer[1]["role"] == "leader"
