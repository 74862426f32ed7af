"""A grader that can't run a job returns it: the job goes to another grader, and is nobody's attempt."""

import pytest
from broadway import ROUTE, Api, error_of
from course import failed
from harness import run_stack
from pipelines import run_of
from test_health import sample_values
from waiting import holds_for, is_instrumented, soon, wait_until

REASON = "podman: no space left on device"
OUTCOMES = "Broadway-Outcomes"


def return_response(grader, job, style="json", **more):
    job = job if isinstance(job, str) else job["job_id"]
    message = {"worker_id": grader.id, "outcome": "infrastructure", "reason": REASON, **more}
    return grader.http.post(f"{ROUTE}/grading_job/{job}", **{"json" if style == "json" else style: message})


def give_back(grader, job, **more):
    answer = return_response(grader, job, **more)
    assert answer.status_code == 200 and answer.json() == {}, answer.text


def course_return_response(grader, job, **more):
    message = {"grading_job_id": job["grading_job_id"], "outcome": "infrastructure", "reason": REASON, **more}
    return grader.http.post(f"/grading_job/{grader.name}", json=message)


def student_of(stack, run):
    (student,) = stack.apis[1].status(run, results="true")["student_statuses"]
    return student


def scheduler_metric(stack, name):
    api = Api(stack.described["scheduler"][0]["url"])
    try:
        return sample_values(api.request("GET", "/metrics").text)[name]
    finally:
        api.close()


# The announcement


def test_the_answer_to_a_registration_says_that_jobs_may_be_returned(stack):
    answer = stack.grader().http.get(f"{ROUTE}/worker_register", params={"token": stack.cluster_token})
    assert answer.headers[OUTCOMES] == "infrastructure"


def test_so_do_the_answers_of_the_course_protocol(staff):
    assert staff.grader(register=False).register().headers[OUTCOMES] == "infrastructure"
    assert staff.socket().socket.response_headers[OUTCOMES] == "infrastructure"


# Another grader


@pytest.mark.parametrize("style", ["json", "data", "params"])
def test_a_returned_job_goes_to_another_grader_and_is_no_attempt(stack, style):
    run = stack.api.submit_and_start(run_of(1))
    sick, sound = stack.grader(), stack.grader(1)
    job = sick.take()
    give_back(sick, job, style=style)
    again = sound.take(soon())
    assert (again["job_id"], again["attempt"]) == (job["job_id"], 2)
    assert student_of(stack, run)["attempts"] == 1
    sound.finish(again, "graded")
    student = student_of(stack, run)
    assert (student["outcome"], student["attempts"], student["result"]) == ("succeeded", 1, "graded")
    assert "owner" not in student
    first = stack.database.db.job_leases.find_one({"_id": f"{job['job_id']}.1"})
    assert (first["ended"], first["owner"], first["reason"]) == ("released", "infrastructure", REASON)


def test_what_a_result_would_have_beside_it_is_ignored(stack):
    run = stack.api.submit_and_start(run_of(1))
    sick, sound = stack.grader(), stack.grader()
    give_back(sick, sick.take(), result="none", success=False, logs={"stderr": "engine"})
    sound.finish(sound.take(soon()))
    assert stack.api.wait_over(run)["progress"]["succeeded"] == 1


def test_a_reason_is_kept_as_one_line_that_fits(stack):
    stack.api.submit_and_start(run_of(2))
    grader = stack.grader()
    first, second = grader.take(), grader.take()
    give_back(grader, first, reason="no\nspace\u0007 ü" + "x" * 5000)
    answer = grader.http.post(
        f"{ROUTE}/grading_job/{second['job_id']}", json={"worker_id": grader.id, "outcome": "infrastructure"}
    )
    assert answer.status_code == 200, answer.text
    leases = [stack.database.db.job_leases.find_one({"_id": f"{job['job_id']}.1"}) for job in (first, second)]
    assert leases[0]["reason"].startswith("no space  üxxx") and len(leases[0]["reason"].encode()) < 216
    assert leases[1]["reason"] == "no reason given"


def test_a_course_grader_returns_a_job_over_http(staff):
    course = staff.course()
    run = course.run()
    sick, sound = staff.grader(), staff.grader(replica=1)
    job = sick.take()
    answer = course_return_response(sick, job)
    assert answer.status_code == 200 and answer.json() == {"status": "success", "data": None}
    again = sound.take(soon())
    assert again["grading_job_id"] == job["grading_job_id"]
    sound.finish(again)
    status = course.status(run)
    assert status["state"] == "grading run is complete" and "owners" not in status


