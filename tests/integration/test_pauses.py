"""Pauses of runs, assignments, courses, graders and the cluster: nothing is handed out, and what runs goes on."""

import datetime
import threading
import time

import bson
import httpx
import pytest
from broadway import ROUTE, error_of
from course import config_of, failed
from course_names import bearer
from harness import Stack
from pipelines import POST, STUDENT, job_id_of, run_of
from waiting import holds_for, wait_until

KEYS = {"kind", "by", "at", "until", "note", "automatic"}


def ask(api, method, path, **arguments):
    answer = api.request(method, f"{ROUTE}{path}", json=arguments or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pause(api, run, **arguments):
    return ask(api, "POST", f"/grading_run/{run}/pause", **arguments)["paused"]


def resume(api, run):
    return ask(api, "POST", f"/grading_run/{run}/resume")["paused"]


# ---- Runs ----


def test_nothing_of_a_paused_run_is_handed_out_until_it_is_resumed(stack):
    run = stack.api.submit_and_start(run_of(2))
    shown = pause(stack.api, run, note="wrong tests", timeout=600)
    assert set(shown) == KEYS | {"name"}
    assert (shown["kind"], shown["name"], shown["by"], shown["note"]) == ("run", run, "client", "wrong tests")
    assert not shown["automatic"] and shown["at"] < shown["until"]
    grader = stack.grader()
    assert grader.poll() is None
    assert stack.api.status(run)["paused"] == shown
    assert resume(stack.api, run) is None
    assert "paused" not in stack.api.status(run)
    for _ in range(2):
        grader.finish(grader.take())
    assert stack.api.wait_over(run)["state"] == "finished"


def test_a_running_job_of_a_paused_run_goes_on_and_the_last_job_waits(stack):
    run = stack.api.submit_and_start(run_of(1, post=True))
    grader = stack.grader()
    job = grader.take()
    pause(stack.api, run)
    grader.finish(job)
    wait_until(lambda: stack.api.status(run)["student_statuses"][0]["outcome"] == "succeeded", 5, "the result is taken")
    assert grader.poll() is None
    resume(stack.api, run)
    last = grader.take()
    assert (last["job_id"], last["attempt"]) == (job_id_of(run, POST), 1)
    grader.finish(last)
    assert stack.api.wait_over(run)["state"] == "finished"


def test_jobs_without_stages_of_a_paused_run_wait_too(stack):
    run = stack.api.submit_and_start(run_of(1, pre=True, student_pipeline=[]))
    grader = stack.grader()
    job = grader.take()
    pause(stack.api, run)
    grader.finish(job)
    holds_for(lambda: not stack.api.is_over(run), 0.5, "the students wait")
    resume(stack.api, run)
    assert stack.api.wait_over(run)["student_statuses"][0]["outcome"] == "succeeded"


def test_a_pause_ends_at_its_time_and_repeating_it_replaces_note_and_time(stack):
    run = stack.api.submit_and_start(run_of(1))
    pause(stack.api, run, timeout=600, note="long")
    shown = pause(stack.api, run, timeout=1)
    assert shown["note"] == ""
    grader = stack.grader()
    assert grader.poll() is None
    grader.finish(grader.take(seconds=5))
    stack.api.wait_over(run)


def test_a_paused_run_can_be_cancelled_and_one_that_is_over_is_refused(stack):
    run = stack.api.submit_and_start(run_of(2))
    pause(stack.api, run)
    stack.api.cancel(run)
    assert stack.api.wait_over(run)["state"] == "cancelled"
    wait_until(lambda: not any(shown.get("name") == run for shown in listed(stack)), 5, "its pause is gone")
    for verb in ("pause", "resume"):
        answer = stack.api.request("POST", f"{ROUTE}/grading_run/{run}/{verb}")
        assert answer.status_code == 409 and error_of(answer) == f"the grading run '{run}' is over: it is cancelled"


def test_a_run_that_is_paused_before_its_start_waits_from_the_start_on(stack):
    run = stack.api.submit(run_of(1))
    pause(stack.api, run)
    stack.api.start(run)
    grader = stack.grader()
    assert grader.poll() is None
    resume(stack.api, run)
    grader.finish(grader.take())
    stack.api.wait_over(run)


def test_no_pause_is_left_of_a_run_that_was_cancelled_before_its_start(stack):
    run = stack.api.submit(run_of(1))
    pause(stack.api, run)
    stack.api.cancel(run)
    assert not any(shown.get("name") == run for shown in listed(stack))


def left_of(stack, run):
    return list(stack.database.db.pauses.find({"_id": {"$in": [f"run/{run}/manual", f"run/{run}/automatic"]}}))


def leave_pauses(stack, run):
    for kind in ("manual", "automatic"):
        stack.database.db.pauses.insert_one(
            {"_id": f"run/{run}/{kind}", "by": "client", "note": "", "at": datetime.datetime.now(datetime.UTC)}
        )


def cancelled_run(stack):
    run = stack.api.submit_and_start(run_of(1))
    stack.api.cancel(run)
    stack.api.wait_over(run)
    wait_until(lambda: stack.database.run(run).get("finished_at"), 10, "its end is recorded")
    return run


def test_pauses_that_a_leader_has_left_of_a_run_that_is_over_or_gone_are_deleted(stack):
    over, gone = cancelled_run(stack), str(bson.ObjectId())
    paused = stack.api.submit(run_of(1))
    pause(stack.api, paused)
    for run in (over, gone):
        leave_pauses(stack, run)
    for run in (over, gone):
        wait_until(lambda run=run: not left_of(stack, run), 15, "its pauses are deleted")
    assert len(left_of(stack, paused)) == 1
    stack.api.cancel(paused)


def test_a_refused_resume_leaves_no_pause_of_a_run_that_is_over(stack):
    run = cancelled_run(stack)
    leave_pauses(stack, run)
    assert stack.api.request("POST", f"{ROUTE}/grading_run/{run}/resume").status_code == 409
    assert not left_of(stack, run)


def test_resumes_that_race_with_the_end_of_the_run_leave_no_pause(stack):
    grader = stack.grader()
    runs = []
    for number in range(10):
        runs.append(stack.api.submit_and_start(run_of(1)))
        job = grader.take()
        path = f"{ROUTE}/grading_run/{runs[-1]}/resume"
        racer = threading.Thread(target=lambda path=path: [stack.apis[1].request("POST", path) for _ in range(4)])
        racer.start()
        time.sleep(0.002 * (number % 5))
        grader.finish(job)
        racer.join()
        stack.api.wait_over(runs[-1])
    for run in runs:
        wait_until(lambda run=run: not left_of(stack, run), 15, "nothing is left")


def test_jobs_of_a_paused_run_show_the_pause(stack):
    run = stack.api.submit_and_start(run_of(1))
    shown = pause(stack.api, run)
    listed_jobs = ask(stack.api, "GET", f"/grading_run/{run}/jobs")
    assert listed_jobs["paused"] == shown
    job = listed_jobs["jobs"][0]["job_id"]
    assert ask(stack.api, "GET", f"/grading_job/{job}")["paused"] == shown
    stack.api.cancel(run)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"timeout": 0}, "timeout: must be between 1 and 31622400, not 0"),
        ({"timeout": 10**9}, "timeout: must be between 1 and 31622400, not 1000000000"),
        ({"timeout": "soon"}, "timeout: must be an integer, not a string"),
        ({"note": "x" * 501}, "note: must be at most 500 bytes long, not 501"),
        ({"note": "a\nb"}, "note: must not have control characters"),
        ({"why": "so"}, "why"),
    ],
)
def test_bad_arguments_of_a_pause_are_named_and_change_nothing(stack, arguments, sentence):
    run = stack.api.submit_and_start(run_of(1))
    answer = stack.api.request("POST", f"{ROUTE}/grading_run/{run}/pause", json=arguments)
    assert answer.status_code == 400
    assert sentence in error_of(answer)
    assert "paused" not in stack.api.status(run)
    stack.api.cancel(run)


