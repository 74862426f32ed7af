"""POST /api/v1/grading_job/{job}: what counts as a result, exactly once, and the sentences of refusals."""

import concurrent.futures
import json
import re

import pytest
from broadway import error_of
from pipelines import run_of

LIMIT = 4 * 1024 * 1024


@pytest.fixture
def leased(stack):
    """(grader, job): the only job of a run, handed out to the grader."""
    grader = stack.grader()
    stack.api.submit_and_start(run_of(1))
    return grader, grader.take()


def shown_result(stack, job):
    (shown,) = stack.apis[1].status(job["job_id"][:24], results="true")["student_statuses"]
    return shown


@pytest.mark.parametrize(
    "result",
    ["all tests passed", "", {"a": [1, 2.5, {"b": None}]}, [], 0, -17, 1.25, True, False, 'ü \n " \\ \U0001f600'],
    ids=repr,
)
def test_a_result_is_any_json_value(stack, leased, result):
    grader, job = leased
    answer = grader.finish_response(job, result)
    assert answer.status_code == 200 and answer.json() == {}
    assert shown_result(stack, job)["result"] == result


@pytest.mark.parametrize("result", ["passed & more = yes", "", '{"looks": "like JSON"}', "ü\r\n+%2B"], ids=repr)
def test_a_result_in_a_form_is_a_string(stack, leased, result):
    grader, job = leased
    assert grader.finish(job, result, style="form").json() == {}
    assert shown_result(stack, job)["result"] == result


def test_a_result_may_come_as_query_argument_or_multipart(stack):
    grader = stack.grader()
    stack.api.submit_and_start(run_of(2))
    first, second = grader.take(), grader.take()
    path = "/api/v1/grading_job/"
    answer = grader.http.post(path + first["job_id"], params={"worker_id": grader.id, "result": "by query"})
    assert answer.status_code == 200, answer.text
    parts = {"worker_id": (None, grader.id), "result": (None, "by parts")}
    answer = grader.http.post(path + second["job_id"], files=parts)
    assert answer.status_code == 200, answer.text
    status = stack.api.status(first["job_id"][:24], results="true")
    assert [job["result"] for job in status["student_statuses"]] == ["by query", "by parts"]


@pytest.mark.parametrize(
    ("style", "more", "outcome"),
    [
        ("json", {}, "succeeded"),
        ("json", {"success": True}, "succeeded"),
        ("json", {"success": False}, "failed"),
        ("form", {}, "succeeded"),
        ("form", {"success": "true"}, "succeeded"),
        ("form", {"success": "false"}, "failed"),
    ],
    ids=str,
)
def test_success_defaults_to_true(stack, leased, style, more, outcome):
    grader, job = leased
    grader.finish(job, "r", style, **more)
    assert shown_result(stack, job)["outcome"] == outcome
    assert stack.database.result(job["job_id"])["outcome"] == outcome


def test_any_replica_takes_the_result(stack):
    grader = stack.grader(0)
    links = [grader.at(url) for url in stack.urls]
    stack.graders.extend(links)
    run = stack.api.submit_and_start(run_of(9))
    for n in range(9):
        links[(n + 1) % 3].finish(links[n % 3].take())
    assert stack.api.status(run)["state"] == "finished"


# ---- Logs ----


def test_logs_are_stored_beside_the_result_that_names_them(stack, leased):
    grader, job = leased
    grader.finish(job, "r", logs={"stdout": "compiling ü\n", "stderr": "warning\n"})
    digest = stack.database.result(job["job_id"])["digest"]
    (log,) = stack.database.logs(job["job_id"])
    assert log["_id"] == f"{job['job_id']}.{digest}"
    assert (log["stdout"], log["stderr"]) == ("compiling ü\n", "warning\n")


def test_a_result_without_logs_stores_none(stack, leased):
    grader, job = leased
    grader.finish(job)
    assert stack.database.logs(job["job_id"]) == []


