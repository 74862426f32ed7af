"""Requests of graders: registration, polls, heartbeats."""

import re
import threading
import time

import pytest
from broadway import ROUTE, ClassicGrader, error_of
from course import CourseGrader
from crowd import Crowd
from pipelines import run_of
from raw import connect
from test_health import sample_values
from waiting import PATIENCE, soon, wait_until

REGISTER = f"{ROUTE}/worker_register"


# ---- Registration ----


def test_registration_gives_a_worker_id_and_the_heartbeat_as_an_integer(stack):
    answer = stack.api.request("GET", REGISTER, params={"token": stack.cluster_token})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"worker_id", "heartbeat"}
    assert re.fullmatch("[0-9a-f]{32}", body["worker_id"])
    assert type(body["heartbeat"]) is int and body["heartbeat"] == 1


def test_every_registration_gives_a_fresh_id(stack):
    assert len({stack.grader(n % 3).id for n in range(20)}) == 20


def test_hostname_and_concurrency_are_kept(stack):
    grader = stack.grader(hostname="rack-7.example", concurrency=4)
    stored = stack.database.worker(grader.id)
    assert (stored["hostname"], stored["concurrency"]) == ("rack-7.example", 4)


def test_tags_are_kept_and_the_answer_says_that_they_may_be_stated(stack):
    answer = stack.api.request("GET", REGISTER, params={"token": stack.cluster_token, "tags": "gpu,lab-2.example"})
    assert answer.status_code == 200 and answer.headers["broadway-registration"] == "tags, digests, fault"
    assert stack.database.worker(answer.json()["worker_id"])["tags"] == "gpu,lab-2.example"
    for nothing in ({}, {"tags": ""}):
        answer = stack.api.request("GET", REGISTER, params={"token": stack.cluster_token, **nothing})
        assert stack.database.worker(answer.json()["worker_id"])["tags"] == ""


@pytest.mark.parametrize(
    ("tags", "why"),
    [("a,,b", "empty name"), ("a b", "letters, digits"), ("a" * 65, "64 characters"), (",".join("a" * 33), "32 names")],
)
def test_tags_of_another_form_are_refused_by_a_sentence(stack, tags, why):
    answer = stack.api.request("GET", REGISTER, params={"token": stack.cluster_token, "tags": tags})
    assert answer.status_code == 400
    assert error_of(answer).startswith("tags: ") and why in error_of(answer)


def test_a_worker_is_known_to_every_replica_as_soon_as_it_has_its_id(stack):
    for n in range(12):
        grader = stack.grader(n % 3)
        for url in stack.urls:
            elsewhere = grader.at(url)
            assert elsewhere.poll(wait=0) is None
            assert elsewhere.beat().status_code == 200
            elsewhere.close()


@pytest.mark.parametrize("token", ["", "open-sesame", "0" * 48, None], ids=repr)
def test_a_wrong_or_missing_token_is_400_and_is_not_repeated(stack, token):
    answer = stack.api.request("GET", REGISTER, params={} if token is None else {"token": token})
    assert answer.status_code == 400
    sentence = error_of(answer)
    assert "token" in sentence and not (token and token in sentence)


def test_a_token_with_one_wrong_character_is_refused(stack):
    right = stack.cluster_token
    for token in (right[:-1], right + "0", right.upper() + "x", " " + right):
        assert stack.api.request("GET", REGISTER, params={"token": token}).status_code == 400


# ---- Polls ----


def test_a_poll_with_wait_0_finds_a_job_that_is_there(stack):
    grader = stack.grader()
    links = [grader.at(url) for url in stack.urls]
    stack.graders.extend(links)
    for n in range(40):
        run = stack.apis[n % 3].submit_and_start(run_of(1))
        job = links[(n * 2 + 1) % 3].poll(wait=0)
        assert job is not None and job["job_id"].startswith(run), f"round {n}: the job was there, and not found"
        grader.finish(job)


def test_a_poll_with_wait_0_without_a_job_is_498_and_empty_at_once(stack):
    grader = stack.grader()
    took = []
    for _ in range(20):
        begun = time.monotonic()
        answer = grader.poll_response(wait=0)
        took.append(time.monotonic() - begun)
        assert answer.status_code == 498 and answer.content == b""
    assert sorted(took)[10] < 0.25 * PATIENCE and max(took) < 1.5 * PATIENCE, took


