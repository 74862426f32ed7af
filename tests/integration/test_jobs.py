"""Jobs as resources of the classic protocol: the jobs of a run, page by page, and one job."""

import re

import pytest
from broadway import ROUTE, BackgroundGrader, error_of, stop_all
from pipelines import PRE, STUDENT, job_id_of, kind_of, run_of, students
from waiting import soon, wait_until

KINDS = ["preprocessing", "student", "postprocessing"]
DATE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
SIGNATURE = re.compile(r"^[0-9a-f]{16}$")


def list_response(api, run, **query):
    return api.request("GET", f"{ROUTE}/grading_run/{run}/jobs", params=query)


def page_of(api, run, **query):
    answer = list_response(api, run, **query)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) <= {"jobs", "next"}
    return answer.json()


def jobs_of(api, run, **query):
    """All pages of a list."""
    found, page = [], {"next": None}
    while "next" in page:
        after = {} if page["next"] is None else {"after": page["next"]}
        page = page_of(api, run, **query, **after)
        assert "next" not in page or page["next"] == page["jobs"][-1]["job_id"]
        found += page["jobs"]
    return found


def ids(jobs):
    return [job["job_id"] for job in jobs]


def job_of(api, job):
    job = job if isinstance(job, str) else job["job_id"]
    answer = api.request("GET", f"{ROUTE}/grading_job/{job}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal_of(api, run, **query):
    answer = list_response(api, run, **query)
    assert answer.status_code == 400
    return error_of(answer)


def report_of(code, stderr, **more):
    """A result like that of the reference grader."""
    return {"success": False, "stages": [{"image": "x", "exit_code": code, "stderr": stderr, "stdout": "", **more}]}


def failed(grader, result, **more):
    """Takes a job and fails it; returns its id."""
    job = grader.take()["job_id"]
    grader.finish(job, result, success=False, logs={"stderr": "said"}, **more)
    return job


# The list


def test_the_jobs_of_a_run_are_listed_in_the_order_of_their_ids(stack):
    run = stack.api.submit(run_of(3, pre=True, post=True))
    jobs = page_of(stack.api, run)["jobs"]
    assert ids(jobs) == sorted(ids(jobs)) and len(jobs) == 5
    assert [job["kind"] for job in jobs] == [KINDS[kind_of(job["job_id"])] for job in jobs]
    for number, job in enumerate(jobs[1:4]):
        assert job["student"] == {"index": number, "env": {"NETID": f"student{number}"}}
    for job in jobs:
        assert ("student" in job) == (job["kind"] == "student")
        assert (job["state"], job["outcome"], job["attempts"]) == ("Created", None, 0)
        assert job["started_at"] is None and job["ended_at"] is None
        assert "owner" not in job and "signature" not in job


def test_an_entry_says_how_far_its_job_is(stack):
    run = stack.api.submit_and_start(run_of(3))
    grader = stack.grader()
    first, second = grader.take(), grader.take()
    grader.finish(first)
    for api in stack.apis:
        done, running, queued = page_of(api, run)["jobs"]
        assert (done["state"], done["outcome"], done["attempts"]) == ("Finished", "succeeded", 1)
        assert (running["state"], running["outcome"], running["attempts"]) == ("Running", None, 1)
        assert (queued["state"], queued["outcome"], queued["attempts"]) == ("Queued", None, 0)
        assert done["started_at"] <= done["ended_at"] and DATE.match(done["ended_at"])
        assert DATE.match(running["started_at"]) and running["ended_at"] is None
        assert queued["started_at"] is None and queued["ended_at"] is None
    grader.finish(second)
    grader.finish(grader.take())


def test_started_at_is_the_latest_attempt(stack):
    run = stack.api.submit_and_start(run_of(1))
    first, second = stack.grader(concurrency=1), stack.grader(concurrency=1)
    first.take()
    early = page_of(stack.api, run)["jobs"][0]["started_at"]
    again = second.take(soon(20))
    entry = page_of(stack.api, run)["jobs"][0]
    assert entry["attempts"] == 2 and entry["started_at"] > early
    second.finish(again)


def test_a_page_has_100_jobs_unless_limit_says_otherwise(stack):
    run = stack.api.submit(run_of(250))
    assert len(page_of(stack.api, run)["jobs"]) == 100
    page = page_of(stack.api, run, limit=1000)
    assert len(page["jobs"]) == 250 and "next" not in page
    page = page_of(stack.api, run, limit=1, after=job_id_of(run, STUDENT, 7))
    assert ids(page["jobs"]) == [job_id_of(run, STUDENT, 8)] == [page["next"]]


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 9])
def test_next_is_absent_on_the_last_page(stack, limit):
    run = stack.api.submit(run_of(7, pre=True))
    assert ids(jobs_of(stack.api, run, limit=limit)) == ids(page_of(stack.api, run, limit=1000)["jobs"])
    last = job_id_of(run, STUDENT, 6)
    assert page_of(stack.api, run, after=last) == {"jobs": []}


