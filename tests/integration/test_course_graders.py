"""Graders that poll, in the course protocol."""

import time

import pytest
from course import NO_JOBS, CourseGrader, config_of, failed, stage
from course_names import unique
from pipelines import CONFINED, run_of
from waiting import wait_until

UNKNOWN_JOB = "job with the given ID not found"
NOT_STARTED = "cannot update job that is not in STARTED state"
RESULT = {"grading_job_id": "x", "success": True, "results": [], "logs": {}}


# Registration


def test_a_new_id_is_answered_with_the_heartbeat_interval(staff):
    grader = staff.grader(register=False)
    answer = grader.register()
    assert answer.status_code == 200
    assert answer.json() == {"status": "success", "data": {"heartbeat": 1}}


def test_an_id_that_is_alive_already_exists(staff):
    grader = staff.grader()
    answer = grader.register()
    assert answer.status_code == 400
    assert answer.json() == failed(f"worker id '{grader.name}' already exists")


def test_an_id_is_taken_at_every_replica(staff):
    grader = staff.grader(replica=0)
    other = staff.grader(replica=1, name=grader.name, register=False)
    assert other.register().json() == failed(f"worker id '{grader.name}' already exists")


def test_an_id_that_was_silent_for_two_intervals_may_register_again(staff):
    grader = staff.grader()
    time.sleep(2.2)  # the rule is about time: two intervals of silence
    assert grader.register(hostname="again").status_code == 200
    assert grader.poll() is None


