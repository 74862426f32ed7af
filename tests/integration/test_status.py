"""GET and POST /api/v1/grading_run/{id}: the content of a run's status, which is current on every replica."""

import concurrent.futures
import datetime
import re
import time

import pytest
from broadway import error_of
from pipelines import kind_of, run_of, stage, students
from waiting import wait_until


def statuses(status):
    return [job["status"] for job in status["student_statuses"]]


def test_students_are_answered_in_the_order_submitted(stack):
    names = [f"n{number * 37 % 100}" for number in range(100)]
    definition = run_of(0, students=[{"NETID": name} for name in names])
    answered = stack.api.status(stack.api.submit(definition))["student_statuses"]
    assert [job["stages"][0]["env"]["NETID"] for job in answered] == names
    assert len({job["job_id"] for job in answered}) == 100


def test_job_ids_are_32_hex_digits_that_begin_with_the_run(stack):
    run = stack.api.submit(run_of(2, pre=True, post=True))
    status = stack.api.status(run)
    jobs = [*status["student_statuses"], status["preprocessing_status"], status["postprocessing_status"]]
    assert all(re.fullmatch(f"{run}[0-9a-f]{{8}}", job["job_id"]) for job in jobs)


def test_a_stage_with_image_and_env_is_answered_with_only_these_keys(stack):
    definition = {"student_pipeline": [stage(env={"A": "1"}), stage()], "students": [{"NETID": "x"}], "env": {"B": "2"}}
    (job,) = stack.api.status(stack.api.submit(definition))["student_statuses"]
    assert job["stages"] == [
        {"image": "alpine:3.20", "env": {"B": "2", "NETID": "x", "A": "1"}},
        {"image": "alpine:3.20", "env": {"B": "2", "NETID": "x"}},
    ]


def test_the_answer_has_the_keys_of_the_page_and_no_other(stack):
    run = stack.api.submit(run_of(1, pre=True, post=True))
    status = stack.api.status(run)
    assert set(status) == {
        *("student_statuses", "preprocessing_status", "postprocessing_status"),
        *("state", "created_at", "started_at", "finished_at", "progress"),
    }
    assert set(status["progress"]) == {"total", "queued", "running", "succeeded", "failed", "cancelled"}
    assert set(status["student_statuses"][0]) == {"job_id", "stages", "student", "status", "outcome", "attempts"}
    assert set(status["preprocessing_status"]) == {"job_id", "status", "outcome", "attempts"}
    assert set(status["postprocessing_status"]) == {"job_id", "status", "outcome", "attempts"}


@pytest.mark.parametrize(
    "empty", [{}, {"preprocessing_pipeline": [], "postprocessing_pipeline": []}], ids=["absent", "empty"]
)
def test_without_a_pre_or_post_pipeline_there_is_no_such_key(stack, empty):
    status = stack.api.status(stack.api.submit(run_of(1, **empty)))
    assert "preprocessing_status" not in status and "postprocessing_status" not in status
    assert status["progress"]["total"] == 1


def test_a_job_goes_from_created_over_queued_and_running_to_finished(stack):
    grader = stack.grader()
    run = stack.api.submit(run_of(1))
    seen = [stack.api.status(run)["student_statuses"][0]]
    stack.api.start(run)
    seen.append(stack.api.status(run)["student_statuses"][0])
    job = grader.take()
    seen.append(stack.api.status(run)["student_statuses"][0])
    grader.finish(job)
    seen.append(stack.api.status(run)["student_statuses"][0])
    assert [(job["status"], job["outcome"], job["attempts"]) for job in seen] == [
        ("Created", None, 0),
        ("Queued", None, 0),
        ("Running", None, 1),
        ("Finished", "succeeded", 1),
    ]


def test_a_started_run_is_queued_at_once_on_every_replica(stack):
    for n in range(15):
        run = stack.apis[n % 3].submit_and_start(run_of(2))
        for api in stack.apis:
            status = api.status(run)
            assert statuses(status) == ["Queued", "Queued"] and status["state"] == "students"


def test_a_job_is_running_on_every_replica_as_soon_as_the_grader_has_it(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(10))
    for n in range(10):
        grader.finish(check_running(stack, run, grader.take(), n))


def check_running(stack, run, job, n):
    for api in stack.apis:
        shown = api.status(run)["student_statuses"][n]
        assert shown["job_id"] == job["job_id"] and shown["status"] == "Running"
    return job


def test_a_result_shows_on_every_replica_as_soon_as_it_is_answered(stack):
    grader = stack.grader()
    graders = [grader.at(url) for url in stack.urls]
    stack.graders.extend(graders)
    run = stack.api.submit_and_start(run_of(100))
    for n in range(100):
        graders[n % 3].finish(graders[(n + 1) % 3].take(), f"result {n}")
        shown = stack.apis[(n + 2) % 3].status(run, offset=n, limit=1)
        assert statuses(shown) == ["Finished"]
        assert shown["progress"]["succeeded"] == n + 1
    assert stack.apis[0].status(run, students="false")["state"] == "finished"