def test_jobs_are_filtered_by_state_and_outcome(stack):
    run = stack.api.submit_and_start(run_of(4, post=True))
    grader = stack.grader()
    grader.finish(first := grader.take())
    second = failed(grader, "bad")
    third = grader.take()
    api = stack.apis[1]
    expected = {"Finished": [first["job_id"], second], "Running": [third["job_id"]], "Queued": 1, "Created": 1}
    for state, jobs in expected.items():
        found = ids(jobs_of(api, run, state=state, limit=1))
        assert len(found) == jobs if isinstance(jobs, int) else found == jobs
    assert ids(jobs_of(api, run, outcome="succeeded")) == [first["job_id"]]
    assert ids(jobs_of(api, run, outcome="failed", state="Finished")) == [second]
    assert jobs_of(api, run, outcome="failed", state="Running") == []
    assert jobs_of(api, run, outcome="cancelled") == []
    stack.api.cancel(run)
    stack.api.wait_over(run)
    assert len(jobs_of(api, run, outcome="cancelled", limit=2)) == 3
    assert jobs_of(api, run, state="Queued") == []


def test_a_job_that_never_ran_is_listed_as_cancelled(stack):
    run = stack.api.submit_and_start(run_of(2, pre=True))
    failed(stack.grader(), "bad")
    stack.api.wait_over(run)
    jobs = page_of(stack.api, run, outcome="cancelled")["jobs"]
    assert [job["state"] for job in jobs] == ["Finished", "Finished"]
    assert jobs[0]["ended_at"] is None and "owner" not in jobs[0]
    job = job_of(stack.api, jobs[0])
    assert job["result"] == job["reason"] == "not run: the job before the students failed"
    assert job["attempts"] == []


@pytest.mark.parametrize(
    "query, sentence",
    [
        ({"state": "running"}, "state: 'running' is not one of Created, Queued, Running, Finished"),
        ({"state": ""}, "state: '' is not one of Created, Queued, Running, Finished"),
        ({"outcome": "Failed"}, "outcome: 'Failed' is not one of succeeded, failed, cancelled, superseded"),
        (
            {"signature": "0123456789ABCDEF"},
            "signature: '0123456789ABCDEF' is not the signature of a failure: 16 lower-case hex digits",
        ),
        ({"limit": "0"}, "limit: must be between 1 and 1000, not 0"),
        ({"limit": "1001"}, "limit: must be between 1 and 1000, not 1001"),
        ({"page": "2"}, "unknown argument 'page'"),
    ],
)
def test_an_unknown_value_of_a_filter_is_refused_with_the_valid_ones(stack, query, sentence):
    run = stack.api.submit(run_of(1))
    assert refusal_of(stack.api, run, **query) == sentence


def test_after_must_be_a_job_of_the_run(stack):
    run, other = stack.api.submit(run_of(1)), stack.api.submit(run_of(2))
    for wrong in ("x", run, job_id_of(run, STUDENT, 1), job_id_of(run, PRE), job_id_of(other, STUDENT)):
        assert refusal_of(stack.api, run, after=wrong) == f"after: the grading run '{run}' has no job '{wrong}'"


