"""Hand-outs with files, what graders fetch and store for their jobs, and what the job before the students shares."""

import pytest
from broadway import ROUTE, ClassicGrader, error_of
from course import config_of
from pipelines import run_of
from stored_files import digest_of, forget_file, store_file, uses_of
from test_course_schemas import check
from waiting import wait_until

TESTS, WORK, ARCHIVE = b"#!/bin/sh\nexit 0\n", b"print('hello')\n", b"a tar archive" * 30000
NOT_STORED = digest_of(b"never stored")
NEVER = "was never handed to worker"


def entry(path, content, **more):
    return {"path": path, "digest": digest_of(content), **more}


def handed_out(path, content, **more):
    return {"path": path, "digest": digest_of(content), "size": len(content), **more}


def run_with_files(stack, count=1, scope="", **more):
    """A run whose jobs have a file each, and the first student one more."""
    for content in (TESTS, WORK, ARCHIVE):
        store_file(stack.database, content, scope)
    own = [[entry("work.tar", ARCHIVE, unpack=True)]] + [[] for _ in range(count - 1)]
    return {"files": [entry("tests/run.sh", TESTS)], "student_files": own, **more}


def taker(stack, replica=0, **more):
    return stack.grader(replica, files="true", **more)


def submitted(stack, count=1, pre=False, post=False):
    return stack.api.submit_and_start(run_of(count, pre=pre, post=post, **run_with_files(stack, count)))


def fetch(grader, job, digest, **more):
    job = job if isinstance(job, str) else job["job_id"]
    return grader.http.get(f"{ROUTE}/grading_job/{job}/files/{digest}", params={"worker_id": grader.id, **more})


def send(grader, job, content, **more):
    job = job if isinstance(job, str) else job["job_id"]
    return grader.http.post(
        f"{ROUTE}/grading_job/{job}/files", content=content, params={"worker_id": grader.id, **more}
    )


def course_fetch(grader, job, digest):
    return grader.http.get(f"/grading_job/{grader.name}/{job['grading_job_id']}/files/{digest}")


def course_send(grader, job, content, **more):
    return grader.http.post(f"/grading_job/{grader.name}/{job['grading_job_id']}/files", content=content, params=more)


# The hand-out


def test_each_job_has_the_files_of_the_run_and_a_students_job_the_students(stack):
    grader = taker(stack)
    run = submitted(stack, 2, pre=True, post=True)
    common = [handed_out("input/tests/run.sh", TESTS)]
    expected = [common, common + [handed_out("input/work.tar", ARCHIVE, unpack=True)], common, common]
    for files in expected:
        job = grader.take()
        assert job["files"] == files
        grader.finish(job)
    assert stack.api.wait_over(run)["state"] == "finished"


def test_a_job_without_files_has_no_list_of_them(stack):
    grader = taker(stack)
    stack.api.submit_and_start(run_of(1))
    job = grader.take()
    assert "files" not in job
    grader.finish(job)
    store_file(stack.database, WORK)
    run = stack.api.submit_and_start(run_of(2, student_files=[[], [entry("work.py", WORK)]]))
    first, second = grader.take(), grader.take()
    assert "files" not in first and second["files"] == [handed_out("input/work.py", WORK)]
    grader.finish(first)
    grader.finish(second)
    stack.api.wait_over(run)


@pytest.mark.parametrize("way", ["grader", "socket_grader"])
def test_hand_outs_of_the_course_protocol_have_files_too(staff, way):
    course = staff.course()
    grader = staff.grader(files=True) if way == "grader" else staff.socket_grader(files=True)
    course.run(1, **run_with_files(staff.stack, scope="cs225"))
    job = grader.take()
    check("job", job)
    assert job["files"] == [
        handed_out("input/tests/run.sh", TESTS),
        handed_out("input/work.tar", ARCHIVE, unpack=True),
    ]
    fetcher = grader if way == "grader" else staff.grader(name=grader.name, register=False)
    for content in (TESTS, ARCHIVE):
        answer = course_fetch(fetcher, job, digest_of(content))
        assert (answer.status_code, answer.content) == (200, content)
    grader.finish(job)


# Fetching


def test_a_grader_fetches_the_files_of_its_job_at_any_replica(stack):
    grader = taker(stack)
    submitted(stack)
    job = grader.take()
    for replica in range(3):
        link = grader.at(stack.urls[replica])
        for content in (TESTS, ARCHIVE):
            answer = fetch(link, job, digest_of(content))
            assert (answer.status_code, answer.content) == (200, content)
            assert answer.headers["content-type"] == "application/octet-stream"
        link.close()
    grader.finish(job)
    assert fetch(grader, job, digest_of(TESTS)).status_code == 200, "a repeated hand-out may need it again"