def test_a_grader_that_registers_again_does_not_resume_its_job(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run()
    job = grader.take()["grading_job_id"]
    time.sleep(2.2)
    assert grader.register().status_code == 200
    wait_until(lambda: course.state(run) == "grading run is complete", 5, "the lost job has failed")
    assert course.status(run)["student_jobs_state"] == {job: "grading job failed"}


def test_a_grader_that_dies_in_its_first_job_without_a_heartbeat_is_detected_in_time(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run()
    job = grader.take()["grading_job_id"]
    wait_until(lambda: course.state(run) == "grading run is complete", 6, "the lost job has failed")
    assert course.status(run)["student_jobs_state"] == {job: "grading job failed"}
    assert course.log(job)["stderr"] == "grader lost 1 time"


@pytest.mark.parametrize(
    "body, key",
    [
        ({}, "hostname"),
        ({"hostname": 1}, "hostname"),
        ({"hostname": "x", "more": 1}, "more"),
        ({"hostname": "x", "tags": "a b"}, "tags"),
        ([], "object"),
    ],
)
def test_an_invalid_registration_is_refused_by_a_sentence(staff, body, key):
    grader = staff.grader(register=False)
    answer = grader.http.post(f"/worker/{grader.name}", json=body)
    assert answer.status_code == 400
    assert answer.json()["status"] == "fail" and key in answer.json()["data"]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_grader_that_states_its_concurrency_never_gets_more(staff, concurrency):
    course, grader = staff.course(), staff.grader(concurrency=concurrency)
    course.run(5)
    jobs = [grader.take() for _ in range(concurrency)]
    assert grader.poll() is None
    for job in jobs:
        grader.finish(job)


# Who may


ROUTES = [("POST", "worker"), ("GET", "grading_job"), ("POST", "grading_job"), ("POST", "heartbeat")]


@pytest.mark.parametrize("method, route", ROUTES)
@pytest.mark.parametrize(
    "headers, message",
    [
        ({}, "invalid token format"),
        ({"Authorization": "Bearer"}, "invalid token format"),
        ({"Authorization": "Bearer  two-spaces"}, "invalid token format"),
        ({"Authorization": "Bearer two words"}, "invalid token format"),
        ({"Authorization": "bearer lower"}, "invalid token"),
        ({"Authorization": "Basic abc"}, "invalid token format"),
        ({"Authorization": "Bearer fake"}, "invalid token"),
        ({"Authorization": "Bearer admin-of-cs225"}, "invalid token"),
    ],
)
def test_worker_routes_take_the_cluster_token_alone(staff, method, route, headers, message):
    grader = staff.grader()
    del grader.http.headers["Authorization"]
    body = {"json": RESULT} if (method, route) == ("POST", "grading_job") else {}
    answer = grader.http.request(method, f"/{route}/{grader.name}", headers=headers, **body)
    assert answer.status_code == 401
    assert answer.json() == failed(message)


@pytest.mark.parametrize("method, route", ROUTES[1:])
def test_an_unknown_worker_is_not_found(staff, method, route):
    grader = staff.grader(register=False)
    body = {"content": b"no json"} if method == "POST" else {}
    answer = grader.http.request(method, f"/{route}/{grader.name}", **body)
    assert answer.status_code == 401
    assert answer.json() == failed("worker not found")


def test_classic_and_course_graders_are_not_interchangeable(staff):
    seed, grader = staff.stack.grader(), staff.grader(name="f" * 31 + "0")
    answer = grader.http.get(f"/grading_job/{seed.id}")
    assert answer.status_code == 401 and answer.json() == failed("worker not found")
    seed.id = grader.name
    assert seed.poll_response(wait=0).status_code == 400
    staff.stack.stop_graders()


# Polls


def test_no_job_is_498_with_its_sentence(staff):
    answer = staff.grader().poll_response()
    assert answer.status_code == 498
    assert answer.json() == NO_JOBS


def test_a_job_carries_its_id_its_stages_and_no_other_key(staff):
    course, grader = staff.course(), staff.grader()
    more = {"entrypoint": ["sh", "-c", "true"], "networking": True, "privileged": True, "logs": True, "timeout": 7}
    more |= {"hostname": "box", "memory": "2g", "cpuset_cpus": "0-1", **CONFINED}
    run = course.run(1, {"student_pipeline": [stage(**more), stage(env={"A": 1})]})
    job = grader.take()
    assert set(job) == {"grading_job_id", "stages"}
    own = {"GRADING_RUN_ID": run, "GRADING_JOB_ID": job["grading_job_id"], "netid": "student0"}
    assert job["stages"] == [stage(**more, env=own), stage(env={"A": 1, **own})]


def test_a_poll_with_wait_0_always_finds_a_queued_job(staff):
    course, grader = staff.course(), staff.grader()
    course.run(88)
    jobs = [grader.poll() for _ in range(88)]
    assert all(jobs) and len({job["grading_job_id"] for job in jobs}) == 88
    assert course.length() == 0
    for job in jobs:
        grader.finish(job)


def test_a_grader_that_polls_again_at_once_gets_nothing(staff):
    course, grader = staff.course(), staff.grader()
    for _ in range(10):
        run = course.run()
        job = grader.poll()
        assert grader.poll() is None
        grader.finish(job)
        assert grader.poll() is None
        assert course.state(run) == "grading run is complete"


def test_the_next_phases_job_is_in_the_poll_after_a_result(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(2, config_of(pre=True, post=True), pre_processing_env={}, post_processing_env={})
    for _ in range(4):
        grader.finish(grader.poll())
    assert grader.poll() is None
    assert course.state(run) == "grading run is complete"


def test_a_poll_waits_as_long_as_the_server_says(staff, make_replica):
    replica = make_replica(staff.stack, "--course-poll-wait=1.5", "--heartbeat-interval=1").wait_ready()
    grader = CourseGrader(replica.url, staff.stack.cluster_token)
    begun = time.monotonic()
    assert grader.poll() is None
    assert 1.4 < time.monotonic() - begun < 4
    grader.close()


def test_jobs_go_only_to_graders_of_their_own_protocol(staff):
    course, grader, seed = staff.course(), staff.grader(), staff.stack.grader()
    run = course.run()
    seed_run = staff.stack.api.submit_and_start(run_of(1))
    seed_job = seed.take()
    assert seed.poll() is None and seed_job["job_id"].startswith(seed_run)
    job = grader.take()
    assert grader.poll() is None and job["grading_job_id"].startswith(run)
    seed.finish(seed_job)
    grader.finish(job)
    staff.stack.stop_graders()


# Results


def test_a_result_and_its_repetition_are_accepted(staff):
    course, grader = staff.course(), staff.grader()
    course.run()
    job = grader.take()
    grader.finish(job, results=[{"score": 1}], logs={"stdout": "a"})
    grader.finish(job, results=[{"score": 1}], logs={"stdout": "a"})
    answer = grader.finish_response(job, results=[{"score": 2}], logs={"stdout": "a"})
    assert answer.status_code == 400 and answer.json() == failed(NOT_STARTED)


def test_a_result_for_an_unknown_job_is_refused(staff):
    grader = staff.grader()
    for job in ("x", "0" * 32, "0123456789abcdef01234567" + "10000000", ""):
        answer = grader.finish_response(job)
        assert answer.status_code == 400 and answer.json() == failed(UNKNOWN_JOB)


def test_a_result_for_a_job_that_waits_is_refused(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(1)
    job = next(iter(course.status(run)["student_jobs_state"]))
    answer = grader.finish_response(job)
    assert answer.status_code == 400 and answer.json() == failed(NOT_STARTED)


def test_a_result_of_a_worker_that_never_had_the_job_is_refused(staff):
    course, grader, other = staff.course(), staff.grader(), staff.grader(replica=1)
    course.run()
    job = grader.take()
    answer = other.finish_response(job)
    assert answer.status_code == 400 and answer.json() == failed(NOT_STARTED)
    grader.finish(job)


@pytest.mark.parametrize("key", RESULT)
def test_every_key_of_a_result_is_required(staff, key):
    grader = staff.grader()
    body = {name: value for name, value in RESULT.items() if name != key}
    answer = grader.http.post(f"/grading_job/{grader.name}", json=body)
    assert answer.status_code == 400
    assert answer.json()["status"] == "fail" and key in answer.json()["data"]


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"success": "yes"},
        {"results": {}},
        {"results": [1]},
        {"logs": []},
        {"logs": {"stdout": 1}},
        {"logs": {"x": "y"}},
        {"grading_job_id": 5},
    ],
)
def test_an_invalid_result_stores_nothing(staff, change):
    grader = staff.grader()
    answer = grader.http.post(f"/grading_job/{grader.name}", json={**RESULT, **change})
    assert answer.status_code == 400
    assert answer.json()["status"] == "fail" and next(iter(change)) in answer.json()["data"]


@pytest.mark.parametrize("body", [b"", b"no json", b"[1", b"[]", b"5", b"null"])
def test_a_body_of_another_shape_is_refused_by_a_sentence(staff, body):
    grader = staff.grader()
    answer = grader.http.post(f"/grading_job/{grader.name}", content=body)
    assert answer.status_code == 400
    assert answer.json()["status"] == "fail" and isinstance(answer.json()["data"], str)


def test_results_that_are_too_large_are_cut_not_refused(staff):
    course, grader = staff.course(), staff.grader()
    course.run()
    job = grader.take()
    grader.finish(job, results=[{"n": n, "text": "x" * 1_000_000} for n in range(6)])
    stored = staff.stack.database.results(job["grading_job_id"][:24])[0]["result"]
    assert len(stored) <= 4 * 1024 * 1024
    assert '"cut"' in stored and "2 of 6" in stored


# Heartbeats


def test_a_heartbeat_has_an_empty_answer_whatever_its_body(staff):
    grader = staff.grader()
    for content in (b"", b"no json", b"{}"):
        answer = grader.http.post(f"/heartbeat/{grader.name}", content=content)
        assert answer.status_code == 200 and answer.content == b""


def test_a_grader_that_falls_silent_loses_its_job(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run()
    job = grader.take()["grading_job_id"]
    wait_until(lambda: course.state(run) == "grading run is complete", 8, "the job is given up")
    assert course.status(run)["student_jobs_state"] == {job: "grading job failed"}
    assert "grader lost" in course.log(job)["stderr"]
    assert grader.finish_response(job).json() == failed(NOT_STARTED)


def test_heartbeats_keep_a_job(staff):
    course, grader = staff.course(), staff.grader()
    course.run()
    job = grader.take()
    until = time.monotonic() + 5
    while time.monotonic() < until:
        assert grader.beat().status_code == 200
        time.sleep(0.4)
    grader.finish(job)


def test_a_worker_id_is_known_to_every_replica_once_it_is_answered(staff):
    for _ in range(20):
        name = unique("worker")
        staff.grader(replica=0, name=name)
        assert staff.grader(replica=1, name=name, register=False).poll() is None