def test_a_course_grader_returns_a_job_by_websocket(staff):
    course = staff.course()
    sick = staff.socket_grader()
    run = course.run()
    job = sick.take()
    sick.send(
        {
            "type": "job_result",
            "args": {"grading_job_id": job["grading_job_id"], "outcome": "infrastructure", "reason": REASON},
        }
    )
    sick.close()
    sound = staff.socket_grader(replica=1)
    again = sound.take(soon())
    assert again["grading_job_id"] == job["grading_job_id"]
    sound.finish(again)
    wait_until(lambda: course.state(run) == "grading run is complete", soon(), "the run is over")
    ends = [lease.get("owner") for lease in staff.stack.database.leases_of_job(job["grading_job_id"])]
    assert ends == ["infrastructure", None]


def test_a_job_that_one_grader_returned_twice_is_given_back_to_it_only_after_a_pause(stack):
    """The other jobs do not wait behind it."""
    run = stack.api.submit_and_start(run_of(2))
    grader = stack.grader()
    job = grader.take()
    give_back(grader, job)
    other = grader.take(soon())
    assert other["job_id"] != job["job_id"]
    grader.finish(other)
    holds_for(lambda: grader.poll(wait=0.2) is None, 2, "it does not get what it has returned")
    waiting_for = stack.api.status(run)["waiting_for"]
    assert waiting_for == f"a grader returned a job, which waits for another one: {REASON}"
    sound = stack.grader()
    again = sound.take(soon())
    assert again["job_id"] == job["job_id"]
    assert "waiting_for" not in stack.api.status(run)
    sound.finish(again)


@pytest.mark.skipif(is_instrumented(), reason="waits for a minute, for one line in the pure rules")
def test_five_graders_that_return_a_job_fail_it_and_the_infrastructure_is_at_fault(stack):
    run = stack.api.submit_and_start(run_of(1))
    course_like = scheduler_metric(stack, 'broadway_scheduler_jobs_returned_total{protocol="course"}')
    before = scheduler_metric(stack, 'broadway_scheduler_jobs_returned_total{protocol="classic"}')
    for number in range(5):
        grader = stack.grader(hostname=f"sick-{number}")
        job = wait_until(lambda grader=grader: grader.beat() and grader.poll(wait=0.3), 35, "the next one gets it")
        assert job["attempt"] == number + 1
        give_back(grader, job, reason=f"sick {number}")
    student = stack.api.wait_over(run)["student_statuses"][0]
    assert student["result"] == "5 graders could not run it: sick 4"
    assert (student["outcome"], student["attempts"], student["owner"]) == ("failed", 0, "infrastructure")
    after = scheduler_metric(stack, 'broadway_scheduler_jobs_returned_total{protocol="classic"}')
    assert after == before + 5
    assert scheduler_metric(stack, 'broadway_scheduler_jobs_returned_total{protocol="course"}') == course_like
    log = (stack.directory / "scheduler-0.log").read_text()
    assert "job returned by its grader" in log and "sick-3" in log


def test_a_class_whose_first_grader_is_broken_loses_no_attempt(stack):
    """It returns whatever it gets, as fast as it can; after five in a row it is paused for a while."""
    run = stack.api.submit_and_start(run_of(40))
    sick = stack.grader(hostname="sick")
    for _ in range(5):
        give_back(sick, sick.take())
    assert sick.poll(wait=0.5) is None
    sound = stack.grader()
    for _ in range(40):
        sound.finish(sound.take())
    status = stack.api.wait_over(run)
    assert status["progress"]["succeeded"] == 40
    assert {student["attempts"] for student in status["student_statuses"]} == {1}


# Refusals


def test_the_same_return_again_is_accepted_and_changes_nothing(stack):
    run = stack.api.submit_and_start(run_of(1))
    sick, sound = stack.grader(), stack.grader()
    job = sick.take()
    give_back(sick, job)
    give_back(sick.at(stack.urls[2]), job)
    again = sound.take(soon())
    give_back(sick, job)
    assert again["attempt"] == 2
    sound.finish(again)
    give_back(sick, job)
    assert stack.api.wait_over(run)["progress"]["succeeded"] == 1


