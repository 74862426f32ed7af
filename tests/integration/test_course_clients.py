"""Requests of course staff and front ends in the course protocol: configs, runs, status, env, logs, queue, workers."""

import json
import os
import signal
import time

import pytest
from broadway import ROUTE
from course import COURSES, config_of, failed, stage, students
from course_names import bearer, unique
from event_stream import EventStream
from pipelines import CONFINED, job_id_of
from raw import exchange
from waiting import wait_until

JSON_TYPE = "application/json; charset=UTF-8"
RUN_UNKNOWN = "grading run with the given ID not found"
JOB_UNKNOWN = "grading job with the given ID not found"
CONFIG_UNKNOWN = "assignment configuration not found"

# (method, path behind the course, is it for admins alone?)
CLIENT_ROUTES = [
    ("POST", "grading_config/{course}/x", True),
    ("GET", "grading_config/{course}/x", True),
    ("POST", "grading_run/{course}/x", True),
    ("POST", "grading_run/{course}/x/cancel", True),
    ("POST", "grading_run/{course}/x/rerun", True),
    ("GET", "grading_run_status/{course}/x", False),
    ("GET", "grading_run_env/{course}/x", True),
    ("GET", "grading_run/{course}/x/jobs", True),
    ("GET", "grading_job/{course}/x", True),
    ("GET", "grading_job_log/{course}/x", True),
    ("POST", "files/{course}", True),
    ("GET", "files/{course}/x", True),
    ("GET", "worker/{course}/all", True),
    ("GET", "queue/{course}/length", True),
    ("GET", "queue/{course}/x/position", False),
]


# Who may


@pytest.mark.parametrize("method, path, for_admins", CLIENT_ROUTES)
def test_tokens_are_checked_in_order_format_course_token(staff, method, path, for_admins):
    course = staff.course()
    del course.http.headers["Authorization"]
    known, unknown = path.format(course="cs225"), path.format(course="nowhere")
    for headers, at, message in [
        ({}, unknown, "invalid token format"),
        ({"Authorization": "Bearer a b"}, unknown, "invalid token format"),
        (bearer("wrong"), unknown, "course not found"),
        (bearer("wrong"), known, "invalid token"),
        (bearer("admin-of-cs241"), known, "invalid token"),
        (bearer(staff.stack.cluster_token), known, "invalid token"),
    ]:
        answer = course.ask(method, at, "no json" if method == "POST" else None, headers=headers)
        assert (answer.status_code, answer.json()) == (401, failed(message))
    answer = course.ask(method, known, "no json" if method == "POST" else None, headers=bearer("query-of-cs225"))
    assert (answer.status_code == 401) == for_admins


def test_several_tokens_open_one_course_and_one_token_several(staff):
    for token in COURSES["cs225"]["tokens"]:
        course = staff.course(token=token)
        course.configure(config_of())
    staff.course("cs241", token="shared").configure(config_of())


def test_tokens_are_kept_as_salted_hashes(staff):
    stored = str(list(staff.stack.database.db.courses.find()))
    assert "cs225" in stored
    for course in COURSES.values():
        for token in course["tokens"]:
            assert token not in stored


def test_sighup_reads_the_courses_again_for_every_replica(staff, make_replica, tmp_path):
    path = tmp_path / "courses.json"
    path.write_text(json.dumps(COURSES), encoding="utf-8")
    replica = make_replica(staff.stack, f"--course-config={path}").wait_ready()
    more = {**COURSES, "cs999": {"tokens": ["new-token"]}}
    path.write_text("this is no JSON", encoding="utf-8")
    os.kill(replica.child.pid, signal.SIGHUP)
    wait_until(lambda: "courses not reloaded" in replica.said(), 5, "the broken file is told of")
    path.write_text(json.dumps(more), encoding="utf-8")
    os.kill(replica.child.pid, signal.SIGHUP)
    url = f"{ROUTE}/queue/cs999/length"
    for api in staff.stack.apis:
        wait_until(lambda api=api: api.answers(200, "GET", url, headers=bearer("new-token")), 5, "the course is known")
    path.write_text(json.dumps(COURSES), encoding="utf-8")
    os.kill(replica.child.pid, signal.SIGHUP)
    for api in staff.stack.apis:
        wait_until(lambda api=api: api.answers(401, "GET", url, headers=bearer("new-token")), 5, "and gone again")