def test_the_jobs_of_an_unknown_run_are_refused(stack):
    zero = "0" * 24
    assert refusal_of(stack.api, zero) == f"there is no grading run '{zero}'"
    answer = stack.api.request("GET", f"{ROUTE}/grading_job/{zero}10000000")
    assert answer.status_code == 400 and error_of(answer) == f"there is no grading job '{zero}10000000'"


def test_2000_students_are_paged_through_while_results_come_in(stack):
    """No job is listed twice, none is missing, whichever replica answers, also with a filter that is true of all."""
    run = stack.api.submit_and_start(run_of(2000, pre=True, post=True))
    expected = ids(jobs_of(stack.api, run, limit=1000))
    assert len(expected) == 2002
    graders = [BackgroundGrader(stack.urls, stack.cluster_token, first=n, wait=2) for n in range(8)]
    try:
        rounds, moving = 0, 0
        while not stack.api.is_over(run):
            jobs, page = [], page_of(stack.apis[rounds % 3], run, limit=251)
            while True:
                jobs += page["jobs"]
                if "next" not in page:
                    break
                page = page_of(stack.apis[len(jobs) % 3], run, limit=251, after=page["next"])
            assert ids(jobs) == expected
            finished = sum(job["state"] == "Finished" for job in jobs)
            moving += 0 < finished < 2002
            rounds += 1
        assert moving >= 2
    finally:
        stop_all(graders)
    assert ids(jobs_of(stack.api, run, outcome="succeeded", limit=313)) == expected


# One job


def log_of(job):
    return {name: f"{ROUTE}/grading_job/{job}/log?stream={name}" for name in ("stdout", "stderr")}


def test_a_job_has_its_attempts_and_its_result(stack):
    run = stack.api.submit_and_start(run_of(2))
    grader = stack.grader(hostname="lab-7", concurrency=2)
    job = grader.take()["job_id"]
    running = job_of(stack.apis[1], job)
    assert running["run_id"] == run and running["state"] == "Running" and running["result"] is None
    assert running["outcome"] is None and "reason" not in running
    assert running["log"] == log_of(job)
    assert running["student"] == {"index": 0, "env": {"NETID": "student0"}}
    (attempt,) = running["attempts"]
    assert attempt.pop("started_at") == running["started_at"]
    assert attempt == {"attempt": 1, "worker": grader.id[:8], "hostname": "lab-7", "ended_at": None, "end": None}
    grader.finish(job, {"score": 9})
    ended = job_of(stack.apis[1], job)
    assert (ended["state"], ended["outcome"], ended["result"]) == ("Finished", "succeeded", {"score": 9})
    assert ended["attempts"][0]["end"] == "result"
    assert ended["attempts"][0]["ended_at"] == ended["ended_at"] >= ended["started_at"]
    assert "owner" not in ended and "signature" not in ended and ended["log"] == log_of(job)
    shown = [stack.apis[0].request("GET", path).json() for path in ended["log"].values()]
    assert [log["stream"] for log in shown] == ["stdout", "stderr"]
    assert grader.id not in str(ended)
    grader.finish(grader.take())


def test_a_job_that_nobody_took_has_no_attempts(stack):
    run = stack.api.submit(run_of(1))
    job = job_of(stack.api, job_id_of(run, STUDENT))
    assert (job["attempts"], job["result"], job["state"]) == ([], None, "Created")


def test_attempts_say_how_they_ended(stack):
    run = stack.api.submit_and_start(run_of(1))
    sick = stack.grader()
    job = sick.take()["job_id"]
    returned = {"worker_id": sick.id, "outcome": "infrastructure", "reason": "no space"}
    assert sick.http.post(f"{ROUTE}/grading_job/{job}", json=returned).status_code == 200
    lost = stack.grader(concurrency=1)
    lost.take(soon())
    sound = stack.grader(1, concurrency=1)
    again = sound.take(soon(20))
    assert again["attempt"] == 3
    sound.finish(again)
    shown = job_of(stack.api, job)
    assert [(a["attempt"], a["worker"], a["end"]) for a in shown["attempts"]] == [
        (1, sick.id[:8], "returned"),
        (2, lost.id[:8], "lost"),
        (3, sound.id[:8], "result"),
    ]
    assert [a.get("reason") for a in shown["attempts"]] == ["no space", None, None]
    for attempt in shown["attempts"]:
        assert attempt["started_at"] <= attempt["ended_at"]
    assert page_of(stack.api, run)["jobs"][0]["attempts"] == 2


