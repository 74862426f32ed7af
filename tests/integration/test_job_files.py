"""Files of jobs, as graders see them: the hand-out's, those of a result, and what the graders are told of them."""

import json

import pytest
from broadway import ROUTE, error_of
from pipelines import run_of
from stored_files import digest_of, store_file, uses_of
from test_course_schemas import check
from waiting import wait_until

FILES = "Broadway-Files"


# The announcement


def test_the_answer_to_a_registration_says_that_jobs_may_have_files(stack):
    for more in ({}, {"files": "true"}, {"files": "false"}):
        query = {"token": stack.cluster_token, **more}
        answer = stack.grader().http.get(f"{ROUTE}/worker_register", params=query)
        assert (answer.status_code, answer.headers[FILES]) == (200, "input, results"), answer.text
        assert set(answer.json()) == {"worker_id", "heartbeat"}
        assert stack.database.worker(answer.json()["worker_id"])["takes_files"] is (more.get("files") == "true")


def test_so_does_the_answer_to_a_registration_in_the_course_protocol(staff):
    grader = staff.grader(register=False)
    answer = grader.register(files=True)
    assert (answer.status_code, answer.headers[FILES]) == (200, "input, results"), answer.text
    assert set(answer.json()["data"]) == {"heartbeat"}
    assert staff.stack.database.worker(grader.name)["takes_files"] is True


def test_a_websocket_says_so_in_its_handshake_and_to_a_grader_that_takes_files(staff):
    socket = staff.socket()
    assert socket.socket.response_headers[FILES] == "input, results"
    socket.send({"type": "register", "args": {"hostname": "host", "files": True}})
    assert socket.receive() == {"success": True, "files": "input, results"}
    assert staff.stack.database.worker(socket.name)["takes_files"] is True


def test_a_later_registration_of_the_same_id_says_anew_whether_it_takes_files(staff):
    socket = staff.socket()
    socket.send({"type": "register", "args": {"hostname": "host", "files": True}})
    socket.receive()
    socket.close()
    again = staff.socket_grader(name=socket.name)
    assert staff.stack.database.worker(again.name)["takes_files"] is False


# The files of a result


REPORT, PLOT, SHARED = b"<p>9 points</p>", b"\x89PNG\x00", b"a tar archive"


def entry(path, digest, **more):
    return {"path": path, "digest": digest, **more}


def leased_job(stack, grader, **run):
    run = stack.api.submit_and_start(run_of(**run))
    return run, grader.take()


def job_status(stack, run, replica=1):
    status = stack.apis[replica].status(run, results="true")
    return status.get("preprocessing_status") or status["student_statuses"][0]


