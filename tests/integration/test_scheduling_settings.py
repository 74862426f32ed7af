"""Classes, required tags and submitters of runs; shares of courses and reservations of graders: what is stored, shown
and refused. What the scheduler makes of them is not tested here."""

import json
import os
import signal

import bson
import pytest
from broadway import ROUTE, error_of
from course import Course, config_of, failed
from course_names import bearer, unique
from harness import run_stack
from pipelines import run_of
from waiting import wait_until

COURSES = {
    "cs225": {"tokens": ["admin-of-cs225"], "query_tokens": ["query-of-cs225"]},
    "cs241": {"tokens": ["admin-of-cs241"], "weight": 200, "max_running": 7},
    "cs374": {"tokens": ["admin-of-cs374"], "classes": ["exam", "normal"]},
}
MORE = {"class": "batch", "requires": ["gpu", "cpu", "gpu"], "submitter": "team \u00fc"}
SHOWN = {"class": "batch", "requires": ["cpu", "gpu"], "submitter": "team \u00fc"}
ALL = ["exam", "interactive", "normal", "batch"]
USUAL = ["interactive", "normal", "batch"]


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory):
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    api = (f"course-config={config}", "course-poll-wait=0")
    yield from run_stack(tmp_path_factory, "scheduling", replicas=2, both=("heartbeat-interval=1",), api=api)


@pytest.fixture
def settings(module_stack):
    """The stack without shares of operators, reservations and runs."""
    yield module_stack
    module_stack.database.db.scheduling.delete_many({"_id": {"$ne": "file"}})
    for run in module_stack.database.active_runs():
        cancel(module_stack, run)


def cancel(stack, run):
    """Ends a run of either protocol; no job of it was handed out."""
    stored = stack.database.db.grading_runs.find_one({"_id": bson.ObjectId(run)})
    if "course" not in stored:
        stack.api.cancel(run)
        return
    course = course_of(stack, stored["course"])
    assert course.cancel(run).status_code in (200, 409)
    course.close()


def course_of(stack, name, replica=0):
    return Course(stack.urls[replica], name, COURSES[name]["tokens"][0])


def ask(stack, method, path, body=None, replica=0, token=None):
    headers = bearer(token or stack.cluster_token)
    return stack.apis[replica].request(method, f"{ROUTE}/scheduling{path}", json=body, headers=headers)


def done(stack, method, path, body=None, replica=0):
    answer = ask(stack, method, path, body, replica)
    assert answer.status_code == 200, answer.text
    return answer.json()


def share_of(stack, course, replica=0):
    (share,) = (share for share in done(stack, "GET", "", replica=replica)["courses"] if share["course"] == course)
    return share


def picked(shown):
    return {key: value for key, value in shown.items() if key in MORE}


# ---- Runs ----


def test_a_run_shows_its_class_tags_and_submitter(settings):
    api = settings.api
    name = unique("run")
    run = api.submit_and_start(run_of(1, name=name, **MORE))
    plain = api.submit(run_of(1))
    assert picked(api.status(run)) == SHOWN
    assert picked(api.status(plain)) == {}
    (listed,) = api.request("GET", f"{ROUTE}/grading_run", params={"name": name}).json()["grading_runs"]
    assert picked(listed) == SHOWN
    assert picked(api.request("GET", f"{ROUTE}/grading_run/{run}/definition").json()) == MORE
    assert not set(MORE) & set(settings.database.db.grading_runs.find_one({"name": {"$ne": name}}))


def test_a_run_of_a_course_shows_its_class_tags_and_submitter(settings):
    course = course_of(settings, "cs225")
    run = course.run(1, **MORE)
    assert picked(course.status(run)) == SHOWN
    assert picked(course.data("GET", f"/grading_run/cs225/{run}/status")) == SHOWN
    assert picked(course.data("GET", f"/grading_run/cs225/{run}/definition")["run"]) == MORE
    assert picked(course.data("GET", "/grading_runs/cs225")["grading_runs"][0]) == SHOWN
    assert picked(course.status(course.run(1, **{"class": "normal"}))) == {}
    course.close()


