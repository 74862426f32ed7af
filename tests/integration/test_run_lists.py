"""Lists of runs in both protocols: filters, pages, and how long a page of many runs takes."""

import datetime
import statistics
import time

import bson
import pytest
from broadway import ROUTE, error_of
from course import config_of, failed
from course_names import unique
from pipelines import run_of
from test_docs import check as check_classic
from waiting import wait_until

RUNS = 3200  # of a list whose pages are measured
STATES = "created, preprocessing, students, postprocessing, finished, failed, cancelled, superseded"


def page_of(api, **query):
    answer = api.request("GET", f"{ROUTE}/grading_run", params=query)
    assert answer.status_code == 200, answer.text
    check_classic("grading_runs", answer.json())
    return answer.json()


def pages_of(page, **query):
    """The entries of all pages, each page read by `page`."""
    found, last = [], {"next": None}
    while "next" in last:
        after = {} if last["next"] is None else {"after": last["next"]}
        last = page(**query, **after)
        found += last["grading_runs"]
    return found


def runs_of(api, **query):
    return pages_of(lambda **page: page_of(api, **page), **query)


def ids(entries):
    return [entry["id"] for entry in entries]


def refusal_of(api, **query):
    answer = api.request("GET", f"{ROUTE}/grading_run", params=query)
    assert answer.status_code == 400
    return error_of(answer)


def course_page_of(course, assignment=None, **query):
    path = f"/grading_runs/{course.name}" + (f"/{assignment}" if assignment else "")
    page = course.data("GET", path, params=query)
    check_classic("grading_runs", page)
    return page


# The classic protocol


def test_runs_are_listed_the_newest_first_at_every_replica(stack):
    name = unique("list")
    runs = [stack.api.submit(run_of(1, name=name)) for _ in range(5)]
    for api in stack.apis:
        assert ids(runs_of(api, name=name)) == runs[::-1]
        assert ids(page_of(api, limit=5)["grading_runs"]) == runs[::-1]


def test_an_entry_says_what_the_run_is_and_how_far_it_is(stack):
    name, labels = unique("entry"), {"team": "autograder", "exam": "2"}
    run = stack.api.submit_and_start(run_of(3, name=name, labels=labels))
    grader = stack.grader()
    grader.finish(grader.take())
    grader.finish(grader.take(), success=False)

    def entry():
        return runs_of(stack.api, name=name)[0]

    progress = {"total": 3, "succeeded": 1, "failed": 1, "cancelled": 0}
    wait_until(lambda: entry()["progress"] == progress, 10, "the list has the results")
    shown = entry()
    assert (shown["id"], shown["name"], shown["labels"]) == (run, name, labels)
    status = stack.api.status(run)
    assert (shown["state"], shown["finished_at"]) == ("students", None)
    assert (shown["created_at"], shown["started_at"]) == (status["created_at"], status["started_at"])
    assert "course" not in shown and "rerun_of" not in shown
    grader.finish(grader.take())
    stack.api.wait_over(run)
    wait_until(lambda: entry()["state"] == "finished", 10, "the list has the end")
    assert entry()["finished_at"] == stack.api.status(run)["finished_at"]
    rerun = stack.api.request("POST", f"{ROUTE}/grading_run/{run}/rerun", json={"select": "failed"}).json()["id"]
    newest = runs_of(stack.api, name=name)[0]
    assert (newest["id"], newest["rerun_of"], newest["labels"]) == (rerun, run, labels)
    stack.api.cancel(rerun)


def test_a_run_that_never_ran_has_all_jobs_cancelled(stack):
    name = unique("cancelled")
    stack.api.cancel(stack.api.submit(run_of(4, name=name)))
    (entry,) = runs_of(stack.api, name=name)
    assert entry["state"] == "cancelled" and entry["started_at"] is None and entry["finished_at"]
    assert entry["progress"] == {"total": 4, "succeeded": 0, "failed": 0, "cancelled": 4}