def test_a_job_shows_none_but_the_files_of_its_hand_out(stack):
    grader = taker(stack)
    submitted(stack, 2)
    first, second = grader.take(), grader.take()
    assert fetch(grader, first, digest_of(ARCHIVE)).status_code == 200
    secret = store_file(stack.database, b"the solution")
    for digest in (digest_of(ARCHIVE), secret, NOT_STORED, "sha256:00", "x"):
        answer = fetch(grader, second, digest)
        assert answer.status_code == 400 and "has no file" in error_of(answer)
    grader.finish(first)
    grader.finish(second)


def test_only_a_worker_that_received_the_job_may_fetch_or_store_its_files(stack):
    grader, other = taker(stack), taker(stack, 1)
    submitted(stack)
    job = grader.take()
    for answer in (fetch(other, job, digest_of(TESTS)), send(other, job, b"x")):
        assert answer.status_code == 400 and NEVER in error_of(answer)
    for path in ("0" * 32, "nothing"):
        for answer in (fetch(grader, path, digest_of(TESTS)), send(grader, path, b"x")):
            assert answer.status_code == 400 and "is not known" in error_of(answer)
    stranger = ClassicGrader.known(stack.urls[0], "f" * 32)
    for answer in (fetch(stranger, job, digest_of(TESTS)), send(stranger, job, b"x")):
        assert answer.status_code == 400 and "register first" in error_of(answer)
    stranger.close()
    grader.finish(job)


def test_a_file_that_is_gone_is_refused_with_a_sentence(stack):
    grader = taker(stack)
    submitted(stack)
    job = grader.take()
    forget_file(stack.database, digest_of(TESTS))
    answer = fetch(grader, job, digest_of(TESTS))
    assert answer.status_code == 400 and digest_of(TESTS) in error_of(answer)
    grader.finish(job)


def test_a_course_grader_reaches_no_file_of_another_course(staff):
    course, other = staff.course("cs225"), staff.course("cs241")
    grader, thief = staff.grader(files=True), staff.grader(files=True)
    course.run(1, **run_with_files(staff.stack, scope="cs225"))
    job = grader.take()
    other.run(1)
    own = thief.take()
    for answer in (course_fetch(thief, job, digest_of(TESTS)), course_send(thief, job, b"x")):
        assert answer.status_code == 400 and NEVER in answer.json()["data"]["message"]
    answer = course_fetch(thief, own, digest_of(TESTS))
    assert answer.status_code == 400 and "has no file" in answer.json()["data"]["message"]
    classic = ClassicGrader(staff.stack.urls[0], staff.stack.cluster_token)
    assert fetch(classic, job["grading_job_id"], digest_of(TESTS)).status_code == 400
    classic.close()
    grader.finish(job)
    thief.finish(own)


# Storing


@pytest.mark.parametrize("ended", [False, True])
def test_a_grader_stores_a_file_and_names_it_in_its_result(stack, ended):
    report = b"<p>%d points</p>" % ended * 40000
    grader = taker(stack, hostname="sends heartbeats")
    run = submitted(stack)
    job = grader.take()
    if ended:
        wait_until(lambda: "ended" in stack.database.leases_of_job(job["job_id"])[0], 20, "the attempt is lost")
    for replica in (0, 1):
        link = grader.at(stack.urls[replica])
        answer = send(link, job, report, digest=digest_of(report))
        assert (answer.status_code, answer.json()) == (200, {"digest": digest_of(report), "size": len(report)})
        link.close()
    grader.finish(job, files=[entry("artifacts/report.html", report)])
    student = stack.apis[2].status(run, results="true")["student_statuses"][0]
    assert student["files"] == [handed_out("artifacts/report.html", report)] and "note" not in student
    assert digest_of(report) in uses_of(stack.database, run)
    answer = stack.apis[2].request("GET", f"{ROUTE}/files/{digest_of(report)}")
    assert (answer.status_code, answer.content) == (200, report)


def test_a_file_with_another_digest_is_refused_and_not_stored(stack):
    grader = taker(stack)
    submitted(stack)
    job = grader.take()
    content = b"not what was announced"
    answer = send(grader, job, content, digest=digest_of(b"announced"))
    assert answer.status_code == 400 and digest_of(content) in error_of(answer)
    assert stack.api.request("GET", f"{ROUTE}/files/{digest_of(content)}").status_code == 400
    assert send(grader, job, content, digest="md5:00").status_code == 400
    assert send(grader, job, content, color="red").status_code == 400
    grader.finish(job)