def test_a_rerun_inherits_them_and_may_state_another_class(settings):
    api = settings.api
    run = api.submit_and_start(run_of(1, **MORE))
    for body, expected in (({}, SHOWN), ({"class": "exam"}, {**SHOWN, "class": "exam"})):
        answer = api.request("POST", f"{ROUTE}/grading_run/{run}/rerun", json={"select": "all", **body})
        run = answer.json()["id"]
        assert picked(api.status(run)) == expected
    answer = api.request("POST", f"{ROUTE}/grading_run/{run}/rerun", json={"select": "all"})
    assert api.status(answer.json()["id"])["class"] == "exam"
    answer = api.request("POST", f"{ROUTE}/grading_run/{run}/rerun", json={"select": "all", "class": "soon"})
    assert answer.status_code == 400
    assert error_of(answer) == "class: must be exam, interactive, normal or batch, not 'soon'"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"class": "urgent"}, "class: must be exam, interactive, normal or batch, not 'urgent'"),
        ({"class": 1}, "class: must be a string, not a number"),
        ({"requires": "gpu"}, "requires: must be a list, not a string"),
        ({"requires": []}, "requires: must have 1 to 32 tags, not 0"),
        ({"requires": ["a b"]}, "requires[0]: names consist of letters, digits, '.', '_' and '-'"),
        ({"requires": ["x" * 65]}, "requires[0]: each name may have 64 characters at most"),
        ({"requires": [f"t{n}" for n in range(33)]}, "requires: must have 1 to 32 tags, not 33"),
        ({"requires": [f"{n:064}" for n in range(8)]}, "requires: must have 511 bytes at most, with commas"),
        ({"submitter": ""}, "submitter: must not be empty"),
        ({"submitter": "a\n"}, "submitter: must not contain control characters"),
        ({"submitter": "x" * 129}, "submitter: must be at most 128 bytes long, not 129"),
    ],
)
def test_wrong_fields_are_refused_in_both_protocols(settings, more, sentence):
    answer = settings.api.request("POST", f"{ROUTE}/grading_run", json=run_of(1, **more))
    assert answer.status_code == 400 and sentence in error_of(answer)
    course = course_of(settings, "cs225")
    body = {"students_env": [{}], **more}
    answer = course.ask("POST", f"/grading_run/cs225/{course.configure(config_of())}", body)
    assert answer.status_code == 400 and sentence in answer.text.replace('\\"', '"')
    course.close()


# ---- Classes of courses ----


def refused(course, name):
    return failed(
        f"class: runs of '{course}' may not be of the class {name}; the operator allows it by \"classes\" in the "
        "course's entry of the course file (--course-config)"
    )


def test_a_course_may_use_all_classes_but_exam_unless_its_entry_says_otherwise(settings):
    for name, allowed in (("cs225", USUAL), ("cs374", ["exam", "normal"])):
        course = course_of(settings, name)
        assignment = course.configure(config_of())
        for run_class in ALL:
            body = {"students_env": [{}], "class": run_class}
            answer = course.ask("POST", f"/grading_run/{name}/{assignment}", body)
            assert answer.status_code == (200 if run_class in allowed else 403), answer.text
            if run_class not in allowed:
                assert answer.json() == refused(name, run_class)
        course.close()
    assert settings.api.submit(run_of(1, **{"class": "exam"}))


def test_a_rerun_needs_the_right_to_its_class_too(settings):
    course = course_of(settings, "cs225")
    run = course.run(1)
    answer = course.ask("POST", f"/grading_run/cs225/{run}/rerun", {"select": "all", "class": "exam"})
    assert answer.status_code == 403 and answer.json() == refused("cs225", "exam")
    again = course.data("POST", f"/grading_run/cs225/{run}/rerun", {"select": "all", "class": "batch"})
    assert course.status(again["grading_run_id"])["class"] == "batch"
    course.close()


