"""Supersede keys: only the newest submission of a student counts; what is queued gives its place to it."""

import time

import pytest
from broadway import ROUTE, error_of
from course import config_of
from course_names import unique
from pipelines import POST, PRE, STUDENT, job_id_of, own_limits, run_of
from test_docs import check
from waiting import holds_for, wait_until


def submit(stack, key, **more):
    return stack.api.submit_and_start(run_of(1, supersede_key=key, **more))


def student_of(stack, run, index=0):
    return stack.api.status(run, results="true")["student_statuses"][index]


def finish_next(grader):
    """Ends the next job with success; returns its id."""
    job = grader.take()
    grader.finish(job)
    return job["job_id"]


def lost_jobs(grader, job):
    answer = grader.http.post(f"{ROUTE}/heartbeat", params={"worker_id": grader.id, "jobs": job})
    assert answer.status_code == 200, answer.text
    return answer.json()["cancelled"]


def learn_usual_time(stack, grader, **more):
    """Lets the leader see how long such jobs take: not long."""
    for _ in range(3):
        run = stack.api.submit_and_start(run_of(1, **more))
        grader.finish(grader.take())
        stack.api.wait_over(run)


def answers_of(stack, run):
    """All answers that show the run's first student, by their schemas."""
    job = f"{ROUTE}/grading_job/{job_id_of(run, STUDENT)}"
    return {
        "grading_run_status": stack.api.status(run, results="true"),
        "grading_jobs": stack.api.request("GET", f"{ROUTE}/grading_run/{run}/jobs").json(),
        "grading_job_details": stack.api.request("GET", job).json(),
    }


def test_a_newer_run_replaces_what_is_queued_and_keeps_its_place(stack):
    key = unique()
    old = submit(stack, key)
    other = stack.api.submit_and_start(run_of(1))
    new = submit(stack, key)
    status = stack.api.wait_over(old)
    assert status["state"] == "superseded"
    student = status["student_statuses"][0]
    assert (student["status"], student["outcome"], student["attempts"]) == ("Finished", "superseded", 0)
    assert (student["result"], student["owner"]) == (f"superseded by the grading run {new}", "client")
    assert student["superseded_by"] == job_id_of(new, STUDENT)
    assert status["progress"]["superseded"] == 1
    grader = stack.grader()
    for run in (new, other):
        job = grader.take()
        assert job["job_id"] == job_id_of(run, STUDENT)
        grader.finish(job)
    assert stack.api.wait_over(new)["state"] == "finished"
    assert stack.api.wait_over(other)["progress"].keys() == {
        "total",
        "queued",
        "running",
        "succeeded",
        "failed",
        "cancelled",
    }
    assert grader.poll() is None


def test_of_many_submissions_the_newest_alone_is_graded_in_the_place_of_the_first(stack):
    key = unique()
    runs = [submit(stack, key)]
    other = stack.api.submit_and_start(run_of(1))
    runs += [submit(stack, key, pre=True, post=True) for _ in range(4)]
    for run in runs[:-1]:
        assert stack.api.wait_over(run)["state"] == "superseded"
    grader = stack.grader()
    for job in (job_id_of(runs[-1], PRE), job_id_of(runs[-1], STUDENT), job_id_of(runs[-1], POST)):
        assert finish_next(grader) == job
    assert finish_next(grader) == job_id_of(other, STUDENT)
    assert stack.api.wait_over(runs[-1])["state"] == "finished"
    before, *after = (
        stack.api.status(runs[-2], results="true")[f"{step}processing_status"] for step in ("pre", "post")
    )
    assert [before["outcome"], after[0]["outcome"]] == ["superseded"] * 2
    assert before["result"] == after[0]["result"] == "the grading run was superseded"
    assert grader.poll() is None


def test_a_job_that_just_began_is_stopped_and_its_result_is_refused(stack):
    key, more = unique(), own_limits()
    old = submit(stack, key, **more)
    grader = stack.grader(cancel="true")
    job = grader.take()
    new = submit(stack, key, **more)
    assert stack.api.wait_over(old)["state"] == "superseded"
    wait_until(lambda: lost_jobs(grader, job["job_id"]) == [job["job_id"]], 5, "its grader is told")
    answer = grader.finish_response(job, "late")
    assert answer.status_code == 400
    assert f"it was superseded, superseded by the grading run {new}" in error_of(answer)
    assert finish_next(grader) == job_id_of(new, STUDENT)
    assert stack.api.wait_over(new)["state"] == "finished"
    assert student_of(stack, old)["attempts"] == 1