def test_filters_combine(stack):
    name, team = unique("filters"), unique("team")
    plain = stack.api.submit(run_of(1, name=name))
    labelled = stack.api.submit(run_of(1, name=name, labels={"team": team, "kind": "a=b"}))
    started = stack.api.submit_and_start(run_of(1, name=name, labels={"team": team}))
    cancelled = stack.api.submit(run_of(1, labels={"team": team}))
    stack.api.cancel(cancelled)
    for query, expected in (
        ({"name": name}, [started, labelled, plain]),
        ({"label": f"team={team}"}, [cancelled, started, labelled]),
        ({"label": f"team={team}", "name": name}, [started, labelled]),
        ({"label": f"team={team}", "state": "cancelled"}, [cancelled]),
        ({"name": name, "state": "created"}, [labelled, plain]),
        ({"name": name, "state": "students", "label": "team"}, [started]),
        ({"name": name, "label": "kind=a=b"}, [labelled]),
        ({"name": name, "label": "kind"}, [labelled]),
        ({"name": name, "label": "kind="}, []),
        ({"name": name, "label": "other"}, []),
        ({"name": name[:-1]}, []),
    ):
        assert ids(runs_of(stack.api, **query)) == expected, query
    assert page_of(stack.api, state="cancelled", limit=1)["grading_runs"][0]["id"] == cancelled
    stack.api.cancel(started)


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
def test_pages_stay_the_same_while_runs_come(stack, limit):
    name = unique("pages")
    runs = [stack.api.submit(run_of(1, name=name)) for _ in range(7)]
    newer = []

    def page(**query):
        found = page_of(stack.api, **query)
        newer.append(stack.api.submit(run_of(1, name=name)))
        return found

    assert ids(pages_of(page, name=name, limit=limit)) == runs[::-1]
    assert ids(runs_of(stack.api, name=name, limit=limit)) == [*newer[::-1], *runs[::-1]]


def test_a_page_goes_on_where_the_last_one_ended_if_its_run_was_removed(stack):
    name = unique("removed")
    runs = [stack.api.submit(run_of(1, name=name)) for _ in range(3)]
    page = page_of(stack.api, name=name, limit=1)
    stack.database.forget_run(runs[2])
    assert ids(runs_of(stack.api, name=name, after=page["next"])) == [runs[1], runs[0]]


def test_runs_of_the_same_millisecond_are_each_listed_once(stack):
    term = unique("same")
    date = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
    made = [run_document(date, f"classic name {term}", state="finished") for _ in range(9)]
    stack.database.db.grading_runs.insert_many(made)
    expected = sorted((str(run["_id"]) for run in made), reverse=True)
    assert ids(runs_of(stack.api, name=term, limit=2)) == expected
    stack.database.db.grading_runs.delete_many({"terms": f"classic name {term}"})


@pytest.mark.parametrize(
    "query, sentence",
    [
        ({"state": "running"}, f"state: 'running' is not one of {STATES}"),
        ({"after": "x"}, "after: 'x' is not the 'next' of a page"),
        ({"after": f"{'9' * 15}-{'0' * 24}"}, f"after: '{'9' * 15}-{'0' * 24}' is not the 'next' of a page"),
        ({"after": f"1-{'0' * 23}"}, f"after: '1-{'0' * 23}' is not the 'next' of a page"),
        ({"limit": "0"}, "limit: must be between 1 and 1000, not 0"),
        ({"limit": "1001"}, "limit: must be between 1 and 1000, not 1001"),
        ({"name": ""}, "name: must not be empty"),
        ({"course": "cs225"}, "unknown argument 'course'"),
        (
            {"label": "=x"},
            "label: '=x' can't be the key of a label: it must have 1 to 63 letters, digits, '-', '_', '.' and '/'",
        ),
    ],
)
def test_a_filter_that_means_nothing_is_refused(stack, query, sentence):
    assert refusal_of(stack.api, **query) == sentence


# Names and labels


@pytest.mark.parametrize(
    "more, sentence",
    [
        ({"labels": []}, "labels: must be an object, not a list"),
        ({"labels": {"a": 1}}, "labels.a: must be a string, not a number"),
        ({"labels": {"a": "x" * 201}}, "labels.a: must be at most 200 bytes long, not 201"),
        ({"labels": {"a": "x\n"}}, "labels.a: must not contain control characters"),
        (
            {"labels": {"a b": "x"}},
            "labels: 'a b' can't be the key of a label: it must have 1 to 63 letters, digits, '-', '_', '.' and '/'",
        ),
        ({"labels": {f"k{n}": "" for n in range(17)}}, "labels: must have at most 16 labels, not 17"),
        ({"name": "x\n"}, "name: must not contain control characters"),
    ],
)
def test_wrong_names_and_labels_are_refused_in_both_protocols(stack, staff, more, sentence):
    answer = stack.api.request("POST", f"{ROUTE}/grading_run", json=run_of(1, **more))
    assert answer.status_code == 400 and error_of(answer) == sentence
    course = staff.course()
    assignment = course.configure(config_of())
    answer = course.ask("POST", f"/grading_run/cs225/{assignment}", {"students_env": [{}], **more})
    assert answer.status_code == 400 and answer.json() == {"status": "fail", "data": sentence}


def test_the_status_shows_name_and_labels(stack, staff):
    more = {"name": "midterm \u00fc", "labels": {"a/b.c-d_e": "", "team": "1"}}
    run = stack.api.submit(run_of(1, **more))
    for query in ({}, {"students": "false"}):
        status = stack.api.status(run, **query)
        assert {key: status[key] for key in more} == more
    assert not {"name", "labels"} & set(stack.api.status(stack.api.submit(run_of(1, labels={}))))
    course = staff.course()
    run = course.run(1, **more)
    status = course.status(run)
    assert {key: status[key] for key in more} == more
    assert not {"name", "labels"} & set(course.status(course.run(1)))