@pytest.mark.parametrize("style", ["json", "data"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_result_has_files_which_the_status_shows_and_the_run_uses(stack, style, elsewhere):
    report, plot = store_file(stack.database, REPORT), store_file(stack.database, PLOT)
    grader = stack.grader()
    run, job = leased_job(stack, grader)
    files = [entry("artifacts/report.html", report), entry("artifacts/more/plot.png", plot, unpack=False)]
    sender = grader.at(stack.urls[2]) if elsewhere else grader
    sender.finish(job, style=style, files=files if style == "json" else json.dumps(files))
    student = job_status(stack, run)
    assert student["files"] == [
        entry("artifacts/report.html", report, size=len(REPORT)),
        entry("artifacts/more/plot.png", plot, size=len(PLOT)),
    ]
    assert "note" not in student and student["outcome"] == "succeeded"
    assert uses_of(stack.database, run) == sorted([report, plot])


def test_a_result_without_files_has_none_in_the_status_and_the_database(stack):
    grader = stack.grader()
    for more in ({}, {"files": []}):
        run, job = leased_job(stack, grader)
        grader.finish(job, **more)
        assert "files" not in job_status(stack, run) and "files" not in stack.database.result(job["job_id"])


LEFT_OUT = {
    "not stored": (entry("artifacts/x", digest_of(b"never stored")), "'artifacts/x' was not stored before"),
    "no digest": (entry("artifacts/x", "md5:00"), "'artifacts/x' has no sha256 digest"),
    "elsewhere": (entry("output/x", None), "'output/x' is not below artifacts"),
    "the directory itself": (entry("artifacts", None), "'artifacts' is not below artifacts"),
    "absolute": (entry("/artifacts/x", None), "'/artifacts/x' is not below artifacts"),
    "upwards": (entry("artifacts/../x", None), "'artifacts/../x' is no path"),
    "no name": (entry("artifacts/", None), "'artifacts/' is no path"),
    "shared by a student": (entry("shared", None), "'shared' is for the job before the students alone"),
    "twice": (entry("artifacts/report.html", None), "'artifacts/report.html' is there twice"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_a_file_that_can_not_be_kept_is_left_out_of_the_result_which_says_so(stack, case):
    report = store_file(stack.database, REPORT)
    grader = stack.grader()
    run, job = leased_job(stack, grader)
    bad, reason = LEFT_OUT[case]
    bad = {**bad, "digest": bad["digest"] or report}
    grader.finish(job, files=[entry("artifacts/report.html", report), bad])
    student = job_status(stack, run)
    assert student["files"] == [entry("artifacts/report.html", report, size=len(REPORT))]
    assert student["note"] == f"1 of 2 files left out: {reason}"
    assert (student["outcome"], student["result"]) == ("succeeded", "done")


def test_more_than_a_thousand_files_of_a_result_are_left_out(stack):
    report = store_file(stack.database, REPORT)
    grader = stack.grader()
    run, job = leased_job(stack, grader)
    grader.finish(job, files=[entry(f"artifacts/{number}", report) for number in range(1002)])
    student = job_status(stack, run)
    assert len(student["files"]) == 1000
    assert student["note"] == "2 of 1002 files left out: 'artifacts/1000' is one file too many"


def test_a_note_says_both_what_was_repaired_and_what_was_left_out(stack):
    grader = stack.grader()
    run, job = leased_job(stack, grader)
    body = b'{"worker_id": "%s", "result": NaN, "files": [{"path": "artifacts/x", "digest": "%s"}]}'
    body = body % (grader.id.encode(), digest_of(b"never stored").encode())
    assert grader.http.post(f"{ROUTE}/grading_job/{job['job_id']}", content=body).status_code == 200
    note = job_status(stack, run)["note"]
    assert note.startswith("mended: 1 times NaN") and note.endswith(
        "; 1 of 1 files left out: 'artifacts/x' was not stored before"
    )


WRONG_FILES = {
    "an object": ({}, "files: must be a list, not an object"),
    "null": (None, "files: must be a list, not null"),
    "a list of texts": (["artifacts/x"], "files[0]: must be an object, not a string"),
    "no path": ([{"digest": digest_of(b"")}], "files[0].path: is required"),
    "no digest": ([{"path": "artifacts/x"}], "files[0].digest: is required"),
    "a number as digest": ([entry("artifacts/x", 1)], "files[0].digest: must be a string, not a number"),
    "a text as unpack": (
        [entry("artifacts/x", digest_of(b""), unpack="yes")],
        "files[0].unpack: must be true or false",
    ),
    "an unknown key": ([entry("artifacts/x", digest_of(b""), mode=7)], "files[0]: unknown key 'mode'"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_files_of_a_wrong_type_fail_the_job_like_other_wrong_types(stack, case):
    files, sentence = WRONG_FILES[case]
    grader = stack.grader()
    run, job = leased_job(stack, grader)
    answer = grader.finish_response(job, "done", files=files)
    assert answer.status_code == 400 and sentence in error_of(answer)
    student = job_status(stack, run)
    assert student["outcome"] == "failed" and sentence in student["result"] and "files" not in student


def test_a_result_with_files_may_be_repeated_and_differs_from_one_with_other_files(stack):
    report = store_file(stack.database, REPORT)
    grader = stack.grader()
    run, job = leased_job(stack, grader)
    files = [entry("artifacts/report.html", report)]
    for sender in (grader, grader, grader.at(stack.urls[1])):
        sender.finish(job, files=files)
    for other in ([], [entry("artifacts/other.html", report)]):
        answer = grader.finish_response(job, "done", files=other)
        assert answer.status_code == 400 and "has its result already" in error_of(answer)
    assert job_status(stack, run)["files"][0]["path"] == "artifacts/report.html"
    assert uses_of(stack.database, run) == [report]


def test_a_repeated_result_counts_as_such_even_if_its_file_was_stored_only_later(stack):
    late = b"stored too late"
    grader = stack.grader()
    run, job = leased_job(stack, grader)
    files = [entry("artifacts/late", digest_of(late))]
    grader.finish(job, files=files)
    store_file(stack.database, late)
    grader.finish(job, files=files)
    assert "files" not in job_status(stack, run)


def test_the_job_before_the_students_may_share_an_archive_with_them(stack):
    shared = store_file(stack.database, SHARED)
    grader = stack.grader()
    run, job = leased_job(stack, grader, pre=True)
    grader.finish(job, files=[entry("shared", shared)])
    assert job_status(stack, run)["files"] == [entry("shared", shared, size=len(SHARED), unpack=True)]


def test_a_returned_job_has_no_files_and_needs_none(stack):
    grader = stack.grader()
    run, job = leased_job(stack, grader)
    message = {"worker_id": grader.id, "outcome": "infrastructure", "files": [entry("artifacts/x", digest_of(b""))]}
    answer = grader.http.post(f"{ROUTE}/grading_job/{job['job_id']}", json=message)
    assert answer.status_code == 200, answer.text
    other = stack.grader()
    other.finish(other.take())
    assert "files" not in job_status(stack, run)


def test_a_late_result_keeps_its_files(stack):
    report = store_file(stack.database, REPORT)
    lost, grader = stack.grader(hostname="lost"), stack.grader()
    run, job = leased_job(stack, lost)
    again = grader.take()
    assert again["job_id"] == job["job_id"] and again["attempt"] == 2
    lost.finish(job, files=[entry("artifacts/report.html", report)])
    assert grader.finish_response(again, "done").status_code == 400
    assert job_status(stack, run)["files"][0]["digest"] == report


# The same in the course protocol


@pytest.mark.parametrize("way", ["grader", "socket_grader"])
def test_a_result_of_the_course_protocol_has_files_which_its_log_shows(staff, way):
    report = store_file(staff.stack.database, REPORT, "cs225")
    course, grader = staff.course(replica=1), getattr(staff, way)()
    run = course.run()
    job = grader.take()
    foreign = store_file(staff.stack.database, b"of another course", "cs241")
    grader.finish(job, files=[entry("artifacts/report.html", report), entry("artifacts/foreign", foreign)])
    wait_until(lambda: course.state(run) == "grading run is complete", 10, "the result is stored")
    log = course.log(job["grading_job_id"])
    check("log", log)
    assert log["files"] == [entry("artifacts/report.html", report, size=len(REPORT))]
    shown = course.data("GET", f"/grading_job/cs225/{job['grading_job_id']}")
    check("job_details", shown)
    assert shown["files"] == log["files"]
    assert log["stderr"] == "[1 of 2 files left out: 'artifacts/foreign' was not stored before]\n"
    assert uses_of(staff.stack.database, run) == [report]


def test_a_log_of_a_result_without_files_is_as_ever(staff):
    course, grader = staff.course(), staff.grader()
    course.run()
    job = grader.take()
    grader.finish(job, files=[])
    assert course.log(job["grading_job_id"]) == {"stderr": "", "stdout": ""}


def test_files_of_a_wrong_type_fail_the_job_in_the_course_protocol(staff):
    course, grader = staff.course(), staff.grader()
    run = course.run()
    job = grader.take()
    answer = grader.finish_response(job, files={"path": "artifacts/x"})
    assert answer.status_code == 400 and answer.json()["data"] == "files: must be a list, not an object"
    assert course.status(run)["student_jobs_state"] == {job["grading_job_id"]: "grading job failed"}
