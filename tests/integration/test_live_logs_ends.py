"""Where a log ends: text that looks like a cut, logs that a grader has cut, and jobs that never run."""

import pytest
from broadway import ROUTE
from course import config_of
from live_logs import ClassicJob, CourseJob, LogStream
from pipelines import STUDENT, job_id_of, run_of
from waiting import wait_until

MARK = "\n[... 999999999999999 bytes cut ...]\n"


@pytest.fixture(params=["classic", "course"])
def job(request):
    if request.param == "classic":
        yield ClassicJob(request.getfixturevalue("stack"))
        return
    job = CourseJob(request.getfixturevalue("staff"))
    yield job
    job.over.set()


def test_a_mark_that_a_job_prints_hides_nothing(job):
    text = f"hello{MARK}the rest\n"
    job.send(0, f"hello{MARK}".encode())
    stream = job.follow()
    assert stream.next() == ("attempt", {"attempt": 1})
    assert stream.next() == ("log", {"offset": 0, "text": f"hello{MARK}"})
    job.finish(stdout=text, stderr="")
    assert stream.rest() == [
        ("log", {"offset": len(text) - 9, "text": "the rest\n"}),
        ("end", {"state": "succeeded"}),
    ]
    seen = job.data(job.log())
    assert (seen["text"], seen["size"]) == (text, len(text))
    assert job.data(job.log(tail=1))["text"] == "the rest\n"
    assert job.follow(last=stream.last).status == 200


def test_a_cut_by_the_grader_keeps_the_offsets_of_the_end(job):
    text = "begin\n[... 100 bytes cut ...]\nend\n"
    job.finish(stdout=text, stdout_cut={"at": 5, "missing": 100})
    seen = job.data(job.log())
    assert (seen["text"], seen["size"]) == (text, 109)
    assert job.data(job.log(range="105-"))["text"] == "end\n"


def test_a_cut_that_is_not_there_counts_for_nothing(job):
    text = "begin\n[... 100 bytes cut ...]\nend\n"
    job.finish(stdout=text, stdout_cut={"at": 6, "missing": 100}, stderr_cut={"at": 0, "missing": 5})
    assert job.data(job.log())["size"] == len(text)


def test_the_log_of_a_job_that_never_runs_ends(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(1, pre=True))
    pre = grader.take()
    student = job_id_of(run, STUDENT)
    path = f"{ROUTE}/grading_job/{student}/log"
    stream = LogStream(stack.urls[1], f"{path}?stream=stderr", {})
    grader.finish(pre, success=False)
    stack.api.wait_over(run)
    reason = "not run: the job before the students failed"
    assert stream.rest() == [
        ("log", {"offset": 0, "text": reason}),
        ("end", {"state": "cancelled", "reason": reason}),
    ]
    for name, text in (("stdout", ""), ("stderr", reason)):
        seen = stack.api.request("GET", path, params={"stream": name}).json()
        assert (seen["live"], seen["text"]) == (False, text)


def test_so_does_that_of_a_cancelled_run(staff):
    course = staff.course()
    run = course.run(config=config_of())
    job = object.__new__(CourseJob)
    job.stack, job.course, job.id = staff.stack, course, f"{run}10000000"
    assert job.data(job.log())["live"] is True
    stream = job.follow()
    assert course.http.post(f"/grading_run/{course.name}/{run}/cancel").status_code == 200
    assert stream.rest()[-1] == ("end", {"state": "cancelled", "reason": "the grading run was cancelled"})
    wait_until(lambda: not job.data(job.log())["live"], 10, "the log has ended")