def test_the_run_is_finished_as_soon_as_its_last_result_is_answered(stack):
    grader = stack.grader()
    for n in range(20):
        run = stack.api.submit_and_start(run_of(1))
        grader.finish(grader.take())
        status = stack.apis[n % 3].status(run)
        assert status["state"] == "finished" and status["finished_at"] is not None


def test_progress_counts_all_jobs_pre_and_post_included(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(3, pre=True, post=True))
    pre = grader.take()
    progress = stack.api.status(run)["progress"]
    assert (progress["total"], progress["running"]) == (5, 1)
    grader.finish(pre)
    first, second = grader.take(), grader.take()
    progress = stack.api.status(run)["progress"]
    assert (progress["total"], progress["queued"], progress["running"], progress["succeeded"]) == (5, 1, 2, 1)
    grader.finish(first, success=False)
    grader.finish(second)
    grader.finish(grader.take())
    grader.finish(grader.take())
    assert stack.api.status(run)["progress"] == {
        "total": 5,
        "queued": 0,
        "running": 0,
        "succeeded": 4,
        "failed": 1,
        "cancelled": 0,
    }


def test_results_are_shown_when_asked_for(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(2))
    grader.finish(grader.take(), {"score": 7, "notes": ["ü", None, 1.5]})
    assert all("result" not in job for job in stack.api.status(run)["student_statuses"])
    first, second = stack.apis[1].status(run, results="true")["student_statuses"]
    assert first["result"] == {"score": 7, "notes": ["ü", None, 1.5]}
    assert second["result"] is None


def test_students_can_be_left_out(stack):
    status = stack.api.status(stack.api.submit(run_of(3)), students="false")
    assert "student_statuses" not in status and status["progress"]["total"] == 3


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ({"offset": 2}, [2, 3, 4]),
        ({"limit": 2}, [0, 1]),
        ({"offset": 1, "limit": 2}, [1, 2]),
        ({"offset": 4, "limit": 100}, [4]),
        ({"offset": 5}, []),
        ({"offset": 1000000, "limit": 1}, []),
        ({"limit": 0}, []),
    ],
    ids=str,
)
def test_offset_and_limit_page_through_the_students(stack, page, shown):
    run = stack.api.submit({"student_pipeline": [stage()], "students": students(5)})
    answered = stack.api.status(run, **page)["student_statuses"]
    assert [job["stages"][0]["env"]["NETID"] for job in answered] == [f"student{number}" for number in shown]


def test_dates_are_rfc_3339_and_in_order(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(1))
    grader.finish(grader.take())
    status = stack.api.status(run)
    texts = [status[name] for name in ("created_at", "started_at", "finished_at")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text) for text in texts), texts
    dates = [datetime.datetime.strptime(re.sub(r"\.\d+", "", text), "%Y-%m-%dT%H:%M:%S%z") for text in texts]
    assert dates == sorted(dates)
    assert abs(time.time() - dates[0].timestamp()) < 60


def test_a_run_starts_once(stack):
    run = stack.api.submit_and_start(run_of(2))
    for api in stack.apis:
        answer = api.request("POST", f"/api/v1/grading_run/{run}")
        assert answer.status_code == 400 and "start" in error_of(answer)
    grader = stack.grader()
    jobs = [grader.take(), grader.take()]
    assert grader.poll(wait=0) is None
    for job in jobs:
        grader.finish(job)
    answer = stack.api.request("POST", f"/api/v1/grading_run/{run}")
    assert answer.status_code == 400
    assert stack.api.status(run)["state"] == "finished"


def test_one_of_many_concurrent_starts_succeeds(stack):
    run = stack.api.submit(run_of(1))
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda n: stack.apis[n % 3].request("POST", f"/api/v1/grading_run/{run}"), range(9)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 8


def test_jobs_of_the_kinds_have_their_own_ids(stack):
    status = stack.api.status(stack.api.submit(run_of(2, pre=True, post=True)))
    assert kind_of(status["preprocessing_status"]["job_id"]) == 0
    assert [kind_of(job["job_id"]) for job in status["student_statuses"]] == [1, 1]
    assert kind_of(status["postprocessing_status"]["job_id"]) == 2


def test_the_date_of_the_end_does_not_change(stack):
    run = stack.api.submit_and_start(run_of(3))
    grader = stack.grader()
    for _ in range(3):
        grader.finish(grader.take())
    at_once = [api.status(run)["finished_at"] for api in stack.apis]
    wait_until(lambda: "finished_at" in stack.database.run(run), 10, "the scheduler has recorded the end")
    later = [api.status(run)["finished_at"] for api in stack.apis]
    assert len({*at_once, *later}) == 1 and at_once[0] is not None