def test_a_grader_that_sends_no_heartbeats_is_not_dead_while_it_goes_on(stack):
    key, more = unique(), own_limits()
    old = submit(stack, key, **more)
    grader = stack.grader()
    job = grader.take()
    wait_until(lambda: stack.api.status(old)["progress"]["running"] == 1, 5, "it runs")
    new = submit(stack, key, supersede_share=0, **more)
    assert stack.api.wait_over(old)["state"] == "superseded"
    worker = stack.database.db.workers.find_one
    holds_for(lambda: worker({"_id": grader.id})["alive"], 4.5, "it is alive")
    assert grader.finish_response(job, "late").status_code == 200
    assert finish_next(grader) == job_id_of(new, STUDENT)
    stack.api.wait_over(new)


def test_a_job_that_had_its_share_goes_on_and_its_result_is_kept_and_counts_for_nothing(stack):
    key, more = unique(), own_limits()
    grader = stack.grader(cancel="true")
    learn_usual_time(stack, grader, **more)
    old = submit(stack, key, **more)
    job = grader.take()
    time.sleep(1)
    new = submit(stack, key, **more)
    assert stack.api.wait_over(old)["state"] == "superseded"
    student = student_of(stack, old)
    assert student["result"] == f"superseded by the grading run {new}, while a grader went on with it"
    assert "reported" not in student and lost_jobs(grader, job["job_id"]) == []
    detail = stack.api.request("GET", f"{ROUTE}/grading_job/{job['job_id']}").json()
    assert [attempt["end"] for attempt in detail["attempts"]] == [None]
    mark = stack.database.db.workers.update_one
    mark({"_id": grader.id}, {"$set": {"alive": False}})
    (attempt,) = stack.api.request("GET", f"{ROUTE}/grading_job/{job['job_id']}").json()["attempts"]
    assert (attempt["end"], attempt["ended_at"]) == ("lost", None)
    mark({"_id": grader.id}, {"$set": {"alive": True}})
    for _ in range(2):
        grader.finish(job, "too late to count")
    answer = grader.finish_response(job, "another one")
    assert answer.status_code == 400 and "this worker sent another one before" in error_of(answer)
    student = student_of(stack, old)
    assert (student["outcome"], student["result"], student["reported"]) == (
        "superseded",
        "too late to count",
        "succeeded",
    )
    assert student["superseded_by"] == job_id_of(new, STUDENT)
    status = stack.api.status(old)
    assert (status["state"], status["progress"]["succeeded"], status["progress"]["superseded"]) == ("superseded", 0, 1)
    detail = stack.api.request("GET", f"{ROUTE}/grading_job/{job['job_id']}").json()
    assert [attempt["end"] for attempt in detail["attempts"]] == ["result"]
    for name, answer in answers_of(stack, old).items():
        check(name, answer)
    grader.finish(grader.take())
    assert stack.api.wait_over(new)["state"] == "finished"


@pytest.mark.parametrize(("share", "goes_on"), [(0, True), (1, False)])
def test_the_share_decides_whether_a_job_that_runs_is_stopped(stack, share, goes_on):
    key, more = unique(), own_limits()
    old = submit(stack, key, **more)
    grader = stack.grader()
    job = grader.take()
    # The replica's word that the grader has the job must have reached the scheduler.
    wait_until(lambda: stack.api.status(old)["progress"]["running"] == 1, 5, "it runs")
    time.sleep(0.5)
    new = submit(stack, key, supersede_share=share, **more)
    assert stack.api.wait_over(old)["state"] == "superseded"
    assert grader.finish_response(job, "late").status_code == (200 if goes_on else 400)
    grader.finish(grader.take())
    assert stack.api.wait_over(new)["state"] == "finished"


