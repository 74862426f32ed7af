"""The phases of a run: pre-processing, students, post-processing, with failures and empty parts."""

import pytest
from pipelines import POST, PRE, STUDENT, job_id_of, kind_of, run_of, students, without
from waiting import soon, wait_until


def test_a_run_without_students_and_pipelines_is_finished_at_once(stack):
    run = stack.api.submit_and_start({"student_pipeline": [], "students": []})
    for api in stack.apis:
        status = api.status(run)
        assert status["state"] == "finished" and status["finished_at"] is not None
        assert status["student_statuses"] == [] and status["progress"]["total"] == 0
    assert stack.grader().poll(wait=0) is None


def test_a_student_pipeline_without_students_is_finished_at_once(stack):
    run = stack.api.submit_and_start(run_of(0))
    assert stack.api.status(run)["state"] == "finished"


def test_a_start_is_written_once_and_progress_only_when_there_is_some(stack):
    graders = [stack.grader() for _ in range(3)]
    runs = []
    for grader in graders:
        runs.append(stack.api.submit_and_start(run_of(2)))
        assert kind_of(grader.take()["job_id"]) == STUDENT
    recorded = stack.database.run(runs[0])
    assert recorded["state"] == "students" and "summary" not in recorded


def test_pre_comes_first_and_post_comes_last(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(3, pre=True, post=True))
    pre = grader.take()
    assert kind_of(pre["job_id"]) == PRE
    status = stack.apis[1].status(run)
    assert status["state"] == "preprocessing"
    assert status["preprocessing_status"]["status"] == "Running"
    assert [job["status"] for job in status["student_statuses"]] == ["Created"] * 3
    assert status["postprocessing_status"]["status"] == "Created"
    assert grader.poll(wait=0) is None
    grader.finish(pre)

    status = stack.apis[2].status(run)
    assert status["state"] == "students"
    assert [job["status"] for job in status["student_statuses"]] == ["Queued"] * 3
    jobs = [grader.take() for _ in range(3)]
    assert [job["job_id"] for job in jobs] == [job_id_of(run, STUDENT, index) for index in range(3)]
    grader.finish(jobs[2])
    grader.finish(jobs[0])
    assert grader.poll(wait=0) is None, "post-processing must wait for the last student"
    grader.finish(jobs[1])

    status = stack.apis[1].status(run)
    assert status["state"] == "postprocessing"
    assert status["postprocessing_status"]["status"] == "Queued"
    post = grader.take()
    assert post["job_id"] == job_id_of(run, POST)
    grader.finish(post)
    status = stack.api.status(run)
    assert status["state"] == "finished" and status["postprocessing_status"]["outcome"] == "succeeded"


def test_the_next_phases_job_is_there_at_wait_0_after_a_result(stack):
    grader = stack.grader()
    links = [grader.at(url) for url in stack.urls]
    stack.graders.extend(links)
    for n in range(10):
        run = stack.api.submit_and_start(run_of(1, pre=True, post=True))
        for kind in (PRE, STUDENT, POST):
            job = links[(n + kind) % 3].poll(wait=0)
            assert job is not None and job["job_id"] == job_id_of(run, kind)
            links[(n + 2 * kind) % 3].finish(job)


def test_pre_and_post_jobs_carry_the_students_and_student_jobs_do_not(stack):
    grader = stack.grader()
    stack.api.submit_and_start(run_of(2, pre=True, post=True))
    carried = []
    for _ in range(4):
        job = grader.take()
        carried.append(job.get("students"))
        grader.finish(job)
    assert carried == [students(2), None, None, students(2)]


def test_a_failed_pre_processing_job_fails_the_run_and_cancels_the_rest(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(3, pre=True, post=True))
    grader.finish(grader.take(), "no such file", success=False)
    for api in stack.apis:
        status = api.status(run, results="true")
        assert status["state"] == "failed" and status["finished_at"] is not None
        assert (status["preprocessing_status"]["status"], status["preprocessing_status"]["outcome"]) == (
            "Finished",
            "failed",
        )
        rest = [*status["student_statuses"], status["postprocessing_status"]]
        assert {(job["status"], job["outcome"], job["attempts"]) for job in rest} == {("Finished", "cancelled", 0)}
        assert {job["result"] for job in rest} == {"not run: the job before the students failed"}
        assert status["preprocessing_status"]["result"] == "no such file"
        assert status["progress"]["cancelled"] == 4 and status["progress"]["failed"] == 1
    assert grader.poll(wait=0) is None


