"""Jobs whose grader is lost: handed out again, to others, up to the limit; and what late results are worth."""

import json
import time

import pytest
from broadway import ROUTE, Api, BackgroundGrader, error_of, soon
from harness import run_stack
from pipelines import run_of, stage
from raw import connect
from test_health import sample_values
from waiting import PATIENCE, holds_for, wait_until

# With a heartbeat of 1 s: dead after 2 intervals + 1 s, and the first retry comes at once.
LOST_S = 3.5


def lease_of(stack, job, attempt):
    return stack.database.db.job_leases.find_one({"_id": f"{job['job_id']}.{attempt}"})


def take_and_vanish(stack):
    """A job in the hands of a grader that says nothing more."""
    lost = stack.grader(concurrency=1)
    return lost, lost.take()


def test_a_lost_graders_job_goes_to_another_which_is_told_the_attempt(stack):
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


def test_a_classic_grader_that_states_neither_is_not_judged_by_heartbeats_while_it_works(stack):
    stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    job = grader.take()
    holds_for(lambda: "ended" not in lease_of(stack, job, 1), LOST_S + 1, "its job stays with it")
    grader.finish(job)


def test_a_dead_grader_is_shown_dead_and_lives_again_when_it_is_heard(stack):
    grader = stack.grader(concurrency=1)
    assert stack.database.worker(grader.id)["alive"]
    wait_until(lambda: not stack.database.worker(grader.id)["alive"], LOST_S + soon(2), "the silent grader is dead")
    assert grader.beat().status_code == 200
    wait_until(lambda: stack.database.worker(grader.id)["alive"], soon(2), "it lives again")


def test_a_grader_that_beats_keeps_its_job(stack):
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
    answer = lost.finish_response(job, "too late")
    assert answer.status_code == 400 and "already" in error_of(answer)


def take_and_vanish_by_waiting(stack):
    lost = stack.grader(concurrency=1)
    return lost, lost.take(LOST_S + 7 + soon(2))


def test_after_three_lost_graders_the_default_is_exhausted_and_the_run_goes_on(stack):
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
def hasty_stack(tmp_path_factory):
    """Jobs without a timeout may take two seconds, twice."""
    flags = ("job-timeout=2", "max-attempts=2")
    yield from run_stack(tmp_path_factory, "hasty", replicas=1, both=("heartbeat-interval=1",), scheduler=flags)


def test_a_job_past_its_deadline_is_handed_out_again_though_its_grader_beats(hasty_stack):
    stack = hasty_stack
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


def test_two_stages_without_a_timeout_have_a_job_timeout_each(hasty_stack):
    stack = hasty_stack
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


def test_the_runs_own_max_attempts_wins_up_to_the_flags(hasty_stack):
    stack = hasty_stack
    run = stack.api.submit_and_start(run_of(1, max_attempts=10))
    grader = stack.grader()
    deadline_s = 2 + 2 * PATIENCE
    for attempt in (1, 2):
        job = wait_until(lambda: grader.poll(wait=1), deadline_s + 3, f"attempt {attempt} comes")
        assert job["attempt"] == attempt
    (failed,) = stack.api.wait_over(run, deadline_s + 3)["student_statuses"]
    assert (failed["outcome"], failed["attempts"]) == ("failed", 2)
    assert failed["result"] == "deadline passed 2 times"


@pytest.mark.parametrize("named", ["nobody", "another worker"])
def test_whoever_drips_a_result_keeps_no_grader_alive_but_itself(stack, named):
    """The job's id is known to many; the worker's is a secret."""
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


def test_an_upload_under_way_is_a_sign_of_life(stack):
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
            time.sleep(0.4)  # a slow line, not a wait
        assert link.read_answer().status == 200
    assert [lease.get("ended") for lease in stack.database.leases(run)] == [None]
    assert stack.api.wait_over(run)["student_statuses"][0]["attempts"] == 1