def test_students_of_larger_runs_are_replaced_one_by_one_and_the_rest_goes_on(stack):
    keys = [unique() for _ in range(4)]
    old = stack.api.submit_and_start(run_of(4, supersede_keys=[*keys[:3], None], post=True))
    grader = stack.grader()
    first = grader.take()
    single = submit(stack, keys[2])
    wait_until(lambda: student_of(stack, old, 2)["outcome"] == "superseded", 5, "it is superseded")
    assert stack.api.status(old)["state"] == "students"
    expected = [job_id_of(old, STUDENT, 1), job_id_of(single, STUDENT), job_id_of(old, STUDENT, 3)]
    grader.finish(first)
    for job_id in expected:
        job = grader.take()
        assert job["job_id"] == job_id
        grader.finish(job)
    grader.finish(grader.take())
    status = stack.api.wait_over(old)
    assert status["state"] == "finished"
    assert [student["outcome"] for student in status["student_statuses"]] == [
        "succeeded",
        "succeeded",
        "superseded",
        "succeeded",
    ]
    assert status["postprocessing_status"]["outcome"] == "succeeded"


def test_jobs_that_ended_before_keep_their_results(stack):
    key = unique()
    old = submit(stack, key)
    grader = stack.grader()
    grader.finish(grader.take(), "counted")
    assert stack.api.wait_over(old)["state"] == "finished"
    new = submit(stack, key)
    grader.finish(grader.take())
    assert stack.api.wait_over(new)["state"] == "finished"
    assert student_of(stack, old)["result"] == "counted"