def test_a_failed_student_job_does_not_fail_the_run(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(2, post=True))
    grader.finish(grader.take(), success=False)
    grader.finish(grader.take(), success=False)
    grader.finish(grader.take())
    status = stack.api.status(run)
    assert status["state"] == "finished"
    assert [job["outcome"] for job in status["student_statuses"]] == ["failed", "failed"]


def test_a_failed_post_processing_job_fails_the_run(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(1, post=True))
    grader.finish(grader.take())
    grader.finish(grader.take(), success=False)
    status = stack.api.status(run)
    assert status["state"] == "failed"
    assert status["student_statuses"][0]["outcome"] == "succeeded"
    assert status["postprocessing_status"]["outcome"] == "failed"


def test_jobs_without_stages_succeed_by_themselves_and_are_never_handed_out(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(3, student_pipeline=[]))
    status = stack.api.wait_over(run, soon(5))
    assert status["state"] == "finished"
    shown = [(job["status"], job["outcome"], job["attempts"], job["result"]) for job in status["student_statuses"]]
    assert shown == [("Finished", "succeeded", 0, "no stages")] * 3
    assert [job["stages"] for job in status["student_statuses"]] == [[], [], []]
    assert grader.poll(wait=0) is None
    assert stack.database.leases(run) == []


def test_a_run_continues_past_students_without_stages(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(2, pre=True, post=True, student_pipeline=[]))
    pre = grader.take()
    assert kind_of(pre["job_id"]) == PRE
    grader.finish(pre)
    post = grader.take()
    assert kind_of(post["job_id"]) == POST and post["students"] == students(2)
    grader.finish(post)
    assert stack.api.status(run)["state"] == "finished"


@pytest.mark.parametrize(("pre", "post"), [(True, True), (True, False), (False, True)])
def test_pre_and_post_run_without_any_students(stack, pre, post):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(0, pre=pre, post=post))
    kinds = []
    for _ in range(pre + post):
        job = grader.take()
        kinds.append(kind_of(job["job_id"]))
        assert job["students"] == []
        grader.finish(job)
    assert kinds == [PRE] * pre + [POST] * post
    assert stack.api.status(run)["state"] == "finished"


def test_runs_are_served_in_the_order_of_their_start(stack):
    grader = stack.grader()
    runs = [stack.apis[n % 3].submit(run_of(2)) for n in range(4)]
    order = [runs[2], runs[0], runs[3], runs[1]]
    for run in order:
        stack.api.start(run)
    taken = [grader.take() for _ in range(8)]
    assert [job["job_id"][:24] for job in taken] == [run for run in order for _ in range(2)]
    for job in taken:
        grader.finish(job)


def test_a_run_of_higher_priority_is_served_first(stack):
    grader = stack.grader()
    low, middle, high = (stack.api.submit(run_of(1, priority=priority)) for priority in (-5, 0, 5))
    for run in (low, middle, high):
        stack.api.start(run)
    taken = [grader.take() for _ in range(3)]
    assert [job["job_id"][:24] for job in taken] == [high, middle, low]
    for job in taken:
        grader.finish(job)


def test_a_finished_run_is_marked_so_in_the_database(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(1))
    grader.finish(grader.take())
    stored = wait_until(lambda: finished(stack, run), 5, "the run's document says finished")
    assert stored["state"] == "finished" and "active" not in stored


def finished(stack, run):
    stored = stack.database.run(run)
    return stored if "finished_at" in stored else None


def test_a_run_may_have_pre_without_post_processing(stack):
    grader = stack.grader()
    definition = without(run_of(1, pre=True, post=True), "postprocessing_pipeline")
    run = stack.api.submit_and_start(definition)
    grader.finish(grader.take())
    grader.finish(grader.take())
    assert stack.api.status(run)["state"] == "finished"
