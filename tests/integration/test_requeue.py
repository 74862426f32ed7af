"""Jobs of lost graders are handed out again, to others, up to the limit; and late results."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from broadway import ROUTE, Api, BackgroundGrader, error_of
from harness import run_stack
from pipelines import run_of, stage
from raw import connect
from test_health import sample_values
from waiting import PATIENCE, holds_for, soon, wait_until

# With a heartbeat of 1 s: dead after 2 intervals + 1 s, and the first retry is immediate.
LOST_S = 3.5


def lease_of(stack, job, attempt):
    return stack.database.db.job_leases.find_one({"_id": f"{job['job_id']}.{attempt}"})


def take_and_vanish(stack):
    """Lets a grader take a job and stop sending."""
    lost = stack.grader(concurrency=1)
    return lost, lost.take()


def test_a_lost_graders_job_goes_to_another_with_the_next_attempt(stack):
    run = stack.api.submit_and_start(run_of(1))
    lost, job = take_and_vanish(stack)
    grader = stack.grader(1)
    again = grader.take(LOST_S + soon(2))
    assert (again["job_id"], again["attempt"]) == (job["job_id"], 2)
    assert again["stages"] == job["stages"]
    assert lease_of(stack, job, 1)["ended"] == "lost" and lease_of(stack, job, 1)["worker"] == lost.id
    grader.finish(again)
    status = stack.api.status(run)
    assert status["state"] == "finished" and status["student_statuses"][0]["attempts"] == 2


@pytest.mark.parametrize("stated", [{"hostname": "lab-7"}, {"hostname": ""}, {"concurrency": 2}])
def test_a_grader_that_states_a_hostname_or_concurrency_and_dies_on_its_first_job_is_lost_in_time(stack, stated):
    stack.api.submit_and_start(run_of(1))
    job = stack.grader(**stated).take()
    again = stack.grader(concurrency=1).take(LOST_S + soon(2))
    assert (again["job_id"], again["attempt"]) == (job["job_id"], 2)
    assert lease_of(stack, job, 1)["ended"] == "lost"


@pytest.mark.parametrize("stated", [{"hostname": "lab-7"}, {"concurrency": 1}])
def test_a_grader_that_polled_silently_keeps_the_job_of_that_poll(stack, stated):
    """The grader may be silent while its poll waits; it sends its first heartbeat after it got the job."""
    grader = stack.grader(**stated)
    with ThreadPoolExecutor(1) as pool:
        polled = pool.submit(grader.poll, wait=4 * LOST_S)
        time.sleep(LOST_S + 1)
        run = stack.api.submit_and_start(run_of(1))
        job = polled.result()
    time.sleep(0.7)
    ends = time.monotonic() + LOST_S
    while time.monotonic() < ends:
        assert grader.beat().status_code == 200
        time.sleep(0.5)
    grader.finish(job)
    assert lease_of(stack, job, 2) is None and "ended" not in lease_of(stack, job, 1)
    assert stack.api.status(run)["student_statuses"][0]["attempts"] == 1


def test_a_grader_whose_poll_ended_empty_is_timed_from_its_end(stack):
    grader = stack.grader(concurrency=1)
    assert grader.poll(wait=LOST_S + 1) is None
    holds_for(lambda: stack.database.worker(grader.id)["alive"], 1.5, "it lives on behind its poll")
    wait_until(lambda: not stack.database.worker(grader.id)["alive"], LOST_S + soon(2), "then its silence counts")


def test_a_classic_grader_that_states_neither_needs_no_heartbeats_while_it_works(stack):
    stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    job = grader.take()
    holds_for(lambda: "ended" not in lease_of(stack, job, 1), LOST_S + 1, "its job stays with it")
    grader.finish(job)


def test_a_dead_grader_is_shown_dead_and_alive_again_once_seen(stack):
    grader = stack.grader(concurrency=1)
    assert stack.database.worker(grader.id)["alive"]
    wait_until(lambda: not stack.database.worker(grader.id)["alive"], LOST_S + soon(2), "the silent grader is dead")
    assert grader.beat().status_code == 200
    wait_until(lambda: stack.database.worker(grader.id)["alive"], soon(2), "it lives again")


def test_a_grader_that_sends_heartbeats_keeps_its_job(stack):
    grader = stack.grader(concurrency=1)
    stack.api.submit_and_start(run_of(1))
    job = grader.take()

    def beats_and_holds():
        return grader.beat().status_code == 200 and "ended" not in lease_of(stack, job, 1)

    holds_for(beats_and_holds, 4, "a grader that beats keeps its job")
    grader.finish(job)


def test_a_late_result_counts_if_it_is_the_first_and_the_second_is_refused(stack):
    run = stack.api.submit_and_start(run_of(1))
    lost, job = take_and_vanish(stack)
    grader = stack.grader(1)
    again = grader.take(LOST_S + soon(2))
    lost.finish(job, "the late one")
    answer = grader.finish_response(again, "the second one")
    assert answer.status_code == 400 and "already" in error_of(answer)
    status = stack.api.status(run, results="true")
    assert status["state"] == "finished" and status["student_statuses"][0]["result"] == "the late one"


def test_a_late_result_before_the_job_is_handed_out_again_drops_the_retry(stack):
    run = stack.api.submit_and_start(run_of(1))
    lost, job = take_and_vanish(stack)
    wait_until(lambda: lease_of(stack, job, 1).get("ended"), LOST_S + soon(2), "the lease has ended")
    lost.finish(job, "late, but first")
    assert stack.api.status(run)["state"] == "finished"
    assert stack.grader().poll(wait=0) is None


@pytest.mark.parametrize("attempts", [1, 2])
def test_after_the_last_attempt_a_job_fails_with_a_reason(stack, attempts):
    run = stack.api.submit_and_start(run_of(1, max_attempts=attempts))
    for attempt in range(attempts):
        lost, job = take_and_vanish_by_waiting(stack)
        assert job["attempt"] == attempt + 1
    (failed,) = stack.api.wait_over(run, LOST_S + soon(3))["student_statuses"]
    assert (failed["status"], failed["outcome"], failed["attempts"]) == ("Finished", "failed", attempts)
    assert failed["result"] == f"grader lost {attempts} time{'s' if attempts > 1 else ''}"
    assert failed["owner"] == "infrastructure"
    answer = lost.finish_response(job, "too late")
    assert answer.status_code == 400 and "already" in error_of(answer)


def take_and_vanish_by_waiting(stack):
    lost = stack.grader(concurrency=1)
    return lost, lost.take(LOST_S + 7 + soon(2))


def test_after_three_lost_graders_the_job_fails_and_the_run_continues(stack):
    run = stack.api.submit_and_start(run_of(2, post=True))
    first = stack.grader()
    kept = None
    for attempt in (1, 2, 3):
        _, job = take_and_vanish_by_waiting(stack)
        assert job["attempt"] == attempt and job["job_id"].endswith("10000000")
        kept = kept or first.take()
    wait_until(lambda: stack.database.result(job["job_id"]), LOST_S + soon(3), "the job is given up")
    first.finish(kept)
    first.finish(first.take())
    status = stack.api.status(run, results="true")
    given_up, graded = status["student_statuses"]
    assert (given_up["outcome"], given_up["result"]) == ("failed", "grader lost 3 times")
    assert graded["outcome"] == "succeeded" and status["state"] == "finished"
    leases = stack.database.leases_of_job(given_up["job_id"])
    assert [lease["ended"] for lease in leases] == ["lost"] * 3
    assert [lease["_id"][-1] for lease in leases] == ["1", "2", "3"]


def test_a_given_up_pre_processing_job_fails_the_run(stack):
    run = stack.api.submit_and_start(run_of(2, pre=True, post=True, max_attempts=1))
    take_and_vanish(stack)
    status = stack.api.wait_over(run, LOST_S + soon(3))
    assert status["state"] == "failed"
    assert status["preprocessing_status"]["result"] == "grader lost 1 time"
    assert {job["outcome"] for job in status["student_statuses"]} == {"cancelled"}


@pytest.fixture(scope="module")
def short_timeout_stack(tmp_path_factory):
    """Jobs without a timeout may take two seconds, with two attempts."""
    flags = ("job-timeout=2", "max-attempts=2")
    yield from run_stack(tmp_path_factory, "hasty", replicas=1, both=("heartbeat-interval=1",), scheduler=flags)


def test_a_job_past_its_deadline_is_handed_out_again_despite_heartbeats(short_timeout_stack):
    stack = short_timeout_stack
    stuck = []

    def hang(job):
        stuck.append(job)
        wait_until(lambda: stack.database.result(job["job_id"]), 20, "others have ended the stuck job")
        return "after the deadline"

    with BackgroundGrader(stack.urls, stack.cluster_token, grade=hang, wait=1) as hanging:
        run = stack.api.submit_and_start(run_of(1, max_attempts=10))
        wait_until(lambda: stuck, 5, "the job is stuck")
        grader = stack.grader()
        again = grader.take(2 + soon(3))
        assert again["attempt"] == 2
        (first, _) = stack.database.leases(run)
        assert first["ended"] == "expired"
        wait_until(lambda: workers_stuck(stack) == 1, 5, "its grader shows as stuck")
        grader.finish(again)
        assert stack.api.status(run)["state"] == "finished"
        wait_until(lambda: workers_stuck(stack) == 0, 5, "it works again")
    assert len(hanging.refused) == 1


def test_each_stage_without_a_timeout_has_the_job_timeout(short_timeout_stack):
    stack = short_timeout_stack
    stack.api.submit_and_start({**run_of(1), "student_pipeline": [stage(), stage()]})
    job = stack.grader().take()
    lease = lease_of(stack, job, 1)
    assert (lease["deadline"] - lease["leased_at"]).total_seconds() == pytest.approx(4, abs=0.5)
    holds_for(lambda: "ended" not in lease_of(stack, job, 1), 3, "it is not ended after one --job-timeout")
    grader = stack.grader()
    grader.finish(grader.take(soon(3)))
    assert lease_of(stack, job, 1)["ended"] == "expired"


def workers_stuck(stack):
    api = Api(stack.described["scheduler"][0]["url"])
    try:
        return sample_values(api.request("GET", "/metrics").text)["broadway_scheduler_workers_stuck"]
    finally:
        api.close()


def test_the_runs_own_max_attempts_wins_up_to_the_flags(short_timeout_stack):
    stack = short_timeout_stack
    run = stack.api.submit_and_start(run_of(1, max_attempts=10))
    grader = stack.grader()
    deadline_s = 2 + 2 * PATIENCE
    for attempt in (1, 2):
        job = wait_until(lambda: grader.poll(wait=1), deadline_s + 3, f"attempt {attempt} comes")
        assert job["attempt"] == attempt
    (failed,) = stack.api.wait_over(run, deadline_s + 3)["student_statuses"]
    assert (failed["outcome"], failed["attempts"]) == ("failed", 2)
    assert failed["result"] == "deadline passed 2 times"
    job = stack.api.request("GET", f"{ROUTE}/grading_job/{failed['job_id']}").json()
    assert [attempt["end"] for attempt in job["attempts"]] == ["deadline", "deadline"]
    assert job["reason"] == job["result"] == failed["result"] and "signature" not in job
    assert job["owner"] == failed["owner"] == "infrastructure"


@pytest.mark.parametrize("named", ["nobody", "another worker"])
def test_a_slow_upload_keeps_only_its_own_grader_alive(stack, named):
    """A job's id is public; a worker's is a secret."""
    run = stack.api.submit_and_start(run_of(1))
    grader = stack.grader(concurrency=1)
    job = grader.take()
    begin = b'{"result": "' if named == "nobody" else f'{{"worker_id": "{stack.grader().id}", "result": "'.encode()
    with connect(stack.urls[0]) as link:
        link.send(f"POST {ROUTE}/grading_job/{job['job_id']} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        link.send(begin)

        def is_lost():
            link.send(b"x" * 100)
            return [lease.get("ended") for lease in stack.database.leases(run)][:1] == ["lost"]

        wait_until(is_lost, 10, "the silent grader has lost its job")
    stack.api.cancel(run)


def test_an_upload_in_progress_counts_as_a_heartbeat(stack):
    run = stack.api.submit_and_start(run_of(1))
    grader = stack.grader(concurrency=1)
    job = grader.take()
    body = json.dumps({"worker_id": grader.id, "result": "x" * 2000}).encode()
    with connect(stack.urls[0]) as link:
        link.send(
            f"POST {ROUTE}/grading_job/{job['job_id']} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        for n in range(0, len(body), len(body) // 12):
            link.send(body[n : n + len(body) // 12])
            time.sleep(0.4)  # the pace of a slow line
        assert link.read_answer().status == 200
    assert [lease.get("ended") for lease in stack.database.leases(run)] == [None]
    assert stack.api.wait_over(run)["student_statuses"][0]["attempts"] == 1