# ---- Shares ----


def test_the_course_file_states_shares_and_classes(settings):
    courses = done(settings, "GET", "")["courses"]
    nobody = {"by": None, "at": None}
    assert courses == [
        {"course": "cs225", "weight": 100, "max_running": 0, "classes": USUAL, **nobody},
        {"course": "cs241", "weight": 200, "max_running": 7, "classes": USUAL, **nobody},
        {"course": "cs374", "weight": 100, "max_running": 0, "classes": ["exam", "normal"], **nobody},
    ]


def test_a_share_of_an_operator_goes_before_the_file_field_by_field_until_it_is_reset(settings):
    share = done(settings, "POST", "/courses/cs241", {"weight": 50})["share"]
    assert (share["weight"], share["max_running"], share["by"]) == (50, 7, "cluster") and share["at"]
    assert share_of(settings, "cs241", replica=1) == share
    share = done(settings, "POST", "/courses/cs241", {"max_running": 0}, replica=1)["share"]
    assert (share["weight"], share["max_running"]) == (200, 0)
    share = done(settings, "POST", "/courses/cs241/delete")["share"]
    assert (share["weight"], share["max_running"], share["by"], share["at"]) == (200, 7, None, None)
    assert done(settings, "POST", "/courses/cs241/delete")["share"] == share


def test_a_course_sees_its_own_share_alone(settings):
    done(settings, "POST", "/courses/cs225", {"weight": 300, "max_running": 4})
    course = course_of(settings, "cs225")
    assert course.data("GET", "/scheduling/cs225") == share_of(settings, "cs225")
    assert course.ask("GET", "/scheduling/cs241").status_code == 401
    course.close()
    for token in ("query-of-cs225", "no-token"):
        assert ask(settings, "GET", "/cs225", token=token).status_code == 401
    assert ask(settings, "GET", "", token="admin-of-cs225").status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("cs225", {}, "weight or max_running must be given, or both"),
        ("cs225", {"weight": 0}, "weight: must be between 1 and 10000, not 0"),
        ("cs225", {"weight": 10001}, "weight: must be between 1 and 10000, not 10001"),
        ("cs225", {"weight": 1.5}, "weight: must be an integer"),
        ("cs225", {"max_running": -1}, "max_running: must be between 0 and 100000, not -1"),
        ("cs225", {"max_running": None}, "max_running: must not be null"),
        ("cs225", {"wight": 1}, "unknown argument 'wight'"),
        ("cs999", {"weight": 1}, "there is no course 'cs999'"),
    ],
)
def test_wrong_shares_are_refused(settings, path, body, sentence):
    answer = ask(settings, "POST", f"/courses/{path}", body)
    assert answer.status_code == 400 and sentence in error_of(answer)
    assert settings.database.db.scheduling.count_documents({"_id": {"$ne": "file"}}) == 0


def test_shares_come_as_a_form_too_and_need_the_cluster_token(settings):
    url = f"{ROUTE}/scheduling/courses/cs225"
    answer = settings.api.request("POST", url, data={"weight": "9"}, headers=bearer(settings.cluster_token))
    assert answer.json()["share"]["weight"] == 9
    assert settings.api.request("POST", url, data={"weight": "9"}).status_code == 401
    assert settings.api.request("POST", url, headers=bearer("admin-of-cs225")).status_code == 401
    assert settings.api.request("PUT", url).status_code == 405


# ---- Reservations ----


