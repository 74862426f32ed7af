"""A grader that goes on with a superseded job: its log, its report, its return, and how a client stops it."""

import time

import pytest
from broadway import ROUTE, error_of
from course import config_of, failed
from course_names import unique
from live_logs import LogStream
from pipelines import run_of
from test_docs import check
from test_supersede import lost_jobs, student_of
from waiting import wait_until


def hold(stack, grader, **more):
    """A job of a classic run that is superseded while its grader goes on with it, and the newer run."""
    key = unique()
    old = stack.api.submit_and_start(run_of(1, supersede_key=key, **more))
    job = grader.take()
    wait_until(lambda: stack.api.status(old)["progress"]["running"] == 1, 5, "it runs")
    time.sleep(0.5)  # the word that it was delivered reaches the scheduler
    new = stack.api.submit_and_start(run_of(1, supersede_key=key, supersede_share=0))
    assert stack.api.wait_over(old)["state"] == "superseded"
    stack.api.cancel(new)  # its job is not looked at
    return job


def hold_in_course(staff, course, grader):
    assignment = course.configure(config_of())
    old = course.start(assignment, supersede_key="ada")
    job = grader.take()["grading_job_id"]
    time.sleep(0.5)
    new = course.start(assignment, supersede_key="ada", supersede_share=0)
    wait_until(lambda: course.state(old) == "grading run was superseded", 5, "the run is superseded")
    assert course.cancel(new).status_code == 200
    return job


def attempt_of(stack, job):
    detail = stack.api.request("GET", f"{ROUTE}/grading_job/{job['job_id']}").json()
    check("grading_job_details", detail)
    (attempt,) = detail["attempts"]
    return attempt


def give_back(grader, job):
    body = {"worker_id": grader.id, "outcome": "infrastructure", "reason": "the disk is full"}
    return grader.http.post(f"{ROUTE}/grading_job/{job['job_id']}", json=body)


def cancel(stack, job):
    return stack.apis[1].request("POST", f"{ROUTE}/grading_job/{job['job_id']}/cancel")


def superseded_at(stack, job):
    return stack.database.db.job_results.find_one({"_id": job["job_id"]})["finished_at"]


def send_chunk(grader, job, offset, chunk):
    query = {"worker_id": grader.id, "stream": "stdout", "offset": offset}
    return grader.http.post(f"{ROUTE}/grading_job/{job['job_id']}/log", params=query, content=chunk)


def log_of(stack, job):
    path = f"{ROUTE}/grading_job/{job['job_id']}/log"
    return stack.apis[1].request("GET", path, params={"stream": "stdout"}).json()


# ---- Results


@pytest.mark.parametrize("replica", [0, 1])
def test_a_failure_is_kept_whatever_the_rules_of_the_run_say(stack, replica):
    grader = stack.grader(cancel="true")
    job = hold(stack, grader, owner_rules=[{"owner": "infrastructure"}])
    grader.at(stack.urls[replica])
    for _ in range(2):
        answer = grader.finish_response(job, "it failed", success=False)
        assert (answer.status_code, answer.json()) == (200, {}), answer.text
    student = student_of(stack, job["job_id"][:24])
    assert (student["outcome"], student["reported"], student["result"]) == ("superseded", "failed", "it failed")
    assert attempt_of(stack, job)["end"] == "result"


def test_a_failure_of_a_job_that_was_cancelled_is_refused_whatever_the_rules_say(stack):
    grader = stack.grader(cancel="true")
    stack.api.submit_and_start(run_of(1, owner_rules=[{"owner": "infrastructure"}]))
    job = grader.take()
    assert cancel(stack, job).status_code == 200
    answer = grader.finish_response(job, "it failed", success=False)
    assert answer.status_code == 400 and "it was cancelled" in error_of(answer)


def test_an_attempt_that_goes_on_ends_when_its_result_is_kept(stack):
    grader = stack.grader()
    job = hold(stack, grader)
    attempt = attempt_of(stack, job)
    assert (attempt["end"], attempt["ended_at"]) == (None, None)
    time.sleep(1.1)
    grader.finish(job, "late")
    attempt = attempt_of(stack, job)
    assert attempt["end"] == "result"
    assert attempt["ended_at"][:19] > superseded_at(stack, job).strftime("%Y-%m-%dT%H:%M:%S")


# ---- Returns


def test_a_return_ends_the_holding_and_a_later_report_is_refused(stack):
    grader = stack.grader(cancel="true")
    job = hold(stack, grader)
    for _ in range(2):
        answer = give_back(grader, job)
        assert (answer.status_code, answer.json()) == (200, {}), answer.text
    assert lost_jobs(grader, job["job_id"]) == [job["job_id"]]
    attempt = attempt_of(stack, job)
    assert attempt["end"] == "superseded" and attempt["ended_at"] is not None
    answer = grader.finish_response(job, "after all")
    assert answer.status_code == 400 and "it was superseded" in error_of(answer)
    assert "reported" not in student_of(stack, job["job_id"][:24])
    assert grader.poll() is None


