"""A run of 200 students, with four graders over three replicas, while processes are killed: the run ends with one
result per job."""

import contextlib
import signal
import threading
import time

import httpx
import pytest
from broadway import ROUTE, BackgroundGrader, ClassicGrader, stop_all
from harness import run_stack
from history import check_history
from pipelines import POST, PRE, kind_of, run_of
from processes import is_running
from waiting import PATIENCE, soon, wait_until

STUDENTS = 200
END_S = 60


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory):
    yield from run_stack(tmp_path_factory, "faults", replicas=3, both=("heartbeat-interval=1",))


@pytest.fixture
def fault_stack(module_stack):
    """The module's stack, complete and with an empty queue; processes that the test killed are restarted after it."""
    module_stack.drain()
    yield module_stack
    module_stack.stop_graders()
    for name in ("database", "scheduler-0", "api-0", "api-1", "api-2"):
        if not is_running(module_stack.pid(name)):
            module_stack.restart(name)


@contextlib.contextmanager
def four_graders(stack, seconds_per_job=0.02):
    """Each begins at another replica, and changes to the next after a failure."""

    def grade(job):
        threading.Event().wait(seconds_per_job)
        return {"graded": job["job_id"]}

    graders = [BackgroundGrader(stack.urls, stack.cluster_token, grade, first=n % 3, wait=2) for n in range(4)]
    try:
        yield graders
    finally:
        stop_all(graders)


def start_run(stack, pre=True, post=True):
    return stack.apis[0].submit_and_start(run_of(STUDENTS, pre=pre, post=post))


def results_so_far(stack, run):
    return len(stack.database.results(run))


def wait_for_results(stack, run, count):
    wait_until(lambda: results_so_far(stack, run) >= count, 30, f"{count} results are there")


def test_200_students_with_pre_and_post_each_job_once_in_order(fault_stack):
    stack = fault_stack
    with four_graders(stack, 0.005) as graders:
        run = start_run(stack)
        status = stack.api.wait_over(run, END_S)
    assert status["state"] == "finished"
    names = [job["stages"][0]["env"]["NETID"] for job in status["student_statuses"]]
    assert names == [f"student{n}" for n in range(STUDENTS)]
    assert {(job["outcome"], job["attempts"]) for job in status["student_statuses"]} == {("succeeded", 1)}
    assert [job["result"]["graded"] for job in status["student_statuses"]] == [
        job["job_id"] for job in status["student_statuses"]
    ]
    leases = check_history(stack, run, STUDENTS, graders=graders)
    assert len(leases) == STUDENTS + 2
    taken = sorted((lease["leased_at"], kind_of(lease["_id"])) for lease in leases)
    assert taken[0][1] == PRE and taken[-1][1] == POST
    assert sum(len(grader.accepted) for grader in graders) == STUDENTS + 2
    assert all(len(grader.taken) > STUDENTS / 20 for grader in graders), "every grader had its share"


def test_a_grader_killed_in_a_job_loses_it_to_another_and_the_run_ends(fault_stack):
    stack = fault_stack
    victim = BackgroundGrader(stack.urls, stack.cluster_token, grade=lambda job: victim.vanish())
    run = start_run(stack)
    wait_until(lambda: victim.taken, 10, "the victim has a job")
    died = time.monotonic()
    with four_graders(stack, 0.002) as graders:
        lost_job = victim.taken[0][0]
        wait_until(
            lambda: any(job == lost_job and attempt == 2 for g in graders for job, attempt, _ in g.taken),
            3.5 + 3,
            "another grader has the lost job",
        )
        assert time.monotonic() - died < 2.5 + 1 + 3 * PATIENCE
        assert stack.api.wait_over(run, END_S)["state"] == "finished"
    leases = check_history(stack, run, STUDENTS, graders=graders)
    assert len(leases) == STUDENTS + 3
    assert [lease["ended"] for lease in leases if "ended" in lease] == ["lost"]


def test_a_scheduler_killed_in_mid_run_and_started_again(fault_stack):
    stack = fault_stack
    with four_graders(stack) as graders:
        run = start_run(stack)
        for results in (30, 100):
            wait_for_results(stack, run, results)
            stack.kill("scheduler-0")
            answer = stack.apis[1].status(run)  # the status is answered without a leader
            assert answer["progress"]["succeeded"] >= results - 1
            stack.restart("scheduler-0")
        assert stack.api.wait_over(run, END_S)["state"] == "finished"
    check_history(stack, run, STUDENTS, graders=graders)


def test_without_a_scheduler_polls_are_answered_empty_after_their_wait(fault_stack):
    stack = fault_stack
    grader = stack.grader()
    stack.kill("scheduler-0")
    run = stack.api.submit_and_start(run_of(1))
    begun = time.monotonic()
    assert grader.poll(wait=1) is None
    assert 0.98 <= time.monotonic() - begun < 1 + 2 * PATIENCE
    assert stack.api.status(run)["student_statuses"][0]["status"] == "Queued"
    assert grader.beat().status_code == 200
    stack.restart("scheduler-0")
    grader.finish(grader.take())
    assert stack.api.status(run)["state"] == "finished"


def test_a_replica_killed_with_parked_polls(fault_stack):
    stack = fault_stack
    with four_graders(stack) as graders:
        parked = [BackgroundGrader(stack.urls, stack.cluster_token, first=1, wait=4) for _ in range(5)]
        stack.kill("api-1")
        run = start_run(stack)
        wait_for_results(stack, run, 60)
        stack.restart("api-1")
        assert stack.apis[0].wait_over(run, END_S)["state"] == "finished"
        stop_all(parked)
    check_history(stack, run, STUDENTS, graders=[*graders, *parked])