def test_without_a_course_config_the_stored_courses_stay(staff, make_replica):
    replica = make_replica(staff.stack).wait_ready()
    answer = replica.api.request("GET", f"{ROUTE}/queue/cs225/length", headers=bearer("admin-of-cs225"))
    assert answer.status_code == 200


# Envelopes, CORS, paths


def test_answers_are_json_in_their_envelope_and_open_to_every_page(staff):
    course = staff.course()
    for answer in (course.ask("GET", "/queue/cs225/length"), course.ask("GET", "/grading_run_status/cs225/none")):
        assert answer.headers["content-type"] == JSON_TYPE
        assert answer.headers["access-control-allow-origin"] == "*"


def test_options_needs_no_token_on_any_course_route(staff):
    course = staff.course()
    del course.http.headers["Authorization"]
    for method, path, _ in CLIENT_ROUTES:
        answer = course.ask("OPTIONS", path.format(course="cs225"))
        assert answer.status_code == 204 and answer.content == b""
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-headers"] == "Authorization, Content-Type"
        assert method in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
def test_another_method_is_405_as_an_error(staff, method):
    answer = staff.course().ask(method, "/grading_run_status/cs225/x")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["access-control-allow-origin"] == "*"
    body = answer.json()
    assert (body["status"], body["code"]) == ("error", 405) and isinstance(body["message"], str)
    assert body["request_id"] == answer.headers["x-request-id"]


def test_head_is_get_without_the_body_where_it_only_reads(staff):
    course = staff.course()
    run = course.run()
    for path in (f"/grading_run_status/cs225/{run}", "/queue/cs225/length", "/grading_run_env/cs225/none"):
        get, head = course.ask("GET", path), course.ask("HEAD", path)
        assert head.status_code == get.status_code and head.content == b""
        assert head.headers["content-length"] == get.headers["content-length"]
    grader = staff.grader()
    answer = course.ask("HEAD", f"/worker_ws/{grader.name}")
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, OPTIONS"
    answer = grader.http.head(f"/grading_job/{grader.name}")
    assert answer.status_code == 400  # it would be a job of the classic protocol; no job is taken
    grader.finish(grader.take())


def test_the_scheme_may_be_written_in_any_case(staff):
    course = staff.course()
    for scheme in ("bearer", "BEARER", "Bearer"):
        headers = {"Authorization": f"{scheme} {COURSES['cs225']['tokens'][0]}"}
        assert course.ask("GET", "/queue/cs225/length", headers=headers).status_code == 200


def test_answers_to_one_origin_vary_by_it(staff, make_replica):
    """Refusals, unknown paths, preflight requests, streams, and requests refused in the middle of their body."""
    page = "https://front.example.edu"
    replica = make_replica(staff.stack, f"--cors-origin={page}", "--max-body-bytes=2000").wait_ready()
    headers = bearer("admin-of-cs225")
    run = staff.course().run()

    def varies(answer_headers):
        return (answer_headers["access-control-allow-origin"], answer_headers["vary"]) == (page, "Origin")

    for method, path in [
        ("GET", "queue/cs225/length"),
        ("GET", "queue/nowhere/length"),
        ("OPTIONS", "queue/cs225/length"),
        ("PUT", "queue/cs225/length"),
        ("GET", "nowhere"),
    ]:
        assert varies(replica.api.request(method, f"{ROUTE}/{path}", headers=headers).headers), (method, path)
    stream = EventStream(replica.url, "admin-of-cs225", f"{ROUTE}/stream/cs225/run/{run}")
    assert stream.status == 200 and varies(stream.headers) and stream.headers["x-request-id"]
    stream.close()
    chunk = f"{5000:x}\r\n{'x' * 5000}\r\n"
    late = exchange(
        replica.url,
        f"POST {ROUTE}/grading_config/cs225/x HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: late-1\r\n"
        f"Authorization: Bearer admin-of-cs225\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}",
    )
    assert late.status == 413 and varies(late.headers) and late.headers["x-request-id"] == "late-1"
    staff.course().cancel(run)


@pytest.mark.parametrize(
    "path",
    [
        "grading_config/cs225/a.b",
        "grading_config/cs225/a%20b",
        "grading_config/cs225/%C3%A4",
        "grading_config/cs225/",
        "grading_config/cs225",
        "grading_config/cs225/x/y",
        "grading_config//x",
        "queue/cs225/size",
    ],
)
def test_an_invalid_name_in_a_path_is_404(staff, path):
    answer = staff.course().ask("GET", f"/{path}")
    assert answer.status_code in (400, 404)
    body = answer.json()
    if answer.status_code == 404:
        assert body["status"] == "error" and body["code"] == 404 and body["error"] == body["message"]