@pytest.mark.parametrize("wait", ["1", "0.5", "1.25"])
def test_a_poll_waits_exactly_as_long_as_requested(stack, wait):
    grader = stack.grader()
    begun = time.monotonic()
    answer = grader.poll_response(wait=wait)
    took = time.monotonic() - begun
    assert answer.status_code == 498 and answer.content == b""
    assert float(wait) - 0.02 <= took < float(wait) + 1.3 * PATIENCE


def test_without_wait_a_poll_is_held_for_the_servers_poll_wait(stack, make_replica):
    short = make_replica(stack, "--heartbeat-interval=1", "--poll-wait=1.5").wait_ready()
    grader = ClassicGrader(short.url, stack.cluster_token)
    begun = time.monotonic()
    assert grader.poll_response().status_code == 498
    assert 1.48 <= time.monotonic() - begun < 2.8 * PATIENCE


class Waiter(threading.Thread):
    """A poll that waits in its own thread."""

    def __init__(self, grader, wait):
        super().__init__(daemon=True)
        self.grader, self.wait_s = grader, wait
        self.job, self.answered_at = None, None
        self.start()

    def run(self):
        self.job = self.grader.poll(self.wait_s)
        self.answered_at = time.monotonic()


@pytest.mark.parametrize("wait", [20, 60])
def test_a_waiting_poll_is_answered_when_a_run_starts(stack, wait):
    waiters = [Waiter(stack.grader(n), wait) for n in range(3)]
    run = stack.api.submit(run_of(3))
    stack.api.start(run)
    started = time.monotonic()
    for waiter in waiters:
        waiter.join(20)
        assert waiter.answered_at - started < soon(1)
    assert len({waiter.job["job_id"] for waiter in waiters}) == 3
    for waiter in waiters:
        waiter.grader.finish(waiter.job)


def test_one_job_goes_to_one_of_many_that_wait(stack):
    waiters = [Waiter(stack.grader(n % 3), 1.5) for n in range(9)]
    stack.api.submit_and_start(run_of(1))
    for waiter in waiters:
        waiter.join(20)
    (lucky,) = [waiter for waiter in waiters if waiter.job is not None]
    lucky.grader.finish(lucky.job)


def test_a_job_is_not_lost_to_a_poll_whose_client_has_gone(stack):
    impatient = stack.grader(1)
    waiter = Waiter(impatient, 30)
    wait_until(waiter.is_alive, 1, "the poll is under way")
    grader = stack.grader(1)
    for _ in range(5):
        assert grader.poll(wait=0) is None
    leave_poll_behind(stack)
    run = stack.api.submit_and_start(run_of(2))
    jobs = {grader.take()["job_id"]}
    waiter.join(20)
    jobs.add(waiter.job["job_id"])
    assert len(jobs) == 2 and all(job.startswith(run) for job in jobs)
    assert {job["attempts"] for job in stack.api.status(run)["student_statuses"]} == {1}
    grader.finish(next(job for job in jobs if job != waiter.job["job_id"]))
    impatient.finish(waiter.job)


def leave_poll_behind(stack):
    """Sends a poll that would wait, and closes the connection."""
    gone = stack.grader(1)
    with connect(stack.urls[1]) as link:
        link.send(f"GET {ROUTE}/grading_job?worker_id={gone.id}&wait=30 HTTP/1.1\r\nHost: x\r\n\r\n")
        gone.beat()


@pytest.mark.parametrize("wait", ["abc", "-1", "61", "60.01", "", "nan", "inf", "0x10", "1e400", "1 "], ids=repr)
def test_a_wait_outside_0_to_60_is_400(stack, wait):
    answer = stack.grader().poll_response(wait=wait)
    assert answer.status_code == 400 and "wait" in error_of(answer)


def test_a_poll_without_or_with_an_unknown_worker_is_400(stack):
    path = f"{ROUTE}/grading_job"
    assert "worker_id" in error_of(stack.api.request("GET", path))
    for worker in ("f" * 32, "x", "", "-1", "é"):
        answer = stack.api.request("GET", path, params={"worker_id": worker, "wait": 0})
        assert answer.status_code == 400 and "worker" in error_of(answer)