def test_a_pause_survives_another_leader(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("pauses"), schedulers=2, both=("heartbeat-interval=1",))
    stack.up()
    try:
        run = stack.api.submit_and_start(run_of(1))
        pause(stack.api, run)
        for name in ("scheduler-0", "scheduler-1"):
            stack.kill(name)
            stack.restart(name)
        grader = stack.grader()
        time.sleep(3)
        assert grader.poll() is None
        wait_until(lambda: resumed(stack, run), 30, "a leader confirms")
        grader.finish(grader.take(seconds=20))
        stack.api.wait_over(run)
    finally:
        stack.down()


def resumed(stack, run):
    return stack.api.request("POST", f"{ROUTE}/grading_run/{run}/resume").status_code == 200


# ---- The cluster and its graders ----


def listed(stack):
    return ask_cluster(stack, "GET", "/pauses")["pauses"]


def ask_cluster(stack, method, path, **arguments):
    sent = {"params": arguments} if method == "GET" else {"json": arguments}
    answer = stack.api.request(method, ROUTE + path, headers=bearer(stack.cluster_token), **sent)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_paused_cluster_hands_nothing_out(stack):
    shown = ask_cluster(stack, "POST", "/cluster_pause", note="new disks")["paused"]
    try:
        run = stack.api.submit_and_start(run_of(1))
        grader = stack.grader()
        assert grader.poll() is None
        assert stack.api.status(run)["paused"] == shown
        assert (shown["kind"], shown["by"]) == ("cluster", "cluster")
        assert listed(stack) == [shown]
    finally:
        assert ask_cluster(stack, "POST", "/cluster_resume") == {"paused": None}
    assert listed(stack) == []
    grader.finish(grader.take())
    stack.api.wait_over(run)