def test_cors_can_be_narrowed(staff, make_replica):
    replica = make_replica(staff.stack, "--cors-origin=https://front.example.edu").wait_ready()
    answer = replica.api.request("GET", f"{ROUTE}/queue/cs225/length")
    assert answer.headers["access-control-allow-origin"] == "https://front.example.edu"
    assert answer.headers["vary"] == "Origin"


# Configs


VALID_CONFIGS = [
    {"student_pipeline": []},
    {"student_pipeline": [stage()]},
    {"student_pipeline": [stage()], "pre_processing_pipeline": None, "post_processing_pipeline": [], "env": None},
    {"student_pipeline": [stage(privileged=True, networking=False, logs=False)]},
    {"student_pipeline": [stage(env={"A": 1, "b.c": [1, {"x": None}], "d-e": None})], "env": {"X": {"y": 1.5}}},
    {"student_pipeline": [stage(entrypoint=[], hostname="h", memory="1gb", cpuset_cpus="0", timeout=0.5)] * 3},
    {"student_pipeline": [stage(**CONFINED)]},
]


@pytest.mark.parametrize("config", VALID_CONFIGS)
def test_a_config_is_returned_with_all_four_keys(staff, config):
    course = staff.course()
    assignment = course.configure(config)
    keys = ("pre_processing_pipeline", "student_pipeline", "post_processing_pipeline", "env")
    assert course.data("GET", f"/grading_config/cs225/{assignment}") == {key: config.get(key) for key in keys}


@pytest.mark.parametrize(
    "config, key",
    [
        ({}, "student_pipeline"),
        ({"student_pipeline": None}, "student_pipeline"),
        ({"student_pipeline": {}}, "student_pipeline"),
        ({"student_pipeline": [None]}, "student_pipeline[0]"),
        ({"student_pipeline": [{}]}, "image"),
        ({"student_pipeline": [stage(image=1)]}, "image"),
        ({"student_pipeline": [stage(image="")]}, "image"),
        ({"student_pipeline": [stage(more=1)]}, "more"),
        ({"student_pipeline": [stage(env=[])]}, "env"),
        ({"student_pipeline": [stage(entrypoint="ls")]}, "entrypoint"),
        ({"student_pipeline": [stage(entrypoint=[1])]}, "entrypoint"),
        ({"student_pipeline": [stage(networking="yes")]}, "networking"),
        ({"student_pipeline": [stage(timeout="5")]}, "timeout"),
        ({"student_pipeline": [stage(memory=5)]}, "memory"),
        ({"student_pipeline": [], "env": []}, "env"),
        ({"student_pipeline": [], "pre_processing_pipeline": 5}, "pre_processing_pipeline"),
        ({"student_pipeline": [], "post_processing_pipeline": [{}]}, "post_processing_pipeline"),
        ({"student_pipeline": [], "more": 1}, "more"),
        ([], "object"),
    ],
)
def test_an_invalid_config_is_refused_by_a_sentence_that_names_the_key(staff, config, key):
    course = staff.course()
    assignment = unique()
    answer = course.ask("POST", f"/grading_config/cs225/{assignment}", config)
    assert answer.status_code == 400
    assert answer.json()["status"] == "fail" and key in answer.json()["data"]
    answer = course.ask("GET", f"/grading_config/cs225/{assignment}")
    assert (answer.status_code, answer.json()) == (400, failed(CONFIG_UNKNOWN))


def test_privileged_is_refused_unless_the_operator_allows_it(staff, make_replica):
    replica = make_replica(staff.stack).wait_ready()
    config = {"student_pipeline": [stage(privileged=True)]}
    course = staff.course()
    assignment = course.configure(config)
    headers = bearer("admin-of-cs225")
    answer = replica.api.request("POST", f"{ROUTE}/grading_config/cs225/x", json=config, headers=headers)
    assert answer.status_code == 400 and "--allow-privileged" in answer.json()["data"]
    answer = replica.api.request(
        "POST", f"{ROUTE}/grading_run/cs225/{assignment}", json={"students_env": []}, headers=headers
    )
    assert answer.status_code == 400 and "--allow-privileged" in answer.json()["data"]["message"]