def test_a_late_result_ends_its_attempt_and_the_running_one_is_superseded(stack):
    stack.api.submit_and_start(run_of(1))
    slow, second = stack.grader(concurrency=1), stack.grader(concurrency=1)
    job = slow.take()["job_id"]
    second.take(soon(20))
    slow.finish(job)
    shown = job_of(stack.api, job)
    assert [a["end"] for a in shown["attempts"]] == ["result", "superseded"]
    assert [a["ended_at"] for a in shown["attempts"]] == [shown["ended_at"]] * 2


def test_the_running_attempt_of_a_cancelled_run_ends_so(stack):
    run = stack.api.submit_and_start(run_of(1))
    job = stack.grader().take()["job_id"]
    stack.api.cancel(run)
    stack.api.wait_over(run)
    shown = job_of(stack.api, job)
    assert shown["outcome"] == "cancelled" and shown["attempts"][0]["end"] == "cancelled"
    assert shown["result"] == shown["reason"]


def test_a_repaired_result_has_its_note(stack):
    stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    job = grader.take()["job_id"]
    body = b'{"worker_id": "%s", "result": {"score": NaN}}' % grader.id.encode()
    assert grader.http.post(f"{ROUTE}/grading_job/{job}", content=body).status_code == 200
    shown = job_of(stack.api, job)
    assert shown["result"] == {"score": None} and shown["note"]


def test_an_unknown_job_is_refused(stack):
    run = stack.api.submit(run_of(1))
    for wrong in (job_id_of(run, STUDENT, 1), job_id_of(run, PRE)):
        answer = stack.api.request("GET", f"{ROUTE}/grading_job/{wrong}")
        assert answer.status_code == 400 and error_of(answer) == f"there is no grading job '{wrong}'"


def test_a_path_that_is_not_a_jobs_id_is_the_poll_of_a_course_grader(stack):
    for other in ("x", "f" * 32, run_of(1)["students"][0]["NETID"]):
        answer = stack.api.request("GET", f"{ROUTE}/grading_job/{other}")
        assert answer.status_code == 401 and answer.json()["status"] == "fail"


def test_a_large_result_is_shown_whole(stack):
    stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    job = grader.take()["job_id"]
    grader.finish(job, "x" * 3_000_000)
    shown = job_of(stack.apis[1], job)
    assert shown["result"] == "x" * 3_000_000 and shown["outcome"] == "succeeded"


# The owner of the fault


def test_a_students_failed_job_is_the_students_fault_and_any_other_the_courses(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(1, pre=True, post=True))
    grader.finish(grader.take())
    student, post = failed(grader, "bad"), failed(grader, "bad")
    over = stack.api.submit_and_start(run_of(1, pre=True))
    pre = failed(grader, "bad")
    for job, owner in ((student, "student"), (post, "course"), (pre, "course")):
        assert job_of(stack.apis[2], job)["owner"] == owner
        owners = {entry["job_id"]: entry["owner"] for entry in jobs_of(stack.apis[2], job[:24], outcome="failed")}
        assert owners[job] == owner
    # Once the run's summary has the jobs, and before.
    for _ in range(2):
        status = stack.api.status(run)
        assert status["student_statuses"][0]["owner"] == "student"
        assert status["postprocessing_status"]["owner"] == "course"
        assert stack.api.status(over)["preprocessing_status"]["owner"] == "course"
        wait_until(lambda: "summary" in stack.database.run(run), 10, "the summary is recorded")