def test_a_drained_grader_finishes_its_job_and_gets_no_other(stack):
    run = stack.api.submit_and_start(run_of(2))
    grader, other = stack.grader(concurrency=2), None
    job = grader.take()
    shown = ask_cluster(stack, "POST", "/worker_pause", worker_id=grader.id, drain=True, note="old")["paused"]
    assert (shown["kind"], shown["name"], shown["drain"]) == ("worker", grader.id, True)

    def worker():
        return ask_cluster(stack, "GET", "/worker_status", worker_id=grader.id)

    assert (worker()["state"], worker()["held"], worker()["paused"]) == ("draining", 1, shown)
    assert grader.poll() is None
    grader.finish(job)
    wait_until(lambda: worker()["state"] == "drained", 5, "it holds nothing")
    assert worker()["alive"] and grader.poll() is None
    again = ask_cluster(stack, "POST", "/worker_pause", worker_id=grader.id, note="older")["paused"]
    assert again["drain"] and again["note"] == "older" and worker()["state"] == "drained"
    ask_cluster(stack, "POST", "/worker_pause", worker_id=grader.id, drain=False)
    assert worker()["state"] == "paused"
    ask_cluster(stack, "POST", "/worker_pause", worker_id=grader.id, note="now a pause")
    assert worker()["state"] == "paused"
    other = stack.grader()
    other.finish(other.take())
    stack.api.wait_over(run)
    ask_cluster(stack, "POST", "/worker_resume", worker_id=grader.id)
    assert worker()["state"] == "active" and "paused" not in worker()


def test_unknown_graders_and_wrong_tokens_are_refused(stack):
    operator = bearer(stack.cluster_token)
    answer = stack.api.request("POST", f"{ROUTE}/worker_pause", headers=operator, json={"worker_id": "x"})
    assert (answer.status_code, error_of(answer)) == (400, "there is no grader with this id")
    answer = stack.api.request("POST", f"{ROUTE}/cluster_pause", headers=bearer("wrong"))
    assert (answer.status_code, error_of(answer)) == (401, "the cluster token is wrong")
    answer = stack.api.request("POST", f"{ROUTE}/cluster_pause", json={})
    assert answer.status_code == 401
    assert listed(stack) == []


def test_the_audit_has_who_paused_and_resumed_a_grader(stack):
    grader = stack.grader()
    ask_cluster(stack, "POST", "/worker_pause", worker_id=grader.id)
    ask_cluster(stack, "POST", "/worker_resume", worker_id=grader.id)
    entries = ask_cluster(stack, "GET", "/audit", limit=2)["entries"]
    assert [entry["action"] for entry in entries] == ["worker.resume", "worker.pause"]
    assert all(entry["actor"]["kind"] == "operator" and entry["worker"] == grader.id[:8] for entry in entries)


# ---- The course protocol ----


def test_runs_assignments_and_courses_of_the_course_protocol_are_paused(staff):
    course, grader = staff.course(), staff.grader()
    assignment = course.configure(config_of())
    run = course.start(assignment)
    ways = {
        "run": f"/grading_run/cs225/{run}",
        "assignment": f"/assignment/cs225/{assignment}",
        "course": "/course/cs225",
    }
    for kind, path in ways.items():
        bare = course.http.post(path + "/pause")
        assert (bare.status_code, bare.json()["data"]["paused"]["note"]) == (200, "")
        shown = course.data("POST", path + "/pause", {"note": kind})["paused"]
        assert (shown["kind"], shown["by"], shown["note"]) == (kind, "course cs225", kind)
        assert course.status(run)["paused"] == shown
        assert grader.poll() is None
        assert course.data("GET", "/pauses/cs225")["pauses"] == [shown]
        assert course.data("GET", f"/queue/cs225/{job_id_of(run, STUDENT, 0)}/position")["paused"] == shown
        assert course.data("POST", path + "/resume") == {"paused": None}
        assert "paused" not in course.status(run)
    grader.finish(grader.take())


