"""The results of runs as a resource: formats, merged reruns, conditional requests; in both protocols."""

import csv
import io
import json

import pytest
from broadway import ROUTE, error_of
from bson import ObjectId
from course import config_of, failed
from course_names import unique
from pipelines import STUDENT, job_id_of, run_of
from test_course_schemas import check as check_course
from test_docs import check as check_classic
from test_rerun import NAMES, grade_all, graded, rerun, values_of
from waiting import wait_until

FIXED = [
    "outcome",
    "score",
    "max_score",
    "attempts",
    "started_at",
    "ended_at",
    "reason",
    "owner",
    "job_id",
    "grading_run_id",
]


def ask(stack, run, headers=None, **query):
    return stack.api.request("GET", f"{ROUTE}/grading_run/{run}/results", params=query, headers=headers)


def rows_of(stack, run, **query):
    answer = ask(stack, run, **query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    check_classic("grading_run_results", body)
    assert body["grading_run_id"] == run
    return body["results"]


def table_of(answer):
    """The header and the rows of a CSV answer, each row as a dict."""
    assert answer.status_code == 200, answer.text
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert all(len(row) == len(rows[0]) for row in rows)
    return rows[0], [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def is_recorded(stack, run):
    """Whether the scheduler has recorded the run's end, so that its results have an ETag."""
    return "etag" in ask(stack, run).headers


def wait_recorded(stack, run):
    stack.api.wait_over(run)
    wait_until(lambda: is_recorded(stack, run), 10, "the end of the run is recorded")


def test_the_results_of_a_run_name_each_student_once(stack):
    run = graded(stack, {"grace"}, pre=True, post=True)
    shown = rows_of(stack, run)
    status = stack.api.status(run, results="true")["student_statuses"]
    assert [row["student"] for row in shown] == [
        {"index": index, "env": {"NETID": name}} for index, name in enumerate(NAMES)
    ]
    for row, student in zip(shown, status, strict=True):
        assert row["grading_run_id"] == run
        for key in ("job_id", "outcome", "attempts", "result"):
            assert row[key] == student[key]
        assert row.get("owner") == student.get("owner") and row.get("signature") == student.get("signature")
        assert row["started_at"] <= row["ended_at"]
    assert [row["outcome"] for row in shown].count("failed") == 1


def test_a_student_without_a_result_has_a_row_without_an_outcome(stack):
    run = stack.api.submit_and_start(run_of(3))
    grader = stack.grader()
    grader.finish(grader.take(), {"score": 1})
    job = grader.take()
    done, running, queued = rows_of(stack, run)
    assert done["outcome"] == "succeeded" and done["ended_at"]
    assert (running["job_id"], running["outcome"], running["attempts"]) == (job["job_id"], None, 1)
    assert running["started_at"] and running["ended_at"] is None and running["result"] is None
    assert (queued["outcome"], queued["attempts"], queued["started_at"]) == (None, 0, None)
    assert [row["outcome"] for row in table_of(ask(stack, run, format="csv"))[1]] == ["succeeded", "", ""]
    grader.finish(job)


def test_a_run_that_was_never_started_has_all_its_students(stack):
    run = stack.api.submit(run_of(2))
    assert [row["outcome"] for row in rows_of(stack, run)] == [None, None]
    header, rows = table_of(ask(stack, run, format="csv"))
    assert header == ["NETID", *FIXED] and [row["NETID"] for row in rows] == ["student0", "student1"]


def test_students_whose_jobs_never_ran_are_cancelled_with_the_reason(stack):
    run = stack.api.submit_and_start(run_of(2, pre=True))
    grader = stack.grader()
    grader.finish(grader.take(), "broken", success=False)
    stack.api.wait_over(run)

    def rows():
        return wait_until(
            lambda: [row for row in rows_of(stack, run) if row["outcome"] is not None], 10, "the end is recorded"
        )

    for row in rows():
        assert row["outcome"] == "cancelled" and row["attempts"] == 0
        assert row["reason"] == row["result"] == "not run: the job before the students failed"


def test_ndjson_has_the_same_rows_one_a_line(stack):
    run = graded(stack, {"ada"})
    answer = ask(stack, run, format="ndjson")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == f'attachment; filename="results-{run}.ndjson"'
    assert answer.text.endswith("\n")
    assert [json.loads(line) for line in answer.text.splitlines()] == rows_of(stack, run)


def test_csv_has_the_variables_of_all_students_in_the_order_in_which_they_are_seen(stack):
    people = [{"NETID": "a", "zone": "1"}, {"NETID": "b", "A": "2", "outcome": "mine"}, {"A": "3", "NETID": "c"}]
    run = stack.api.submit_and_start(run_of(0, students=people))
    grader = stack.grader()
    for score in (7, 0.5, -3):
        grader.finish(grader.take(), "graded", score=score, max_score=10)
    stack.api.wait_over(run)
    answer = ask(stack, run, format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == f'attachment; filename="results-{run}.csv"'
    assert answer.text.count("\r\n") == 4 and answer.text.endswith("\r\n")
    header, rows = table_of(answer)
    assert header == ["NETID", "zone", "A", "env.outcome", *FIXED]
    assert [row["A"] for row in rows] == ["", "2", "3"]
    assert [row["env.outcome"] for row in rows] == ["", "mine", ""]
    assert [row["score"] for row in rows] == ["7", "0.5", "-3"]
    assert {row["max_score"] for row in rows} == {"10"}
    for index, (row, shown) in enumerate(zip(rows, rows_of(stack, run), strict=True)):
        assert row["job_id"] == shown["job_id"] == job_id_of(run, STUDENT, index)
        assert (row["started_at"], row["ended_at"]) == (shown["started_at"], shown["ended_at"])
        assert (row["attempts"], row["reason"], row["owner"], row["grading_run_id"]) == ("1", "", "", run)


def test_csv_quotes_what_needs_it_and_disarms_formulas(stack):
    texts = {
        "plain": "plain",
        'a "quote", and more': 'a "quote", and more',
        "two\r\nlines\n": "two\r\nlines\n",
        "=1+1": "'=1+1",
        '=HYPERLINK("http://x","y")': '\'=HYPERLINK("http://x","y")',
        "+cmd|' /C calc'!A0": "'+cmd|' /C calc'!A0",
        "-2+3": "'-2+3",
        "@SUM(A1)": "'@SUM(A1)",
        "\t=1": "'\t=1",
        "\r=1": "'\r=1",
        "-5": "-5",
        "+3.25e-7": "+3.25e-7",
        "Zoë 李": "Zoë 李",
        "": "",
    }
    run = stack.api.submit(run_of(0, students=[{"NETID": text} for text in texts]))
    _, rows = table_of(ask(stack, run, format="csv"))
    assert [row["NETID"] for row in rows] == list(texts.values())


def test_merged_reruns_show_the_newest_result_of_each_student(stack):
    run = graded(stack, {"grace", "edsger"})
    again = rerun(stack, run, select="failed")
    grade_all(stack, again)
    assert [row["grading_run_id"] for row in rows_of(stack, run)] == [run] * 5
    merged = rows_of(stack, run, merge="reruns")
    assert [row["student"]["env"]["NETID"] for row in merged] == NAMES
    assert [row["student"]["index"] for row in merged] == list(range(5))
    assert [row["grading_run_id"] for row in merged] == [run, again, run, again, run]
    assert [row["job_id"] for row in merged] == [
        job_id_of(run, STUDENT, 0),
        job_id_of(again, STUDENT, 0),
        job_id_of(run, STUDENT, 2),
        job_id_of(again, STUDENT, 1),
        job_id_of(run, STUDENT, 4),
    ]
    assert {row["outcome"] for row in merged} == {"succeeded"}
    assert [row["result"] for row in merged].count("again") == 2
    _, rows = table_of(ask(stack, run, format="csv", merge="reruns"))
    assert [row["job_id"] for row in rows] == [row["job_id"] for row in merged]


def test_a_rerun_without_a_result_hides_nothing(stack):
    run = graded(stack, {"grace", "edsger"})
    before = rows_of(stack, run)
    queued = rerun(stack, run, select="failed")
    assert rows_of(stack, run, merge="reruns") == before
    grader = stack.grader()
    grader.finish(grader.take(), "newer")
    stack.api.cancel(queued)
    stack.api.wait_over(queued)
    merged = rows_of(stack, run, merge="reruns")
    assert [row["grading_run_id"] for row in merged] == [run, queued, run, run, run]
    assert merged[1]["result"] == "newer" and merged[3] == before[3]


def test_a_rerun_of_a_rerun_counts_for_the_students_of_the_first_run(stack):
    run = graded(stack, {"grace", "alan", "edsger"})
    second = rerun(stack, run, select="failed")
    grader = stack.grader()
    while not stack.api.is_over(second):
        job = grader.take()
        grader.finish(job, "second", success="alan" in values_of(job))
    third = rerun(stack, second, select="failed")
    grade_all(stack, third)
    merged = rows_of(stack, run, merge="reruns")
    assert [row["grading_run_id"] for row in merged] == [run, third, second, third, run]
    assert [row["grading_run_id"] for row in rows_of(stack, second, merge="reruns")] == [third, second, third]


def test_the_newest_result_wins_whichever_rerun_was_made_first(stack):
    run = graded(stack, {"ada"})
    slow = rerun(stack, run, select="failed", priority=0)
    grader = stack.grader()
    held = grader.take()
    fast = rerun(stack, run, select="failed", priority=0)
    other = stack.grader()
    other.finish(other.take(), "fast")
    assert rows_of(stack, run, merge="reruns")[0]["grading_run_id"] == fast
    grader.finish(held, "slow", success=False)
    row = rows_of(stack, run, merge="reruns")[0]
    assert (row["grading_run_id"], row["result"], row["outcome"]) == (slow, "slow", "failed")


@pytest.mark.parametrize("format", ["json", "ndjson", "csv"])
def test_unchanged_results_are_not_sent_again(stack, format):
    run = graded(stack, {"ada"})
    wait_recorded(stack, run)
    first = ask(stack, run, format=format)
    tag = first.headers["etag"]
    assert tag.startswith('"') and tag.endswith('"')
    for named in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = ask(stack, run, format=format, headers={"If-None-Match": named})
        assert again.status_code == 304 and again.content == b"" and again.headers["etag"] == tag
    for named in ('"other"', tag.strip('"'), f'"{tag}', ""):
        again = ask(stack, run, format=format, headers={"If-None-Match": named})
        assert again.status_code == 200 and again.content == first.content


def test_each_change_has_another_etag_or_none(stack):
    run = graded(stack, {"ada"})
    wait_recorded(stack, run)
    tags = {ask(stack, run, format=format).headers["etag"] for format in ("json", "ndjson", "csv")}
    tags |= {ask(stack, run, merge="reruns").headers["etag"]}
    assert len(tags) == 4
    again = rerun(stack, run, select="failed")
    assert "etag" not in ask(stack, run, merge="reruns").headers, "a rerun goes on"
    assert ask(stack, run).headers["etag"] not in tags
    for tag in tags:
        assert ask(stack, run, merge="reruns", headers={"If-None-Match": tag}).status_code == 200
    grade_all(stack, again)
    wait_recorded(stack, again)
    tags.add(ask(stack, run, merge="reruns").headers["etag"])
    assert len(tags) == 5
    second = rerun(stack, again, select="all")
    stack.api.cancel(second)
    wait_recorded(stack, second)
    assert ask(stack, run, merge="reruns").headers["etag"] not in tags, "a rerun of a rerun"


def test_results_that_may_change_have_no_etag(stack):
    run = stack.api.submit_and_start(run_of(1))
    assert "etag" not in ask(stack, run).headers
    assert ask(stack, run, headers={"If-None-Match": "*"}).status_code == 200
    stack.api.cancel(run)
    stack.api.wait_over(run)


def test_superseded_results_have_no_etag_since_a_report_may_be_added(stack):
    key = unique()
    older = stack.api.submit_and_start(run_of(1, supersede_key=key))
    newer = stack.api.submit_and_start(run_of(1, supersede_key=key))
    stack.api.wait_over(older)
    grader = stack.grader()
    grader.finish(grader.take())
    wait_recorded(stack, newer)
    (row,) = rows_of(stack, older)
    assert row["outcome"] == "superseded"
    assert "etag" not in ask(stack, older).headers


def test_wrong_arguments_are_refused_with_a_sentence(stack):
    run = stack.api.submit(run_of(1))
    for query, sentence in (
        ({"format": "xml"}, "format: 'xml' is not one of json, ndjson, csv"),
        ({"merge": "all"}, "merge: 'all' can't be merged: the only value is 'reruns'"),
        ({"page": "1"}, "unknown argument 'page'"),
    ):
        answer = ask(stack, run, **query)
        assert answer.status_code == 400 and error_of(answer) == sentence
    answer = ask(stack, "0" * 24)
    assert answer.status_code == 400 and error_of(answer) == f"there is no grading run '{'0' * 24}'"


# ---- The course protocol ----


def test_a_table_of_too_many_columns_is_refused_and_json_is_not(stack):
    students = [{f"V{student}_{variable}": "" for variable in range(700)} for student in range(3)]
    run = stack.api.submit({"student_pipeline": [{"image": "b"}], "students": students})
    answer = ask(stack, run, format="csv")
    assert answer.status_code == 400
    assert error_of(answer) == (
        "the students have more than 2000 variables, too many for columns: ask for format=json or ndjson"
    )
    assert len(rows_of(stack, run)) == 3


def test_too_many_reruns_are_not_merged(stack):
    run = stack.api.submit(run_of(1))
    stack.api.start(run)
    stack.api.cancel(run)
    stack.api.wait_over(run)
    made = [rerun(stack, run, select="cancelled") for _ in range(3)]
    # The same reruns many times over: each counts.
    stack.database.db.grading_runs.update_one({"_id": ObjectId(run)}, {"$set": {"reruns": made * 70}})
    answer = ask(stack, run, merge="reruns")
    assert answer.status_code == 400
    assert error_of(answer) == (
        f"the grading run '{run}' has more than 200 reruns, too many to merge: read their results one by one"
    )
    assert len(rows_of(stack, run)) == 1


def results_of(course, path, **query):
    data = course.data("GET", path, params=query)
    check_course("course_results", data)
    return data["results"]


def course_run(staff, course, assignment, envs, fails=()):
    run = course.start(assignment, envs)
    grader = staff.grader()
    for index in range(len(envs)):
        grader.finish(grader.take(), success=index not in fails, results=[{"score": index}])
    wait_until(lambda: course.state(run) == "grading run is complete", 10, "the run is over")
    return run


def test_a_course_reads_the_results_of_a_run(staff):
    course = staff.course()
    assignment = course.configure(config_of())
    run = course_run(staff, course, assignment, [{"netid": "a"}, {"netid": "b"}], fails={1})
    data = course.data("GET", f"/grading_run/cs225/{run}/results")
    check_course("run_results", data)
    assert data["grading_run_id"] == run
    first, second = data["results"]
    assert first["student"] == {"index": 0, "env": {"netid": "a"}} and first["outcome"] == "succeeded"
    assert first["result"] == [{"score": 0}] and second["result"] == [{"score": 1}]
    assert (second["outcome"], second["owner"]) == ("failed", "student")
    header, rows = table_of(course.ask("GET", f"/grading_run/cs225/{run}/results", params={"format": "csv"}))
    assert header == ["netid", *FIXED] and [row["outcome"] for row in rows] == ["succeeded", "failed"]
    lines = course.ask("GET", f"/grading_run/cs225/{run}/results", params={"format": "ndjson"}).text.splitlines()
    assert [json.loads(line) for line in lines] == data["results"]


def test_a_course_reads_the_results_of_all_runs_of_an_assignment_and_of_all(staff):
    course = staff.course()
    assignment, other = course.configure(config_of()), course.configure(config_of())
    first = course_run(staff, course, assignment, [{"netid": "a"}])
    second = course_run(staff, course, assignment, [{"netid": "b", "late": "yes"}, {"netid": "c"}])
    third = course_run(staff, course, other, [{"id": "d"}])
    path = f"/results/cs225/{assignment}"
    data = course.data("GET", path)
    assert (data["course"], data["assignment"]) == ("cs225", assignment)
    assert [row["grading_run_id"] for row in data["results"]] == [first, second, second]
    answer = course.ask("GET", path, params={"format": "csv"})
    assert f'filename="results-cs225-{assignment[:16]}.csv"' in answer.headers["content-disposition"]
    header, rows = table_of(answer)
    assert header == ["netid", "late", *FIXED]
    assert [(row["netid"], row["late"]) for row in rows] == [("a", ""), ("b", "yes"), ("c", "")]
    everything = course.data("GET", "/results/cs225")
    assert "assignment" not in everything
    ids = [row["grading_run_id"] for row in everything["results"]]
    assert ids.index(first) < ids.index(second) < ids.index(third)
    assert results_of(course, "/results/cs225/nothing-of-the-kind") == []
    header, rows = table_of(course.ask("GET", "/results/cs225/nothing-of-the-kind", params={"format": "csv"}))
    assert (header, rows) == (FIXED, [])


def test_merged_reruns_of_an_assignment_are_rows_of_their_first_run(staff):
    course = staff.course()
    assignment = course.configure(config_of())
    run = course_run(staff, course, assignment, [{"netid": "a"}, {"netid": "b"}], fails={1})
    again = course.data("POST", f"/grading_run/cs225/{run}/rerun", {"select": "failed"})["grading_run_id"]
    grader = staff.grader()
    grader.finish(grader.take())
    wait_until(lambda: course.state(again) == "grading run is complete", 10, "the rerun is over")
    path = f"/results/cs225/{assignment}"
    assert [row["grading_run_id"] for row in results_of(course, path)] == [run, run, again]
    merged = results_of(course, path, merge="reruns")
    assert [row["grading_run_id"] for row in merged] == [run, again]
    assert [row["student"]["env"]["netid"] for row in merged] == ["a", "b"]


def test_no_course_reads_the_results_of_another(staff, stack):
    course, other = staff.course(), staff.course("cs241")
    assignment = course.configure(config_of())
    run = course.start(assignment, 1)
    no_run = failed("grading run with the given ID not found")
    assert other.ask("GET", f"/grading_run/cs241/{run}/results").json() == no_run
    for path in (f"/grading_run/cs225/{run}/results", "/results/cs225", f"/results/cs225/{assignment}"):
        for token in ("admin-of-cs241", "query-of-cs225"):
            answer = staff.course(token=token).ask("GET", path)
            assert answer.status_code == 401 and answer.json() == failed("invalid token")
    assert results_of(other, f"/results/cs241/{assignment}") == []
    assert run not in other.ask("GET", "/results/cs241").text
    assert ask(stack, run).status_code == 400, "a course's run is none of the classic protocol"
    classic = stack.api.submit(run_of(1))
    assert course.ask("GET", f"/grading_run/cs225/{classic}/results").json() == no_run
    course.cancel(run)