def test_a_return_after_the_report_is_refused(stack):
    grader = stack.grader(cancel="true")
    job = hold(stack, grader)
    grader.finish(job, "late")
    answer = give_back(grader, job)
    assert answer.status_code == 400 and "this worker sent another one before" in error_of(answer)


# ---- The log


def test_the_log_is_live_until_the_holder_reports(stack):
    grader = stack.grader()
    job = hold(stack, grader)
    assert send_chunk(grader, job, 0, b"one\n").json() == {"size": 4}
    stream = LogStream(stack.urls[1], f"{ROUTE}/grading_job/{job['job_id']}/log?stream=stdout", {})
    assert send_chunk(grader, job, 4, b"two\n").json() == {"size": 8}
    seen = log_of(stack, job)
    assert (seen["text"], seen["live"], seen["attempt"]) == ("one\ntwo\n", True, 1)
    text = ""
    while text != "one\ntwo\n":
        kind, data = stream.next()
        text += data["text"] if kind == "log" else ""
        assert kind != "end"
    grader.finish(job, "late", logs={"stdout": "one\ntwo\nthree\n"})
    rest = stream.rest()
    assert [data["text"] for kind, data in rest if kind == "log"] == ["three\n"]
    kind, data = rest[-1]
    assert (kind, data["state"]) == ("end", "superseded")
    stream.close()
    seen = log_of(stack, job)
    assert (seen["text"], seen["live"]) == ("one\ntwo\nthree\n", False)
    answer = send_chunk(grader, job, 8, b"four\n")
    assert answer.status_code == 409 and error_of(answer) == f"job '{job['job_id']}' has its result already"


# ---- A client stops the holder


def test_a_cancel_ends_the_holding_and_the_job_stays_superseded(stack):
    grader = stack.grader(cancel="true")
    job = hold(stack, grader)
    assert send_chunk(grader, job, 0, b"one\n").status_code == 200
    assert lost_jobs(grader, job["job_id"]) == []
    for _ in range(2):
        answer = cancel(stack, job)
        assert (answer.status_code, answer.json()) == (200, {"job_id": job["job_id"], "state": "superseded"})
        check("job_cancelled", answer.json())
    assert lost_jobs(grader, job["job_id"]) == [job["job_id"]]
    assert send_chunk(grader, job, 4, b"two\n").status_code == 409
    assert log_of(stack, job)["live"] is False
    answer = grader.finish_response(job, "late")
    assert answer.status_code == 400 and "it was superseded" in error_of(answer)
    assert give_back(grader, job).status_code == 200
    student = student_of(stack, job["job_id"][:24])
    assert student["outcome"] == "superseded" and "reported" not in student
    attempt = attempt_of(stack, job)
    assert attempt["end"] == "superseded" and attempt["ended_at"] is not None


def test_a_job_whose_holder_has_reported_is_over(stack):
    grader = stack.grader()
    job = hold(stack, grader)
    grader.finish(job, "late")
    answer = cancel(stack, job)
    assert (answer.status_code, answer.json()["state"]) == (409, "superseded")
    assert student_of(stack, job["job_id"][:24])["reported"] == "succeeded"


def test_a_websocket_is_notified_and_a_polling_grader_of_a_course_is_excused(staff):
    course, old, socket = staff.course(), staff.grader(), staff.socket(replica=1)
    job = hold_in_course(staff, course, old)
    path = f"/grading_job/{course.name}/{job}/cancel"
    answer = course.ask("POST", path)
    assert (answer.status_code, answer.json()["data"]) == (
        200,
        {"grading_job_id": job, "state": "grading job failed"},
    )
    old.finish(job)
    old.close()
    asking = staff.grader(cancel=True)
    job = hold_in_course(staff, course, asking)
    assert course.ask("POST", f"/grading_job/{course.name}/{job}/cancel").status_code == 200
    answer = asking.finish_response(job)
    assert (answer.status_code, answer.json()) == (400, failed("cannot update job that is not in STARTED state"))
    asking.close()
    socket.send({"type": "register", "args": {"hostname": "host", "cancel": True}})
    assert socket.receive() == {"success": True}

    class Pushed:
        """What hold_in_course needs of a grader."""

        @staticmethod
        def take():
            return socket.receive()

    job = hold_in_course(staff, course, Pushed)
    assert course.ask("POST", f"/grading_job/{course.name}/{job}/cancel").status_code == 200
    for _ in range(3):
        socket.ping()
        time.sleep(0.5)
    assert socket.receive() == {"type": "cancel", "args": {"grading_job_id": job}}