def test_a_course_can_pause_nothing_of_another_course(staff):
    course, other = staff.course(), staff.course("cs241")
    run = course.run(1)
    answer = other.ask("POST", f"/grading_run/cs241/{run}/pause", {})
    assert (answer.status_code, answer.json()) == (400, failed("grading run with the given ID not found"))
    answer = other.ask("POST", "/course/cs225/pause", {})
    assert answer.status_code == 401
    answer = course.ask("POST", "/cluster/pause", {})
    assert answer.status_code == 401
    answer = course.ask("POST", "/assignment/cs225/none/pause", {})
    assert (answer.status_code, answer.json()) == (400, failed("assignment configuration not found"))
    assert "paused" not in course.status(run)


def test_the_answer_of_a_resume_names_what_still_holds_the_run(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(1)
    course.data("POST", f"/grading_run/cs225/{run}/pause", {})
    shown = course.data("POST", "/course/cs225/pause", {"timeout": 60})["paused"]
    assert course.data("POST", f"/grading_run/cs225/{run}/resume") == {"paused": shown}
    assert course.data("GET", "/queue/cs225/length") == {"length": 1, "paused": shown}
    assert grader.poll() is None
    course.data("POST", "/course/cs225/resume")
    grader.finish(grader.take())


def test_the_operator_pauses_graders_and_the_cluster_by_the_course_protocol(staff):
    course, grader = staff.course(), staff.grader()
    operator = httpx.Client(
        base_url=staff.stack.urls[0] + ROUTE, headers=bearer(staff.stack.cluster_token), trust_env=False
    )

    def data(method, path, **more):
        answer = operator.request(method, path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    data("POST", f"/worker/{grader.name}/pause", json={"drain": True})
    assert data("POST", f"/worker/{grader.name}/pause")["paused"]["drain"]
    assert data("GET", f"/worker/{grader.name}")["state"] == "drained"
    shown = data("POST", f"/worker/{grader.name}/pause", json={"note": "slow", "drain": False})["paused"]
    assert data("GET", f"/worker/{grader.name}")["state"] == "paused"
    row = next(row for row in course.workers() if row.get("paused") == shown)
    assert row["alive"]
    run = course.run(1)
    assert grader.poll() is None
    data("POST", f"/worker/{grader.name}/resume")
    whole = data("POST", "/cluster/pause")["paused"]
    assert data("GET", "/cluster/pauses") == {"pauses": [whole], "next_offset": None}
    assert course.status(run)["paused"] == whole
    assert grader.poll() is None
    data("POST", "/cluster/resume")
    grader.finish(grader.take())
    answer = operator.post("/worker/nobody/pause", json={})
    assert (answer.status_code, answer.json()) == (400, failed("there is no grader with this id"))
    answer = operator.get("/worker/nobody")
    assert (answer.status_code, answer.json()) == (400, failed("there is no grader with this id"))
    operator.close()


def test_a_pause_of_a_grader_outlives_its_next_registration(staff):
    course, grader = staff.course(), staff.grader()
    path = f"{staff.stack.urls[0]}{ROUTE}/worker/{grader.name}"
    headers = bearer(staff.stack.cluster_token)
    assert httpx.post(path + "/pause", json={}, headers=headers).status_code == 200
    time.sleep(2.5)
    assert grader.register().status_code == 200
    run = course.run(1)
    assert grader.poll() is None
    assert httpx.post(path + "/resume", headers=headers).status_code == 200
    grader.finish(grader.take())
    wait_until(lambda: course.state(run) == "grading run is complete", 5, "the run is complete")


def test_a_stream_of_a_run_shows_its_pause_and_its_resume(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run(1)
    stream = staff.stream("cs225", f"run/{run}?all=1")
    shown = course.data("POST", f"/grading_run/cs225/{run}/pause", {"note": "look"})["paused"]
    course.data("POST", f"/grading_run/cs225/{run}/resume")
    grader.finish(grader.take())
    events = stream.rest()
    assert {"type": "paused", "data": shown} in events
    assert {"type": "resumed", "data": {}} in events