def test_a_replica_killed_in_mid_run(fault_stack):
    stack = fault_stack
    with four_graders(stack) as graders:
        run = start_run(stack)
        for name in ("api-2", "api-1"):
            wait_for_results(stack, run, 40)
            stack.kill(name)
            stack.restart(name)
        assert stack.apis[0].wait_over(run, END_S)["state"] == "finished"
    check_history(stack, run, STUDENTS, graders=graders)


def test_the_database_killed_in_mid_run_and_started_again(fault_stack):
    stack = fault_stack
    with four_graders(stack) as graders:
        run = start_run(stack)
        wait_for_results(stack, run, 50)
        accepted = [job for grader in graders for job in grader.accepted]
        stack.kill("database")
        time.sleep(1)  # the duration of the outage
        stack.restart("database")
        for api in stack.apis:
            wait_until(lambda api=api: api.answers(200, "GET", f"{ROUTE}/grading_run/{run}"), 20, "statuses are back")
        kept = {result["_id"] for result in stack.database.results(run)}
        assert set(accepted) <= kept, "a result that was answered 200 is gone"
        assert stack.api.wait_over(run, END_S)["state"] == "finished"
    check_history(stack, run, STUDENTS, graders=graders)


def test_while_the_database_is_unavailable_graders_are_not_refused(fault_stack):
    stack = fault_stack
    grader = stack.grader()
    stack.api.submit_and_start(run_of(1))
    job = grader.take()
    stack.kill("database")
    internal = httpx.Client(base_url=stack.described["api"][0]["internal_url"], timeout=20, trust_env=False)
    try:
        wait_until(lambda: internal.get("/readyz").status_code == 503, 15, "the replica is not ready")
        assert internal.get("/healthz").status_code == 200, "alive all the same"
        begun = time.monotonic()
        assert grader.poll_response(wait=1).status_code == 498
        assert 0.98 <= time.monotonic() - begun < 5 * PATIENCE
        assert grader.beat().status_code == 200
        answer = stack.api.request("GET", f"{ROUTE}/grading_run/{job['job_id'][:24]}")
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1 and "error" in answer.json()
        late = threading.Thread(target=grader.finish, args=(job, "waited for the database"))
        late.start()
    finally:
        stack.restart("database")
        internal.close()
    late.join(40)
    result = stack.api.wait_over(job["job_id"][:24], 20)["student_statuses"][0]["result"]
    assert result == "waited for the database"


def test_attempts_are_counted_across_leaders(fault_stack):
    stack = fault_stack
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(4, pre=True))
    grader.finish(grader.take())
    jobs = [grader.take() for _ in range(3)]
    stack.kill("scheduler-0")
    for job in jobs:
        grader.finish(job)
    before = [job["attempts"] for job in stack.api.status(run)["student_statuses"]]
    stack.restart("scheduler-0")
    grader.finish(grader.take())
    status = stack.api.wait_over(run)
    assert before == [1, 1, 1, 0]
    assert [job["attempts"] for job in status["student_statuses"]] == [1, 1, 1, 1]
    assert status["preprocessing_status"]["attempts"] == 1


def test_while_the_database_is_paused_answers_take_bounded_time(fault_stack):
    stack = fault_stack
    grader, stranger = stack.grader(), stack.grader()
    stack.api.submit_and_start(run_of(1))
    job = grader.take()
    run = job["job_id"][:24]
    internal = httpx.Client(base_url=stack.described["api"][0]["internal_url"], timeout=30, trust_env=False)
    stack.kill("database", signal.SIGSTOP)
    try:
        wait_until(lambda: internal.get("/readyz").status_code == 503, 15, "the replica has noticed")
        for path, method in ((f"grading_run/{run}", "GET"), ("grading_run", "POST"), (f"grading_run/{run}", "POST")):
            begun = time.monotonic()
            answer = stack.api.request(method, f"{ROUTE}/{path}", json=run_of(1) if path == "grading_run" else None)
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
            took = time.monotonic() - begun
            assert took < soon(1), f"while the database is away, 503 comes at once: {method} {path} took {took:.2f} s"
        begun = time.monotonic()
        assert stranger.at(stack.urls[0]).beat().status_code == 200
        assert grader.poll_response(wait=0).status_code == 498
        assert time.monotonic() - begun < soon(2)
        waiting = [threading.Thread(target=grader.at(url).finish, args=(job, "held")) for url in stack.urls]
        for thread in waiting:
            thread.start()
    finally:
        stack.kill("database", signal.SIGCONT)
    for thread in waiting:
        thread.join(40)
    wait_until(lambda: internal.get("/readyz").status_code == 200, 15, "the replica is ready again")
    internal.close()
    assert stack.api.wait_over(run, 20)["student_statuses"][0]["result"] == "held"


def test_everything_killed_at_once_and_started_again(fault_stack):
    stack = fault_stack
    with four_graders(stack) as graders:
        run = start_run(stack)
        wait_for_results(stack, run, 40)
        names = ("api-0", "api-1", "api-2", "scheduler-0", "database")
        for name in names:
            stack.kill(name)
        for name in reversed(names):
            stack.restart(name)
        assert stack.apis[0].wait_over(run, END_S)["state"] == "finished"
    check_history(stack, run, STUDENTS, graders=graders)


def test_a_grader_of_one_replica_is_known_after_its_restart(fault_stack):
    stack = fault_stack
    grader = stack.grader(0)
    stack.kill("api-0")
    stack.restart("api-0")
    again = ClassicGrader.known(stack.urls[0], grader.id)
    assert again.poll(wait=0) is None
    run = stack.apis[1].submit_and_start(run_of(1))
    again.finish(again.take())
    assert stack.apis[2].status(run)["state"] == "finished"
    again.close()