def test_jobs_are_listed_by_the_outcome_and_superseded_ones_are_not_run_again_unless_named(stack):
    keys = [unique() for _ in range(2)]
    old = stack.api.submit_and_start(run_of(2, supersede_keys=keys))
    new = submit(stack, keys[0])
    wait_until(lambda: student_of(stack, old)["outcome"] == "superseded", 5, "it is superseded")
    grader = stack.grader()
    for _ in range(2):
        grader.finish(grader.take(), "wrong", success=False)
    stack.api.wait_over(old)
    jobs = stack.api.request("GET", f"{ROUTE}/grading_run/{old}/jobs", params={"outcome": "superseded"}).json()["jobs"]
    assert [(job["job_id"], job["superseded_by"]) for job in jobs] == [
        (job_id_of(old, STUDENT), job_id_of(new, STUDENT))
    ]
    path = f"{ROUTE}/grading_run/{old}/rerun"
    for request, students in (({"select": "all"}, 1), ({"select": "failed"}, 1), ({"students": [0, 1]}, 2)):
        answer = stack.api.request("POST", path, json=request)
        assert answer.status_code == 200, answer.text
        again = answer.json()["id"]
        assert len(stack.api.status(again)["student_statuses"]) == students
        for _ in range(students):
            grader.finish(grader.take())
        assert "superseded" not in stack.api.wait_over(again)["progress"]
    answer = stack.api.request("POST", f"{ROUTE}/grading_job/{job_id_of(old, STUDENT)}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (409, "superseded")
    assert error_of(answer) == f"the grading job '{job_id_of(old, STUDENT)}' is over: it was superseded"


REFUSED = [
    ({"supersede_key": ""}, "supersede_key: must not be empty"),
    ({"supersede_key": "x" * 201}, "supersede_key: must be at most 200 bytes long, not 201"),
    ({"supersede_key": "a\nb"}, "supersede_key: must not contain control characters"),
    ({"supersede_key": 5}, "supersede_key: must be a string, not a number"),
    (
        {"supersede_key": "a", "count": 2},
        "supersede_key: is for a run of exactly one student, not 2; 'supersede_keys' has a key for each",
    ),
    ({"supersede_key": "a", "supersede_keys": ["a"]}, "'supersede_key' and 'supersede_keys' exclude each other"),
    ({"supersede_keys": "a"}, "supersede_keys: must be a list, not a string"),
    ({"supersede_keys": [5]}, "supersede_keys[0]: must be a string or null, not a number"),
    ({"supersede_keys": [""]}, "supersede_keys[0]: must not be empty"),
    (
        {"supersede_keys": ["a"], "count": 2},
        "supersede_keys: must have a key or null for each of the 2 students, not 1 items",
    ),
    (
        {"supersede_keys": ["a", "b", "a"], "count": 3},
        "supersede_keys[2]: students[0] of the same run has this key as well",
    ),
    (
        {"supersede_keys": [None] * 10001, "count": 10001},
        "supersede_keys: a run with keys has at most 10000 students, not 10001",
    ),
    ({"supersede_key": "a", "supersede_share": 1.5}, "supersede_share: must be between 0 and 1, not 1.5"),
    ({"supersede_key": "a", "supersede_share": "1"}, "supersede_share: must be a number, not a string"),
    ({"supersede_share": 0.5}, "supersede_share: the run has no 'supersede_key' and no 'supersede_keys'"),
]


@pytest.mark.parametrize(("more", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_keys_that_are_not_valid_are_refused_in_both_protocols(stack, staff, more, sentence):
    more = dict(more)
    count = more.pop("count", 1)
    answer = stack.api.request("POST", f"{ROUTE}/grading_run", json=run_of(count, **more))
    assert answer.status_code == 400 and error_of(answer).startswith(sentence), answer.text
    course = staff.course()
    assignment = course.configure(config_of())
    body = {"students_env": [{"netid": str(number)} for number in range(count)], **more}
    answer = course.ask("POST", f"/grading_run/{course.name}/{assignment}", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["status"] == "fail" and sentence in answer.text.replace('\\"', '"'), answer.text


def test_keys_of_a_course_count_within_its_assignment(staff):
    course, grader = staff.course(), staff.grader()
    one, two = (course.configure(config_of()) for _ in range(2))
    old = course.start(one, supersede_key="ada")
    other = course.start(two, supersede_key="ada")
    new = course.start(one, supersede_key="ada")

    wait_until(lambda: course.state(old) == "grading run was superseded", 5, "the first run is superseded")
    assert set(course.status(old)["student_jobs_state"].values()) == {"grading job failed"}
    assert course.cancel(old).status_code == 409
    assert course.length() == 2
    assert [course.position(job_id_of(run, STUDENT)) for run in (new, other)] == [0, 1]
    for run in (new, other):
        job = grader.take()
        assert job["grading_job_id"] == job_id_of(run, STUDENT)
        grader.finish(job)
    for run in (new, other):
        wait_until(lambda run=run: course.state(run) == "grading run is complete", 10, "it is over")
    job = course.data("GET", f"/grading_job/{course.name}/{job_id_of(old, STUDENT)}")
    assert (job["outcome"], job["superseded_by"]) == ("superseded", job_id_of(new, STUDENT))


def test_a_websocket_is_stopped_by_the_message_of_a_cancelled_job(staff):
    course, socket = staff.course(), staff.socket(replica=1)
    assignment = course.configure(config_of())
    socket.send({"type": "register", "args": {"hostname": "host", "cancel": True}})
    assert socket.receive() == {"success": True}
    old = course.start(assignment, supersede_key="ada")
    job = socket.receive()["grading_job_id"]
    assert job == job_id_of(old, STUDENT)
    new = course.start(assignment, supersede_key="ada")
    assert socket.receive() == {"type": "cancel", "args": {"grading_job_id": job}}
    socket.send({"type": "job_result", "args": {"grading_job_id": job, "outcome": "infrastructure", "reason": "over"}})
    following = socket.receive()["grading_job_id"]
    assert following == job_id_of(new, STUDENT)
    result = {"grading_job_id": following, "success": True, "results": [], "logs": {}}
    socket.send({"type": "job_result", "args": result})
    wait_until(lambda: course.state(new) == "grading run is complete", 5, "the newest run is complete")


def test_a_websocket_that_goes_on_is_not_stopped_and_its_result_is_kept(staff):
    course, socket = staff.course(), staff.socket(replica=1)
    assignment = course.configure(config_of())
    socket.send({"type": "register", "args": {"hostname": "host", "cancel": True}})
    assert socket.receive() == {"success": True}
    old = course.start(assignment, supersede_key="ada")
    job = socket.receive()["grading_job_id"]
    time.sleep(0.5)  # the word that it was delivered reaches the scheduler
    new = course.start(assignment, supersede_key="ada", supersede_share=0)
    wait_until(lambda: course.state(old) == "grading run was superseded", 5, "the first run is superseded")
    assert socket.receives_nothing(2)
    result = {"grading_job_id": job, "success": True, "results": [{"score": 1}], "logs": {"stdout": "kept"}}
    socket.send({"type": "job_result", "args": result})
    following = socket.receive()["grading_job_id"]
    assert following == job_id_of(new, STUDENT)
    socket.send({"type": "job_result", "args": {**result, "grading_job_id": following}})
    wait_until(lambda: course.state(new) == "grading run is complete", 5, "the newest run is complete")
    shown = course.data("GET", f"/grading_job/{course.name}/{job}")
    assert (shown["outcome"], shown["reported"], shown["result"]) == ("superseded", "succeeded", [{"score": 1}])
    assert course.log(job)["stdout"] == "kept"