def test_a_reservation_is_stored_replaced_and_ended_at_every_replica(settings):
    body = {"tags": ["lab-2", "gpu"], "courses": ["cs241", "cs225"], "classes": ["normal", "exam"], "note": "midterm"}
    made = done(settings, "POST", "/reservations/midterm", {**body, "timeout": 3600})["reservation"]
    assert (made["name"], made["tags"], made["note"]) == ("midterm", ["gpu", "lab-2"], "midterm")
    assert sorted(made["courses"]) == ["cs225", "cs241"] and made["classes"] == ["exam", "normal"]
    assert made["by"] == "cluster" and made["at"] < made["until"]
    assert done(settings, "GET", "", replica=1)["reservations"] == [made]
    replaced = done(settings, "POST", "/reservations/midterm", {"tags": ["gpu"]}, replica=1)["reservation"]
    expected = {"tags": ["gpu"], "courses": None, "classes": ALL, "note": "", "until": None}
    assert {key: replaced[key] for key in expected} == expected
    assert done(settings, "GET", "")["reservations"] == [replaced]
    assert done(settings, "POST", "/reservations/midterm/delete") == {}
    assert done(settings, "GET", "", replica=1)["reservations"] == []


def test_a_reservation_ends_by_itself(settings):
    done(settings, "POST", "/reservations/short", {"tags": ["gpu"], "timeout": 1})
    wait_until(lambda: done(settings, "GET", "")["reservations"] == [], 5, "it is over")
    find = settings.database.db.scheduling.find_one
    wait_until(lambda: done(settings, "GET", "") and not find({"_id": "reservation/short"}), 5, "it is deleted")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "argument 'tags' is missing"),
        ({"tags": []}, "tags: must have 1 to 32 tags, not 0"),
        ({"tags": "gpu"}, "tags: must be a list, not a string"),
        ({"tags": ["gpu"], "courses": []}, "courses: must have 1 to 100 courses, not 0"),
        ({"tags": ["gpu"], "courses": ["cs225"] * 101}, "courses: must have 1 to 100 courses, not 101"),
        ({"tags": ["gpu"], "courses": ["cs225", 1]}, "courses[1]: must be a string, not a number"),
        ({"tags": ["gpu"], "courses": ["cs225", "cs999"]}, "courses[1]: there is no course 'cs999'"),
        ({"tags": ["gpu"], "courses": "cs225"}, "courses: must be a list, not a string"),
        ({"tags": ["gpu"], "classes": []}, "classes: must have a class at least"),
        ({"tags": ["gpu"], "classes": ["vip"]}, "classes[0]: must be exam, interactive, normal or batch, not 'vip'"),
        ({"tags": ["gpu"], "note": "a\n"}, "note: must not have control characters"),
        ({"tags": ["gpu"], "timeout": 0}, "timeout: must be between 1 and 31622400, not 0"),
        ({"tags": ["gpu"], "until": "x"}, "unknown argument 'until'"),
    ],
)
def test_wrong_reservations_are_refused(settings, body, sentence):
    answer = ask(settings, "POST", "/reservations/wrong", body)
    assert answer.status_code == 400 and sentence in error_of(answer)
    assert done(settings, "GET", "")["reservations"] == []


def test_names_of_reservations_are_those_of_courses(settings):
    answer = ask(settings, "POST", f"/reservations/{'0' * 24}", {"tags": ["gpu"]})
    assert answer.status_code == 400 and "24 hex digits are the id of a grading run" in error_of(answer)
    for name in ("a.b", "a%20b", "x" * 128):
        assert ask(settings, "POST", f"/reservations/{name}", {"tags": ["gpu"]}).status_code == 404
    answer = ask(settings, "POST", "/reservations/none/delete")
    assert answer.status_code == 400 and error_of(answer) == "there is no reservation 'none'"


def test_there_are_100_reservations_at_most(settings):
    rows = [{"_id": f"reservation/r{n}", "tags": f"t{n}", "classes": ["normal"]} for n in range(100)]
    settings.database.db.scheduling.insert_many(rows)
    answer = ask(settings, "POST", "/reservations/more", {"tags": ["gpu"]})
    assert answer.status_code == 409
    assert error_of(answer) == "there are 100 reservations already: delete one first"
    done(settings, "POST", "/reservations/r7", {"tags": ["gpu"]})
    done(settings, "POST", "/reservations/r8/delete")
    done(settings, "POST", "/reservations/more", {"tags": ["gpu"]})