def test_a_later_config_replaces_an_earlier_one(staff):
    course = staff.course()
    assignment = course.configure({"student_pipeline": [stage(image="old")], "env": {"A": 1}})
    course.configure({"student_pipeline": [stage(image="new")]}, assignment)
    assert course.data("GET", f"/grading_config/cs225/{assignment}")["student_pipeline"] == [stage(image="new")]


def test_two_courses_may_use_one_name_of_an_assignment(staff):
    one, other = staff.course("cs225"), staff.course("cs241")
    assignment = one.configure({"student_pipeline": [stage(image="one")]})
    other.configure({"student_pipeline": [stage(image="other")]}, assignment)
    assert one.data("GET", f"/grading_config/cs225/{assignment}")["student_pipeline"] == [stage(image="one")]


def test_a_run_keeps_the_config_that_it_started_with(staff):
    course, grader = staff.course(), staff.grader()
    assignment = course.configure(config_of(pre=True))
    course.start(assignment, 1)
    pre = grader.take()
    course.configure({"student_pipeline": [stage(image="other")]}, assignment)
    grader.finish(pre)
    job = grader.take()
    assert job["stages"][0]["image"] == "alpine:3.20"
    grader.finish(job)


# Starting


def test_a_run_needs_a_config(staff):
    answer = staff.course().ask("POST", f"/grading_run/cs225/{unique()}", {"students_env": []})
    assert (answer.status_code, answer.json()) == (400, failed(CONFIG_UNKNOWN))


@pytest.mark.parametrize("key, more", [("pre_processing_env", {"post": True}), ("post_processing_env", {"pre": True})])
def test_an_env_for_a_step_that_the_config_lacks_is_refused(staff, key, more):
    course = staff.course()
    assignment = course.configure(config_of(**more))
    answer = course.ask("POST", f"/grading_run/cs225/{assignment}", {"students_env": [], key: {}})
    assert answer.status_code == 400
    assert key in answer.json()["data"]["message"]


@pytest.mark.parametrize(
    "body, key",
    [
        ({}, "students_env"),
        ({"students_env": {}}, "students_env"),
        ({"students_env": [1]}, "students_env"),
        ({"students_env": [], "more": 1}, "more"),
        ({"students_env": [], "pre_processing_env": 1}, "pre_processing_env"),
        ({"students_env": [], "post_processing_env": []}, "post_processing_env"),
    ],
)
def test_an_invalid_run_is_refused_by_a_sentence_that_names_the_key(staff, body, key):
    course = staff.course()
    assignment = course.configure(config_of(pre=True, post=True))
    answer = course.ask("POST", f"/grading_run/cs225/{assignment}", body)
    assert answer.status_code == 400
    assert answer.json()["status"] == "fail" and key in answer.json()["data"]


# Status