def test_a_refused_result_is_the_infrastructures_fault_and_its_failure_has_a_signature(stack):
    stack.api.submit_and_start(run_of(2))
    grader = stack.grader()
    seen = []
    for _ in range(2):
        job = grader.take()["job_id"]
        answer = grader.http.post(f"{ROUTE}/grading_job/{job}", json={"worker_id": grader.id, "success": True})
        assert answer.status_code == 400
        shown = job_of(stack.api, job)
        assert (shown["outcome"], shown["owner"]) == ("failed", "infrastructure")
        assert shown["reason"] == shown["result"] == error_of(answer)
        seen.append(shown["signature"])
    assert seen[0] == seen[1]


# The signature of a failure


def test_failures_of_one_kind_have_one_signature(stack):
    run = stack.api.submit_and_start(run_of(5))
    grader = stack.grader()
    alike = [failed(grader, report_of(1, f"/job/{n}/main.c:{n}: 0x{n:08x}: boom after {n}.5 s")) for n in range(3)]
    other = failed(grader, report_of(2, "/job/0/main.c:0: 0x00: boom after 1.5 s"))
    grader.finish(grader.take())
    stack.api.wait_over(run)
    signatures = {job["job_id"]: job.get("signature") for job in jobs_of(stack.apis[1], run)}
    (signature,) = {signatures[job] for job in alike}
    assert SIGNATURE.match(signature) and SIGNATURE.match(signatures[other]) and signatures[other] != signature
    assert [job for job, found in signatures.items() if found is None] == [job_id_of(run, STUDENT, 4)]
    assert ids(jobs_of(stack.apis[2], run, signature=signature, limit=2)) == alike
    assert ids(jobs_of(stack.apis[2], run, signature=signature, after=alike[1])) == alike[2:]
    assert jobs_of(stack.api, run, signature=signature, outcome="succeeded") == []
    assert jobs_of(stack.api, run, signature="0" * 16) == []
    assert job_of(stack.api, other)["signature"] == signatures[other]
    for status in stack.api.status(run, results="true")["student_statuses"]:
        assert status.get("signature") == signatures[status["job_id"]]


def test_a_strangers_result_is_known_by_its_logs_or_itself(stack):
    run = stack.api.submit_and_start(run_of(4))
    grader = stack.grader()
    for result, logs in (
        ({"any": "thing"}, {"stderr": "a.out: line 3\nSegmentation fault (core 17)\n"}),
        (["another", 7], {"stderr": "a.out: line 9\nSegmentation fault (core 4)\n", "stdout": "noise"}),
        ("exit status 1", None),
        ("exit status 2", None),
    ):
        job = grader.take()["job_id"]
        grader.finish(job, result, success=False, **({} if logs is None else {"logs": logs}))
    first, second, third, fourth = (job["signature"] for job in page_of(stack.api, run)["jobs"])
    assert first == second and third == fourth and first != third


def test_an_old_result_has_neither_signature_nor_owner(stack):
    run = stack.api.submit_and_start(run_of(1, post=True))
    grader = stack.grader()
    job = failed(grader, "bad")
    stack.database.db.job_results.update_one({"_id": job}, {"$unset": {"signature": "", "owner": ""}})
    shown = job_of(stack.api, job)
    assert shown["outcome"] == "failed" and "signature" not in shown
    assert "signature" not in page_of(stack.api, run)["jobs"][0]
    assert "signature" not in stack.api.status(run, results="true")["student_statuses"][0]
    grader.finish(grader.take())


def test_a_result_that_is_sent_again_keeps_its_signature(stack):
    stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    job = failed(grader, "bad")
    signature = job_of(stack.api, job)["signature"]
    again = grader.finish_response(job, "bad", success=False, logs={"stderr": "said"})
    assert again.status_code == 200 and job_of(stack.api, job)["signature"] == signature


def test_head_of_the_endpoints_of_jobs_has_no_body(stack):
    run = stack.api.submit({**run_of(0), "students": students(1)})
    for path in (f"{ROUTE}/grading_run/{run}/jobs", f"{ROUTE}/grading_job/{job_id_of(run, STUDENT)}"):
        answer = stack.api.request("HEAD", path)
        assert answer.status_code == 200 and answer.content == b""