def test_a_return_after_a_result_is_refused(stack):
    stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    job = grader.take()
    grader.finish(job)
    answer = return_response(grader, job)
    assert answer.status_code == 400
    assert "has its result already: this worker sent another one before (succeeded)" in error_of(answer)


def test_a_result_after_a_return_counts_while_the_job_has_none(stack):
    run = stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    job = grader.take()
    give_back(grader, job)
    grader.finish(job, "after all")
    assert stack.api.wait_over(run)["student_statuses"][0]["result"] == "after all"


def test_a_stranger_can_not_return_a_job(stack):
    stack.api.submit_and_start(run_of(1))
    holder, stranger = stack.grader(), stack.grader()
    job = holder.take()
    answer = return_response(stranger, job)
    assert answer.status_code == 400
    assert error_of(answer) == f"job '{job['job_id']}' was never handed to worker '{stranger.id}'"
    answer = return_response(holder, job["job_id"][:-4] + "ffff")
    assert answer.status_code == 400 and "is not known" in error_of(answer)
    holder.finish(job)


def test_a_return_of_a_lost_attempt_is_refused(stack):
    stack.api.submit_and_start(run_of(1))
    lost = stack.grader(concurrency=1)
    job = lost.take()
    sound = stack.grader()
    again = sound.take(6)
    answer = return_response(lost, job)
    assert answer.status_code == 400
    assert error_of(answer) == f"job '{job['job_id']}' is not this worker's any more: attempt 1 was lost"
    sound.finish(again)


def test_a_return_for_a_cancelled_run_is_refused_once_its_jobs_are_cancelled(stack):
    run = stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    job = grader.take()
    stack.api.cancel(run)
    stack.api.wait_over(run)
    answer = return_response(grader, job)
    assert answer.status_code == 400 and "it was cancelled" in error_of(answer)


def test_another_outcome_is_refused_like_any_wrong_result(stack):
    run = stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    answer = return_response(grader, grader.take(), outcome="lazy")
    assert answer.status_code == 400 and error_of(answer) == "outcome: must be 'infrastructure'"
    assert stack.api.wait_over(run)["progress"]["failed"] == 1


def test_a_result_without_a_result_is_still_refused(stack):
    stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    job = grader.take()
    answer = grader.http.post(f"{ROUTE}/grading_job/{job['job_id']}", json={"worker_id": grader.id, "reason": "x"})
    assert answer.status_code == 400 and error_of(answer) == "argument 'result' is missing"


def test_refusals_of_the_course_protocol_are_those_of_results(staff):
    staff.course().run(2)
    grader, stranger = staff.grader(), staff.grader()
    job, other = grader.take(), grader.take()
    answer = course_return_response(stranger, job)
    assert answer.status_code == 400
    assert answer.json() == failed("cannot update job that is not in STARTED state")
    answer = course_return_response(grader, {"grading_job_id": "f" * 32})
    assert answer.status_code == 400 and answer.json() == failed("job with the given ID not found")
    answer = course_return_response(grader, job, outcome="lazy")
    assert answer.status_code == 400
    assert answer.json() == {"status": "fail", "data": "outcome: must be 'infrastructure'"}
    answer = grader.http.post(f"/grading_job/{grader.name}", json={"grading_job_id": other["grading_job_id"]})
    assert answer.status_code == 400 and answer.json() == {"status": "fail", "data": "success: is required"}


# What breaks on the way


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    yield from run_stack(tmp_path_factory, "returns", both=("heartbeat-interval=1",), scheduler=("leader-lease=1.5",))


def test_a_scheduler_that_is_killed_goes_on_with_what_was_returned(small):
    run = small.api.submit_and_start(run_of(1))
    grader = small.grader()
    job = grader.take()
    small.kill("scheduler-0")
    give_back(grader, job)
    small.restart("scheduler-0")
    holds_for(lambda: grader.poll(wait=0.2) is None, 4, "the new leader knows who returned it")
    sound = small.grader()
    again = sound.take(10)
    assert (again["job_id"], again["attempt"]) == (job["job_id"], 2)
    sound.finish(again)
    status = small.api.wait_over(run)
    assert status["progress"]["succeeded"] == 1 and status["student_statuses"][0]["attempts"] == 1