def test_a_long_log_keeps_its_first_and_last_line_and_whole_characters(stack, leased):
    grader, job = leased
    long_line = "€" * (LIMIT // 3 + 1000)
    grader.finish(job, "r", logs={"stdout": f"first\n{long_line}\nscore 97\n", "stderr": "é" * 10})
    (log,) = stack.database.logs(job["job_id"])
    assert log["stdout"].startswith("first\n€") and log["stdout"].endswith("€\nscore 97\n")
    assert LIMIT - 200 < len(log["stdout"].encode()) <= LIMIT and "\ufffd" not in log["stdout"]
    (cut,) = re.findall(r"€\n\[\.\.\. (\d+) bytes cut \.\.\.\]\n€", log["stdout"])
    mark = f"\n[... {cut} bytes cut ...]\n"
    assert int(cut) == len(f"first\n{long_line}\nscore 97\n".encode()) - len(log["stdout"].encode()) + len(mark)
    assert log["stderr"] == "é" * 10


# ---- The same result again, and another one ----


def test_the_same_result_again_is_200_on_every_replica_and_changes_nothing(stack, leased):
    grader, job = leased
    grader.finish(job, {"score": 1, "of": 2}, logs={"stdout": "x"})
    before = stack.database.result(job["job_id"])
    for url in stack.urls:
        link = grader.at(url)
        answer = link.finish_response(job, {"of": 2, "score": 1}, logs={"stdout": "x"})
        assert answer.status_code == 200 and answer.json() == {}
        link.close()
    assert stack.database.result(job["job_id"]) == before
    assert len(stack.database.logs(job["job_id"])) == 1


@pytest.mark.parametrize(("first", "then"), [("form", "json"), ("json", "form")])
def test_form_and_json_of_the_same_string_are_the_same_result(leased, first, then):
    grader, job = leased
    grader.finish(job, "all passed", first)
    assert grader.finish_response(job, "all passed", then).status_code == 200
    assert (
        grader.finish_response(job, "all passed", then, success="true" if then == "form" else True).status_code == 200
    )


@pytest.mark.parametrize(
    "other",
    [
        {"result": "two"},
        {"result": "one", "success": False},
        {"result": "one", "logs": {"stdout": "x"}},
        {"result": ["one"]},
    ],
    ids=str,
)
def test_another_result_by_the_same_worker_is_refused(stack, leased, other):
    grader, job = leased
    grader.finish(job, "one")
    before = stack.database.result(job["job_id"])
    for url in stack.urls:
        answer = grader.at(url).finish_response(job, **other)
        sentence = error_of(answer)
        assert answer.status_code == 400 and "already" in sentence and job["job_id"] in sentence
    assert stack.database.result(job["job_id"]) == before


def test_one_of_two_concurrent_results_counts(stack):
    grader = stack.grader()
    links = [grader.at(url) for url in stack.urls]
    stack.graders.extend(links)
    run = stack.api.submit_and_start(run_of(10))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for _ in range(10):
            job = grader.take()
            answers = list(pool.map(lambda n, job: links[n].finish_response(job, f"result {n}"), range(3), [job] * 3))
            assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
            winner = next(n for n in range(3) if answers[n].status_code == 200)
            stored = stack.database.result(job["job_id"])
            assert json.loads(stored["result"]) == f"result {winner}"
    assert len(stack.database.results(run)) == 10


def deliver_with_logs(link, job):
    return link.finish_response(job, "same", logs={"stdout": "x"})


def test_concurrent_deliveries_of_one_result_are_all_200(stack):
    grader = stack.grader()
    links = [grader.at(url) for url in stack.urls]
    stack.graders.extend(links)
    run = stack.api.submit_and_start(run_of(10))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for _ in range(10):
            job = grader.take()
            answers = list(pool.map(deliver_with_logs, links, [job] * 3))
            assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len(stack.database.results(run)) == 10


# ---- Refusals ----


def test_a_job_that_was_never_handed_to_this_worker_is_refused_and_stays_open(stack, leased):
    grader, job = leased
    for url in stack.urls:
        stranger = stack.grader(stack.urls.index(url))
        answer = stranger.finish_response(job, "stolen")
        assert answer.status_code == 400 and "never handed" in error_of(answer)
    assert stack.database.result(job["job_id"]) is None
    grader.finish(job)


def test_a_job_that_waits_in_the_queue_is_refused_to_everyone(stack):
    grader = stack.grader()
    run = stack.api.submit_and_start(run_of(1))
    job = stack.api.status(run)["student_statuses"][0]["job_id"]
    answer = grader.finish_response(job, "too early")
    assert answer.status_code == 400 and "never handed" in error_of(answer)
    grader.finish(grader.take())


def test_someone_elses_finished_job_is_refused(stack, leased):
    grader, job = leased
    grader.finish(job)
    answer = stack.grader().finish_response(job, "me too")
    assert answer.status_code == 400 and any(word in error_of(answer) for word in ("never handed", "already"))


def test_an_unknown_job_is_refused(stack):
    grader = stack.grader()
    run = stack.api.submit(run_of(1))
    for job in ("f" * 32, "0" * 32, f"{run}10000001", f"{run}00000000", f"{run}20000000", f"{run}f0000000"):
        answer = grader.finish_response(job, "r")
        sentence = error_of(answer)
        assert answer.status_code == 400 and "not known" in sentence and job in sentence


def test_an_unknown_worker_is_refused(stack, leased):
    grader, job = leased
    answer = grader.http.post(f"/api/v1/grading_job/{job['job_id']}", json={"worker_id": "e" * 32, "result": 1})
    assert answer.status_code == 400 and "worker" in error_of(answer)
    grader.finish(job)