def test_a_course_grader_stores_a_file_in_its_courses_scope(staff):
    course, other, grader = staff.course("cs225"), staff.course("cs241"), staff.grader(files=True)
    report = b"report of a course"
    course.run(1)
    job = grader.take()
    answer = course_send(grader, job, report, digest=digest_of(report))
    assert answer.json() == {"status": "success", "data": {"digest": digest_of(report), "size": len(report)}}
    grader.finish(job, files=[entry("artifacts/report.txt", report)])
    assert course.log(job["grading_job_id"])["files"] == [handed_out("artifacts/report.txt", report)]
    assert course.ask("GET", f"/files/cs225/{digest_of(report)}").content == report
    assert other.ask("GET", f"/files/cs241/{digest_of(report)}").status_code == 400


# What the job before the students shares


@pytest.mark.parametrize("replica", [0, 1])
def test_what_the_first_job_shares_is_handed_to_all_students(stack, replica):
    """Also by a replica other than the one that stored the first job's result."""
    shared = b"built by the first job" * 9000
    grader = taker(stack)
    run = submitted(stack, 2, pre=True, post=True)
    first = grader.take()
    assert send(grader, first, shared).status_code == 200
    grader.finish(first, files=[entry("shared", shared, unpack=True)])
    grader = grader.at(stack.urls[replica])
    common, archive = handed_out("input/tests/run.sh", TESTS), handed_out("shared", shared, unpack=True)
    for expected in (
        [common, handed_out("input/work.tar", ARCHIVE, unpack=True), archive],
        [common, archive],
    ):
        job = grader.take()
        assert job["files"] == expected
        assert fetch(grader, job, digest_of(shared)).content == shared
        grader.finish(job)
    last = grader.take()
    assert last["files"] == [common], "the job after the students gets nothing of it"
    assert fetch(grader, last, digest_of(shared)).status_code == 400
    grader.finish(last)
    assert stack.api.wait_over(run)["state"] == "finished"


def test_a_run_without_files_of_its_own_may_share_too(staff):
    course, grader = staff.course(), staff.grader(files=True)
    course.run(1, config_of(pre=True))
    first = grader.take()
    assert "files" not in first
    shared = b"shared in a course"
    assert course_send(grader, first, shared).status_code == 200
    grader.finish(first, files=[entry("shared", shared)])
    job = grader.take()
    assert job["files"] == [handed_out("shared", shared, unpack=True)]
    assert course_fetch(grader, job, digest_of(shared)).content == shared
    grader.finish(job)


# Graders that take no files


def test_a_job_with_files_goes_past_a_grader_that_takes_none(stack):
    old = stack.grader()
    run = submitted(stack)
    assert old.poll(wait=2) is None
    job = stack.database.leases(run)[0]["_id"][:32]
    wait_until(lambda: len(stack.database.leases_of_job(job)) == 1, 10, "it was given to the old grader")
    lease = stack.database.leases_of_job(job)[0]
    assert (lease["ended"], lease["owner"]) == ("released", "infrastructure")
    waiting = stack.api.status(run)["waiting_for"]
    assert "the job has files, and this grader registered without files=true" in waiting
    grader = taker(stack, 1)
    taken = grader.take()
    assert taken["job_id"] == job
    grader.finish(taken)
    student = stack.api.wait_over(run)["student_statuses"][0]
    assert (student["outcome"], student["attempts"]) == ("succeeded", 1)


def test_a_grader_that_takes_no_files_still_gets_the_jobs_without(stack):
    old = stack.grader()
    run = submitted(stack)
    assert old.poll(wait=1) is None
    plain = stack.api.submit_and_start(run_of(1))
    job = old.take()
    assert job["job_id"].startswith(plain)
    old.finish(job)
    assert stack.api.status(run)["progress"]["failed"] == 0
    grader = taker(stack)
    grader.finish(grader.take())
    stack.api.wait_over(run)


def test_a_websocket_that_takes_no_files_waits_for_other_jobs(staff):
    course, old = staff.course(), staff.socket_grader()
    run = course.run(1, **run_with_files(staff.stack, scope="cs225"))
    wait_until(lambda: any("ended" in lease for lease in staff.stack.database.leases(run)), 10, "its job is returned")
    course.run(1)
    job = old.take()
    old.finish(job)
    grader = staff.socket_grader(replica=1, files=True)
    taken = grader.take()
    assert taken["grading_job_id"].startswith(run) and "files" in taken
    grader.finish(taken)
    wait_until(lambda: course.state(run) == "grading run is complete", 10, "the run is over")