def test_the_states_of_a_run_and_its_jobs_from_start_to_end(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(2, config_of(pre=True, post=True))
    pre, post = job_id_of(run, 0), job_id_of(run, 2)
    first, second = job_id_of(run, 1, 0), job_id_of(run, 1, 1)
    scheduled, running = "grading job has been scheduled", "grading job is running"
    success, failure = "grading job was successful", "grading job failed"

    def expect(state, pre_state, students, post_state):
        assert course.status(run) == {
            "state": state,
            "pre_processing_job_state": pre_state,
            "post_processing_job_state": post_state,
            "student_jobs_state": students,
        }

    expect("pre processing job has been scheduled", {pre: scheduled}, {}, None)
    job = grader.take()
    expect("pre processing job has been scheduled", {pre: running}, {}, None)
    grader.finish(job)
    state = "students grading jobs have been scheduled"
    expect(state, {pre: success}, {first: scheduled, second: scheduled}, None)
    job = grader.take()
    expect(state, {pre: success}, {first: running, second: scheduled}, None)
    grader.finish(job, success=False)
    expect(state, {pre: success}, {first: failure, second: scheduled}, None)
    grader.finish(grader.take())
    students = {first: failure, second: success}
    expect("post processing job has been scheduled", {pre: success}, students, {post: scheduled})
    grader.finish(grader.take())
    expect("grading run is complete", {pre: success}, students, {post: success})


def test_students_keep_their_order(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(12)
    assert list(course.status(run)["student_jobs_state"]) == [job_id_of(run, 1, index) for index in range(12)]
    grader.work_off()


def test_a_failed_pre_processing_job_fails_the_run(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(2, config_of(pre=True, post=True))
    grader.finish(grader.take(), success=False)
    assert course.status(run) == {
        "state": "grading run failed",
        "pre_processing_job_state": {job_id_of(run, 0): "grading job failed"},
        "post_processing_job_state": None,
        "student_jobs_state": {},
    }
    assert grader.poll() is None


def test_failed_students_do_not_fail_the_run_but_a_failed_post_processing_job_does(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(2, config_of(post=True))
    for _ in range(2):
        grader.finish(grader.take(), success=False)
    assert course.state(run) == "post processing job has been scheduled"
    grader.finish(grader.take(), success=False)
    assert course.state(run) == "grading run failed"


@pytest.mark.parametrize("more", [{}, {"pre": True}, {"post": True}, {"pre": True, "post": True}])
def test_a_run_without_students_continues_at_once(staff, more):
    course, grader = staff.course(), staff.grader()
    run = course.run([], config_of(**more))
    assert grader.work_off() == len(more)
    wait_until(lambda: course.state(run) == "grading run is complete", 5, "the run is complete")
    assert course.status(run)["student_jobs_state"] == {}


def test_jobs_without_stages_succeed_by_themselves(staff):
    course = staff.course()
    run = course.run(3, {"student_pipeline": []})
    wait_until(lambda: course.state(run) == "grading run is complete", 5, "the run is complete")
    assert set(course.status(run)["student_jobs_state"].values()) == {"grading job was successful"}


@pytest.mark.parametrize("route", ["grading_run_status", "grading_run_env"])
@pytest.mark.parametrize("run", ["x", "0" * 24, "-1", "F" * 24, "a" * 120])
def test_an_unknown_run_is_not_found(staff, route, run):
    answer = staff.course().ask("GET", f"/{route}/cs225/{run}")
    assert (answer.status_code, answer.json()) == (400, failed(RUN_UNKNOWN))


def test_nothing_of_one_course_is_ever_in_an_answer_to_another(staff):
    course, stranger, grader = staff.course("cs225"), staff.course("cs241"), staff.grader()
    run = course.run([{"SECRET": "canary"}], config_of(env={"SECRET": "canary"}))
    job = grader.take()
    grader.finish(job, results=[{"canary": 1}], logs={"stdout": "canary"})
    for path, message in [
        (f"grading_run_status/cs241/{run}", RUN_UNKNOWN),
        (f"grading_run_env/cs241/{run}", RUN_UNKNOWN),
        (f"grading_job_log/cs241/{job['grading_job_id']}", JOB_UNKNOWN),
        (f"queue/cs241/{job['grading_job_id']}/position", JOB_UNKNOWN),
    ]:
        answer = stranger.ask("GET", f"/{path}")
        assert (answer.status_code, answer.json()) == (400, failed(message))


def test_a_classic_run_is_not_a_run_of_a_course(staff):
    run = staff.stack.api.submit({"student_pipeline": [stage()], "students": []})
    answer = staff.course().ask("GET", f"/grading_run_status/cs225/{run}")
    assert (answer.status_code, answer.json()) == (400, failed(RUN_UNKNOWN))


# Env


def test_the_env_of_a_stage_is_merged_and_the_later_value_wins(staff):
    course, grader = staff.course(), staff.grader()
    config = {
        "student_pipeline": [stage(env={"A": "stage", "B": "stage", "E": 1}), stage()],
        "env": {"A": "config", "B": "config", "C": "config", "D": {"deep": [1]}, "N": None, "$X": "$Y"},
    }
    run = course.run([{"B": "student", "F": ""}], config)
    job = grader.take()
    own = {"GRADING_RUN_ID": run, "GRADING_JOB_ID": job["grading_job_id"], "B": "student", "F": ""}
    rest = {"C": "config", "D": {"deep": [1]}, "N": None, "$X": "$Y"}
    assert [stage["env"] for stage in job["stages"]] == [
        {"A": "stage", "E": 1, **rest, **own},
        {"A": "config", **rest, **own},
    ]
    grader.finish(job)


def test_ids_in_a_runs_env_can_not_be_overridden(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run([{"GRADING_JOB_ID": "fake"}], config_of(env={"GRADING_RUN_ID": "fake", "GRADING_JOB_ID": "fake"}))
    job = grader.take()
    env = job["stages"][0]["env"]
    assert (env["GRADING_RUN_ID"], env["GRADING_JOB_ID"]) == (run, job["grading_job_id"])
    grader.finish(job)


NAMES_OF_NOTHING = ["A=B", "=", ""]


@pytest.mark.parametrize("name", NAMES_OF_NOTHING, ids=repr)
def test_a_config_with_a_name_that_no_environment_can_have_is_refused(staff, name):
    course = staff.course()
    env = {"GOOD": 1, "spaces and-more.": "2", name: "3"}
    for key, config in [
        ("env", config_of(env=env)),
        ("student_pipeline[0].env", {"student_pipeline": [stage(env=env)]}),
        ("pre_processing_pipeline[0].env", config_of(pre_processing_pipeline=[stage(env=env)])),
        ("post_processing_pipeline[0].env", config_of(post_processing_pipeline=[stage(env=env)])),
    ]:
        answer = course.ask("POST", f"/grading_config/cs225/{unique()}", config)
        assert answer.status_code == 400
        assert answer.json()["data"].startswith(f"{key}: '{name}' can't be the name"), answer.text


@pytest.mark.parametrize("name", NAMES_OF_NOTHING, ids=repr)
def test_a_run_with_a_name_that_no_environment_can_have_is_refused(staff, name):
    course = staff.course()
    assignment = course.configure(config_of(pre=True, post=True))
    for key, body in [
        ("students_env[1]", {"students_env": [{}, {name: 1}]}),
        ("pre_processing_env", {"students_env": [], "pre_processing_env": {name: 1}}),
        ("post_processing_env", {"students_env": [], "post_processing_env": {name: 1}}),
    ]:
        answer = course.ask("POST", f"/grading_run/cs225/{assignment}", body)
        assert answer.status_code == 400
        assert answer.json()["data"].startswith(f"{key}: '{name}' can't be the name"), answer.text
    assert course.run([{"spaces and-more.": 1}])


def test_an_earlier_key_is_refused_after_another_config(staff):
    """The repeated request would be another run, so it creates none."""
    course, headers = staff.course(), {"Idempotency-Key": unique()}
    assignment = course.configure(config_of())
    path, body = f"/grading_run/cs225/{assignment}", {"students_env": students(1)}
    run = course.data("POST", path, body, headers=headers)
    course.configure(config_of(), assignment)  # the same again
    assert course.data("POST", path, body, headers=headers) == run
    course.configure(config_of(pre=True), assignment)
    answer = course.ask("POST", path, body, headers=headers)
    assert answer.status_code == 400 and "used before" in answer.text
    course.configure(config_of(), assignment)
    assert course.data("POST", path, body, headers=headers) == run


def test_each_step_has_its_own_env(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(
        [{"who": "a"}, {"who": "b"}],
        config_of(pre=True, post=True, env={"all": 1}),
        pre_processing_env={"step": "pre"},
        post_processing_env={"step": "post"},
    )
    seen = []
    for _ in range(4):
        job = grader.take()
        seen.append(job["stages"][0]["env"])
        grader.finish(job)
    assert [env.get("step") for env in seen] == ["pre", None, None, "post"]
    assert [env.get("who") for env in seen] == [None, "a", "b", None]
    assert all(env["all"] == 1 and env["GRADING_RUN_ID"] == run for env in seen)


def test_the_env_of_a_run_shows_distinct_values_per_job_once_its_step_has_begun(staff):
    course, grader = staff.course(), staff.grader()
    config = config_of(pre=True, post=True)
    config["student_pipeline"] = [stage(env={"A": 1, "B": 2}), stage(env={"A": 1, "B": 3})]
    run = course.run([{"who": "a"}], config)
    pre, student = job_id_of(run, 0), job_id_of(run, 1, 0)
    env = course.env(run)
    assert env["student_env"] == {} and env["post_processing_env"] is None
    assert env["pre_processing_env"] == {pre: {"STAGE": ["pre"], "GRADING_RUN_ID": [run], "GRADING_JOB_ID": [pre]}}
    grader.finish(grader.take())
    assert course.env(run)["student_env"] == {
        student: {"A": [1], "B": [2, 3], "who": ["a"], "GRADING_RUN_ID": [run], "GRADING_JOB_ID": [student]}
    }
    grader.work_off()
    assert list(course.env(run)["post_processing_env"]) == [job_id_of(run, 2)]


# Logs


def test_a_log_is_what_the_grader_sent(staff):
    course, grader = staff.course(), staff.grader()
    course.run()
    job = grader.take()
    answer = course.ask("GET", f"/grading_job_log/cs225/{job['grading_job_id']}")
    assert answer.status_code == 400 and answer.json()["status"] == "fail"
    grader.finish(job, logs={"stdout": "out ä", "stderr": "err"})
    assert course.log(job["grading_job_id"]) == {"stderr": "err", "stdout": "out ä"}


def test_a_log_that_was_not_sent_is_empty(staff):
    course, grader = staff.course(), staff.grader()
    course.run(2)
    job = grader.take()
    grader.finish(job, logs={"stdout": "only"})
    assert course.log(job["grading_job_id"]) == {"stderr": "", "stdout": "only"}
    job = grader.take()
    grader.finish(job)
    assert course.log(job["grading_job_id"]) == {"stderr": "", "stdout": ""}


def test_an_unknown_job_has_no_log(staff):
    course = staff.course()
    for job in ("x", "0" * 32, "0" * 24 + "10000000"):
        answer = course.ask("GET", f"/grading_job_log/cs225/{job}")
        assert (answer.status_code, answer.json()) == (400, failed(JOB_UNKNOWN))


# Queue


def test_the_length_is_of_the_course_alone_and_current(staff):
    course, other, grader = staff.course("cs225"), staff.course("cs241", replica=1), staff.grader(replica=1)
    assert staff.course("empty").length() == 0
    course.run(10)
    assert (course.length(), other.length()) == (10, 0)
    other.run(2)
    assert (course.length(), other.length()) == (10, 2)
    for left in range(9, -1, -1):
        grader.take()
        if left > 7:
            grader.take()
        lengths = course.length() + other.length()
        assert lengths == max(0, 12 - 2 * (10 - left)) if left > 7 else lengths == left
    staff.drain()


def test_positions_count_the_earlier_jobs_of_the_course(staff):
    course, other, grader = staff.course("cs225"), staff.course("cs241"), staff.grader()
    other.run(3)
    first, second = course.run(3), course.run(2)
    jobs = [job_id_of(first, 1, n) for n in range(3)] + [job_id_of(second, 1, n) for n in range(2)]
    reader = staff.course(token="query-of-cs225", replica=1)
    assert [reader.position(job) for job in jobs] == [0, 1, 2, 3, 4]
    taken = []
    while jobs[0] not in taken:
        taken.append(grader.take()["grading_job_id"])
    assert [reader.position(job) for job in jobs[1:]] == [0, 1, 2, 3]
    answer = reader.ask("GET", f"/queue/cs225/{jobs[0]}/position")
    assert answer.status_code == 400
    assert "has already passed through the queue" in answer.json()["data"]["message"]
    staff.drain()
    answer = reader.ask("GET", f"/queue/cs225/{jobs[4]}/position")
    assert "has already passed through the queue" in answer.json()["data"]["message"]


def test_a_job_whose_step_has_not_begun_has_no_position(staff):
    course = staff.course()
    run = course.run(1, config_of(pre=True))
    answer = course.ask("GET", f"/queue/cs225/{job_id_of(run, 1, 0)}/position")
    assert (answer.status_code, answer.json()) == (400, failed(JOB_UNKNOWN))
    assert course.position(job_id_of(run, 0)) == 0


def test_courses_take_turns_whatever_the_sizes_of_their_runs(staff):
    big, small, grader = staff.course("cs225"), staff.course("cs241"), staff.grader()
    runs = {big.run(4): "c1", small.run(2): "c2"}
    taken = [grader.take()["grading_job_id"] for _ in range(6)]
    assert [runs[job[:24]] for job in taken] == ["c1", "c2", "c1", "c2", "c1", "c1"]
    staff.drain()


def test_without_a_leader_a_query_is_503_with_retry_after(staff):
    stack = staff.stack
    course = staff.course()
    stack.kill("scheduler-0")
    try:
        begun = time.monotonic()
        answer = course.ask("GET", "/queue/cs225/length")
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
        assert answer.json()["status"] == "error" and answer.json()["code"] == 503
        assert 4 < time.monotonic() - begun < 8
    finally:
        stack.restart("scheduler-0")
    assert course.length() == 0


def test_a_query_survives_a_change_of_leader(staff):
    stack = staff.stack
    course = staff.course()
    stack.kill("scheduler-0", signal.SIGTERM)
    stack.restart("scheduler-0")
    assert course.length() == 0


# Workers


def test_the_worker_list_is_the_live_state_of_the_whole_cluster(staff):
    course = staff.course()
    busy, idle = staff.grader(register=False), staff.grader(register=False, replica=1)
    hosts = unique("busy"), unique("idle")
    busy.register(hosts[0])
    idle.register(hosts[1])
    course.run(2)
    jobs = [busy.take(), busy.take()]

    def rows():
        return {row["hostname"]: row for row in staff.course(replica=1).workers()}

    assert rows()[hosts[0]] == {
        "hostname": hosts[0],
        "jobs_processed": 2,
        "busy": True,
        "alive": True,
        "protocol": "course",
    }
    assert rows()[hosts[1]] == {
        "hostname": hosts[1],
        "jobs_processed": 0,
        "busy": False,
        "alive": True,
        "protocol": "course",
    }
    for job in jobs:
        busy.finish(job)
    assert rows()[hosts[0]] == {
        "hostname": hosts[0],
        "jobs_processed": 2,
        "busy": False,
        "alive": True,
        "protocol": "course",
    }
    wait_until(lambda: not rows()[hosts[0]]["alive"] and not rows()[hosts[1]]["alive"], 6, "silent workers are dead")


def test_the_worker_list_shows_the_tags_of_the_last_registration_also_to_a_new_leader(staff):
    stack, course, grader = staff.stack, staff.course(), staff.grader(register=False)
    host = unique("tagged")

    def tags():
        return [row.get("tags") for row in course.workers() if row["hostname"] == host]

    answer = grader.register(host, tags="gpu,lab-2")
    assert answer.headers["broadway-registration"] == "tags, digests, fault"
    assert tags() == [["gpu", "lab-2"]]
    wait_until(lambda: not [r for r in course.workers() if r["hostname"] == host and r["alive"]], 10, "it is dead")
    assert grader.register(host, tags="cpu").status_code == 200
    wait_until(lambda: tags() == [["cpu"]], 5, "the later registration counts")
    stack.kill("scheduler-0")
    stack.restart("scheduler-0")
    assert tags() == [["cpu"]]
    wait_until(lambda: not [r for r in course.workers() if r["hostname"] == host and r["alive"]], 10, "it is dead")
    assert grader.register(host).status_code == 200
    wait_until(lambda: tags() == [None], 5, "without tags there is no key")


def test_the_count_of_hand_outs_survives_a_killed_leader(staff):
    stack, course, grader = staff.stack, staff.course(), staff.grader(register=False)
    host = unique("counted")
    grader.register(host)
    course.run(3)
    assert grader.work_off() == 3

    def is_recorded():
        grader.beat()
        return stack.database.worker(grader.name).get("jobs_processed") == 3

    wait_until(is_recorded, 15, "the count is on record, though the worker neither died nor came back")
    stack.kill("scheduler-0")
    stack.restart("scheduler-0")
    assert [row["jobs_processed"] for row in course.workers() if row["hostname"] == host] == [3]


def test_an_unknown_scope_is_404(staff):
    answer = staff.course().ask("GET", "/worker/cs225/some")
    assert (answer.status_code, answer.json()) == (404, failed("scope some has not been implemented yet"))


# Both on one path


def test_the_header_or_the_key_selects_the_course_protocol_on_the_shared_path(staff):
    api = staff.stack.api
    url = f"{ROUTE}/grading_job/someone"
    body = {"grading_job_id": "x", "success": True, "results": [], "logs": {}}
    answer = api.request("POST", url, json=body)
    assert (answer.status_code, answer.json()) == (401, failed("invalid token format"))
    assert answer.headers["access-control-allow-origin"] == "*"
    answer = api.request("POST", url, json={}, headers=bearer("fake"))
    assert (answer.status_code, answer.json()) == (401, failed("invalid token"))
    answer = api.request("POST", url, json={"worker_id": "0" * 32, "result": "grading_job_id"})
    assert answer.status_code == 400 and "error" in answer.json()


# Current answers


def test_a_result_shows_on_another_replica_as_soon_as_it_is_acknowledged(staff):
    """A thousand times, or as often as possible within a minute."""
    most, rounds = 1000, 0
    course, grader = staff.course(replica=1), staff.grader(replica=0)
    run = course.run(most)
    current = 0
    deadline = time.monotonic() + 60
    for index in range(most):
        if index >= 100 and time.monotonic() > deadline:
            course.cancel(run)
            break
        rounds += 1
        job = grader.take()
        assert job["grading_job_id"] == job_id_of(run, 1, index)
        grader.finish(job)
        state = course.status(run)["student_jobs_state"][job["grading_job_id"]]
        current += state == "grading job was successful"
    print(f"\nstatus on another replica, at once after the result: current {current} of {rounds} times")
    assert current == rounds
    assert rounds < most or course.state(run) == "grading run is complete"