# ---- The course file at SIGHUP, replicas, the audit, the scheduler ----


def test_sighup_stores_shares_and_classes_for_every_replica(settings, make_replica, tmp_path):
    path = tmp_path / "courses.json"
    path.write_text(json.dumps(COURSES), encoding="utf-8")
    replica = make_replica(settings, f"--course-config={path}").wait_ready()
    stored = settings.database.db.scheduling.find_one({"_id": "file"})
    assert stored["courses"] == [{"course": "cs241", "weight": 200, "max_running": 7}]
    changed = {**COURSES, "cs225": {**COURSES["cs225"], "weight": 25, "max_running": 0, "classes": ["exam"]}}
    path.write_text(json.dumps(changed), encoding="utf-8")
    os.kill(replica.child.pid, signal.SIGHUP)
    expected = {"course": "cs225", "weight": 25, "max_running": 0, "classes": ["exam"], "by": None, "at": None}
    for number in range(2):
        wait_until(lambda number=number: share_of(settings, "cs225", number) == expected, 5, "the file is read")
    course = course_of(settings, "cs225", replica=1)
    answer = course.ask("POST", f"/grading_run/cs225/{course.configure(config_of())}", {"students_env": [{}]})
    assert answer.status_code == 403 and answer.json() == refused("cs225", "normal")
    course.close()
    path.write_text(json.dumps({**COURSES, "cs225": {"classes": []}}), encoding="utf-8")
    os.kill(replica.child.pid, signal.SIGHUP)
    wait_until(lambda: "cs225.classes: must have a class at least" in replica.said(), 5, "the file is refused")
    assert share_of(settings, "cs225") == expected
    path.write_text(json.dumps(COURSES), encoding="utf-8")
    os.kill(replica.child.pid, signal.SIGHUP)
    for number in range(2):
        wait_until(lambda number=number: share_of(settings, "cs225", number)["classes"] == USUAL, 5, "as before")


def test_writes_are_in_the_audit(settings):
    done(settings, "POST", "/courses/cs225", {"weight": 5})
    done(settings, "POST", "/courses/cs225/delete")
    done(settings, "POST", "/reservations/exam-1", {"tags": ["gpu"]})
    done(settings, "POST", "/reservations/exam-1/delete")
    ask(settings, "POST", "/reservations/exam-2", {"tags": []})
    answer = settings.api.request("GET", f"{ROUTE}/audit?limit=4", headers=bearer(settings.cluster_token))
    entries = answer.json()["entries"]
    assert [(entry["action"], entry.get("course"), entry.get("reservation")) for entry in entries] == [
        ("reservation.delete", None, "exam-1"),
        ("reservation.set", None, "exam-1"),
        ("share.reset", "cs225", None),
        ("share.set", "cs225", None),
    ]
    assert {entry["actor"]["kind"] for entry in entries} == {"operator"}


def test_a_write_that_no_scheduler_confirms_is_503_but_stored_and_recorded(settings):
    pid = settings.pid("scheduler-0")
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = ask(settings, "POST", "/courses/cs374", {"weight": 77})
    finally:
        os.kill(pid, signal.SIGCONT)
    assert answer.status_code == 503 and "it is stored, but no scheduler has confirmed it" in error_of(answer)
    assert share_of(settings, "cs374")["weight"] == 77
    recorded = settings.api.request("GET", f"{ROUTE}/audit?limit=1", headers=bearer(settings.cluster_token)).json()
    assert recorded["entries"][0]["action"] == "share.set"
    wait_until(lambda: ask(settings, "POST", "/courses/cs374/delete").status_code == 200, 20, "it leads again")