# The course protocol


def test_the_runs_of_a_course_are_listed_by_assignment_name_and_label(staff):
    course, other = staff.course(), staff.course("cs241")
    name = unique("course")
    first, second = course.configure(config_of()), course.configure(config_of())
    one = course.start(first, 2, name=name, labels={"n": "1"})
    two = course.start(second, 1, name=name, labels={"n": "2"})
    three = course.start(first, 1)
    others = other.run(1, name=name)
    assert ids(course_page_of(course, name=name)["grading_runs"]) == [two, one]
    assert ids(course_page_of(course, first)["grading_runs"]) == [three, one]
    assert ids(course_page_of(course, assignment=None, label="n=2", name=name)["grading_runs"]) == [two]
    page = course.data("GET", "/grading_runs/cs225", params={"assignment": first, "limit": 1})
    assert ids(page["grading_runs"]) == [three]
    assert ids(course_page_of(course, first, after=page["next"])["grading_runs"]) == [one]
    assert ids(course_page_of(course, first, state="students", name=name)["grading_runs"]) == [one]
    (entry,) = course_page_of(course, second)["grading_runs"]
    assert (entry["course"], entry["assignment"], entry["labels"]) == ("cs225", second, {"n": "2"})
    assert ids(course_page_of(other, name=name)["grading_runs"]) == [others]


def test_neither_protocol_lists_the_runs_of_the_other(staff):
    name, api = unique("both"), staff.stack.api
    classic = api.submit(run_of(1, name=name))
    course = staff.course()
    run = course.run(1, name=name)
    assert ids(runs_of(api, name=name)) == [classic]
    assert ids(course_page_of(course, name=name)["grading_runs"]) == [run]


def test_the_list_of_a_course_needs_a_token_of_that_course(staff):
    course = staff.course()
    for token, message in (("admin-of-cs241", "invalid token"), ("query-of-cs225", "invalid token"), ("x", None)):
        answer = course.ask("GET", "/grading_runs/cs225", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
        assert message is None or answer.json() == failed(message)
    answer = course.ask("GET", "/grading_runs/cs225", params={"state": "x"})
    assert answer.status_code == 400 and answer.json() == failed(f"state: 'x' is not one of {STATES}")
    answer = course.ask("GET", "/grading_runs/cs225/mp1", params={"assignment": "mp1"})
    assert answer.status_code == 400 and answer.json() == failed("unknown argument 'assignment'")


# Many runs


def run_document(date, *terms, state):
    """A run as it is stored, as far as a list needs it."""
    return {
        "_id": bson.ObjectId(), "protocol": "classic", "state": state, "created_at": date, "scope": "classic",
        "terms": ["classic", *terms], "students": 100, "summary": bytes(100), "started_at": date, "finished_at": date,
    }  # fmt: skip


def test_a_page_takes_less_time_than_a_scan_of_all_runs(stack):
    """Runs of half a year."""
    mark, runs = unique("many"), stack.database.db.grading_runs
    now = datetime.datetime.now(datetime.UTC)
    for first in range(0, RUNS, 64):
        runs.insert_many(
            run_document(
                now - datetime.timedelta(minutes=n * 260000 / RUNS),
                f"classic label bulk={mark}",
                *([f"classic name {mark}"] if n % 800 == 799 else []),
                state="failed" if n % 640 == 639 else "finished",
            )
            for n in range(first, first + 64)
        )

    def milliseconds(**query):
        times = []
        for _ in range(5):
            start = time.monotonic()
            assert page_of(stack.api, limit=10, **query)["grading_runs"]
            times.append((time.monotonic() - start) * 1000)
        return statistics.median(times)

    middle = int((now - datetime.timedelta(days=90)).timestamp() * 1000)
    took = {
        "newest": milliseconds(),
        "middle": milliseconds(after=f"{middle}-{'0' * 24}"),
        "label": milliseconds(label=f"bulk={mark}"),
        "four by name": milliseconds(name=mark),
        "five by state": milliseconds(state="failed"),
        "by state": milliseconds(state="finished"),
    }
    start = time.monotonic()
    made = [run["_id"] for run in runs.find({"students": 100, "summary": bytes(100)}, {"_id": 1})]
    took["the database alone, all runs"] = everything = (time.monotonic() - start) * 1000
    for first in range(0, len(made), 64):
        runs.delete_many({"_id": {"$in": made[first : first + 64]}})
    print({name: round(value, 1) for name, value in took.items()})
    assert len(made) == RUNS and max(value for value in took.values() if value != everything) < everything