def test_the_attempt_is_carried(stack):
    grader = stack.grader()
    stack.api.submit_and_start(run_of(1))
    job = grader.take()
    assert set(job) == {"job_id", "attempt", "stages"} and job["attempt"] == 1
    grader.finish(job)


def test_jobs_are_handed_out_in_the_order_of_students(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(12))
    order = [job["job_id"] for job in stack.api.status(run)["student_statuses"]]
    jobs = [grader.take() for _ in order]
    assert [job["job_id"] for job in jobs] == order
    for job in jobs:
        grader.finish(job)


def test_a_worker_at_its_stated_concurrency_gets_nothing_more(stack):
    grader = stack.grader(concurrency=2)
    stack.api.submit_and_start(run_of(3))
    jobs = [grader.take(), grader.take()]
    grader.beat()
    assert grader.poll(wait=0) is None
    grader.finish(jobs[0])
    jobs.append(grader.take())
    grader.finish(jobs[1])
    grader.finish(jobs[2])


# ---- Heartbeats ----


@pytest.mark.parametrize("style", ["form", "query", "json"])
def test_a_heartbeat_is_200_and_empty(stack, style):
    grader = stack.grader()
    for url in stack.urls:
        answer = grader.at(url).beat(style)
        assert answer.status_code == 200 and answer.content == b""


@pytest.mark.parametrize("style", ["form", "query", "json"])
def test_a_heartbeat_of_an_unknown_worker_is_400(stack, style):
    answer = ClassicGrader.known(stack.urls[0], "0" * 32).beat(style)
    assert answer.status_code == 400 and "worker" in error_of(answer)


def test_a_heartbeat_without_a_worker_is_400(stack):
    answer = stack.api.request("POST", f"{ROUTE}/heartbeat")
    assert answer.status_code == 400 and "worker_id" in error_of(answer)


def test_a_token_is_in_no_log(stack):
    stack.api.request("GET", REGISTER, params={"token": "canary-3f9c-wrong-token"})
    stack.api.request("GET", f"{REGISTER}?token={stack.cluster_token}&bogus=1")
    stack.api.request("GET", f"{ROUTE}/nowhere?token={stack.cluster_token}")
    stack.api.request("POST", REGISTER, data={"token": stack.cluster_token})
    stack.check_logs()
    assert "canary-3f9c" not in stack.log_text()


def test_excess_polls_are_answered_early_and_other_requests_pass(stack, make_replica):
    small = make_replica(stack, "--max-connections=256", "--heartbeat-interval=1").wait_ready()
    grader = stack.grader().at(small.url)
    with Crowd([small.url], stack.cluster_token, 192) as crowd:
        crowd.park()
        wait_until(lambda: parked_polls(small) == 192, 10, "three quarters of the connections wait")
        begun = time.monotonic()
        assert grader.poll_response(wait=20).status_code == 498
        assert 0.9 <= time.monotonic() - begun < 5 * PATIENCE
        assert grader.beat().status_code == 200
        assert crowd.ready(0) == []
    wait_until(lambda: parked_polls(small) == 0, 10, "their places are free again")
    run = stack.api.submit_and_start(run_of(1))
    grader.finish(grader.take())
    assert stack.api.wait_over(run)["state"] == "finished"


def test_excess_polls_of_course_graders_are_answered_early(stack, make_replica):
    small = make_replica(stack, "--max-connections=256", "--course-poll-wait=15").wait_ready()
    grader = CourseGrader(small.url, stack.cluster_token)
    with Crowd([small.url], stack.cluster_token, 192) as crowd:
        crowd.park()
        wait_until(lambda: parked_polls(small) == 192, 10, "three quarters of the connections wait")
        begun = time.monotonic()
        assert grader.poll_response().status_code == 498
        assert 0.9 <= time.monotonic() - begun < 5 * PATIENCE
        assert grader.beat().status_code == 200
    grader.close()


def parked_polls(replica):
    text = replica.internal.request("GET", "/metrics").text
    return sample_values(text)["broadway_api_parked_polls"]
