"""The audit: who did what to which run, when, from which address."""

import concurrent.futures
import datetime
import json
import re
from concurrent.futures import ThreadPoolExecutor

import bson
import pytest
from broadway import ROUTE, Api, error_of
from course import Course, CourseGrader, config_of
from course_names import bearer, unique
from harness import ROOT, run_stack
from pipelines import run_of
from test_docs import check
from waiting import wait_until

CLIENT_TOKEN = "client-token-of-the-audit"
COURSES = {
    "cs225": {"tokens": [{"name": "front-end", "token": "named-of-cs225-staff"}, "unnamed-of-cs225-staff"]},
    "cs241": {"tokens": ["only-of-cs241-staff"], "query_tokens": [{"name": "look", "token": "query-of-cs241-look"}]},
}


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A stack with names for tokens, a client token, and two replicas."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    api = (f"course-config={config}", f"client-token={CLIENT_TOKEN}", "course-poll-wait=0")
    yield from run_stack(tmp_path_factory, "audit", replicas=2, both=("heartbeat-interval=1",), api=api)


def page_of(stack, replica=0, **query):
    answer = stack.apis[replica].request("GET", f"{ROUTE}/audit", params=query, headers=bearer(stack.cluster_token))
    assert answer.status_code == 200, answer.text
    check("audit", answer.json())
    return answer.json()


def entries_of(stack, **query):
    page = page_of(stack, **query)
    assert "next" not in page
    return page["entries"]


def actions_of(entries):
    return [entry["action"] for entry in entries]


def course_of(stack, name="cs225", token="named-of-cs225-staff", replica=0):
    return Course(stack.urls[replica], name, token)


def test_what_a_client_does_to_a_run_is_recorded_newest_first(audited):
    with_token = Api(audited.urls[0], headers=bearer(CLIENT_TOKEN))
    before = datetime.datetime.now(datetime.UTC)
    run = with_token.submit(run_of(1))
    with_token.start(run)
    grader = audited.grader()
    job = grader.take()["job_id"]
    headers = {"X-Request-Id": "cancel-by-hand"}
    assert with_token.request("POST", f"{ROUTE}/grading_job/{job}/cancel", headers=headers).status_code == 200
    with_token.wait_over(run)
    again = with_token.request("POST", f"{ROUTE}/grading_run/{run}/rerun", params={"select": "all"}).json()["id"]
    with_token.cancel(again)
    with_token.close()

    entries = entries_of(audited, run=run)
    assert actions_of(entries) == ["run.rerun", "job.cancel", "run.start", "run.create"]
    for entry in entries:
        assert entry["actor"]["kind"] == "client" and entry["actor"]["name"] == "client-token"
        assert re.fullmatch("[0-9a-f]{12}", entry["actor"]["token"])
        assert entry["address"] == "127.0.0.1" and entry["run"] == run and "course" not in entry
        age = datetime.datetime.fromisoformat(entry["date"]) - before
        assert datetime.timedelta(seconds=-5) < age < datetime.timedelta(seconds=60)
    assert entries[1]["job"] == job and entries[1]["request_id"] == "cancel-by-hand"
    cancelled, created = entries_of(audited, run=again)
    assert (cancelled["action"], created["action"]) == ("run.cancel", "run.create")
    assert created["rerun_of"] == run and created["request_id"] == entries[0]["request_id"]
    assert CLIENT_TOKEN not in json.dumps(entries)


def test_a_client_without_a_token_is_anonymous(audited):
    run = audited.api.submit(run_of(1))
    (entry,) = entries_of(audited, run=run)
    assert entry["actor"] == {"kind": "anonymous"}


def test_what_a_course_does_is_recorded_with_the_name_of_its_token(audited):
    course, unnamed = course_of(audited), course_of(audited, token="unnamed-of-cs225-staff", replica=1)
    assignment = course.configure(config_of())
    run = unnamed.start(assignment)
    course.cancel(run)
    stored = course.data("POST", f"/files/{course.name}", b"a file")
    stored_entry, cancel, create, config = page_of(audited, course="cs225", limit=4)["entries"]
    assert actions_of([stored_entry, cancel, create, config]) == [
        "file.store",
        "run.cancel",
        "run.create",
        "config.replace",
    ]
    assert stored_entry["file"] == stored["digest"]
    assert config["assignment"] == create["assignment"] == assignment and create["run"] == cancel["run"] == run
    assert config["actor"]["kind"] == "course" and config["actor"]["name"] == cancel["actor"]["name"] == "front-end"
    assert "name" not in create["actor"] and create["actor"]["token"] != cancel["actor"]["token"]
    # An actor is found by the name of its token, or by the token's fingerprint.
    assert actions_of(entries_of(audited, run=run, actor="front-end")) == ["run.cancel"]
    assert actions_of(entries_of(audited, run=run, actor=create["actor"]["token"])) == ["run.create"]
    course.close()
    unnamed.close()


def test_a_course_sees_only_its_own_entries(audited):
    first, other = course_of(audited), course_of(audited, "cs241", "only-of-cs241-staff")
    run = first.run()
    mine = first.data("GET", "/audit/cs225", params={"run": run})
    check("audit", mine)
    assert actions_of(mine["entries"]) == ["run.create"]
    assert other.data("GET", "/audit/cs241", params={"run": run}) == {"entries": []}
    assert all(entry["course"] == "cs241" for entry in other.data("GET", "/audit/cs241")["entries"])
    answer = other.ask("GET", "/audit/cs225")
    assert (answer.status_code, answer.json()["data"]) == (401, {"message": "invalid token"})
    answer = other.ask("GET", "/audit/cs241", params={"course": "cs225"})
    assert (answer.status_code, answer.json()["data"]["message"]) == (400, "unknown argument 'course'")
    look = course_of(audited, "cs241", "query-of-cs241-look")
    assert look.ask("GET", "/audit/cs241").status_code == 401
    first.cancel(run)
    for client in (first, other, look):
        client.close()


def test_pages_follow_each_other_while_entries_are_added(audited):
    course = course_of(audited)
    assignment = unique("paged")
    for _ in range(7):
        course.configure(config_of(), assignment)
    page, found = page_of(audited, course="cs225", action="config.replace", limit=3), []
    while True:
        found += [entry for entry in page["entries"] if entry["assignment"] == assignment]
        if "next" not in page or len(found) >= 7:
            break
        course.configure(config_of(), unique("meanwhile"))
        page = page_of(audited, replica=1, course="cs225", action="config.replace", limit=3, after=page["next"])
    assert len(found) == 7 and len({entry["id"] for entry in found}) == 7
    assert [entry["id"] for entry in found] == sorted((entry["id"] for entry in found), reverse=True)
    course.close()


def test_since_and_until_bound_the_dates(audited):
    course = course_of(audited)
    run = course.run()
    course.cancel(run)
    cancel, create = entries_of(audited, run=run)
    assert entries_of(audited, run=run, since=cancel["date"]) == [cancel]
    assert entries_of(audited, run=run, until=cancel["date"]) == [create]
    assert entries_of(audited, course="cs225", since=create["date"], until=cancel["date"])[-1] == create
    assert entries_of(audited, course="cs225", until="2020-01-01T00:00:00Z") == []
    course.close()


def store_entries(stack, course, start, documents, at):
    """Stores entries as a replica does: lists of actions, a document each, with the date that `at` gives."""
    for number, actions in enumerate(documents):
        seconds, position = at(number), number.to_bytes(5, "big")
        entries = [
            {
                "action": action,
                "kind": "course",
                "course": "of-another-course" if action == "another" else course,
                "address": "192.0.2.7",
                "request_id": f"old-{number}-{index}",
            }
            for index, action in enumerate(actions)
        ]
        stack.database.db.audit.insert_one(
            {
                "_id": bson.ObjectId((start + seconds).to_bytes(4, "big") + bytes(2) + position + bytes(1)),
                "at": datetime.datetime.fromtimestamp(start + seconds, datetime.UTC),
                "entries": entries,
            }
        )


def long_ago(days):
    return int(datetime.datetime.now(datetime.UTC).timestamp()) - days * 86400


def test_old_entries_are_found_and_many_are_scanned_page_by_page(audited):
    """Entries of a year ago, more of them than are looked at for one page."""
    course = unique("old")
    actions = ["run.cancel"] * 100
    store_entries(audited, course, long_ago(300), [["run.create", *actions]] + [actions] * 51, lambda number: number)
    page = page_of(audited, course=course, action="run.create")
    assert page["entries"] == [] and "next" in page
    page = page_of(audited, course=course, action="run.create", after=page["next"])
    assert [entry["request_id"] for entry in page["entries"]] == ["old-0-0"] and "next" not in page


def test_pages_of_entries_of_one_date_miss_none_and_repeat_none(audited):
    """Documents of one date, with entries of two courses."""
    course, actions = unique("dated"), ["run.start", "another", "run.cancel", "another", "run.start"]
    documents = [actions[: 2 + number % 4] for number in range(8)]
    store_entries(audited, course, long_ago(200), documents, lambda _: 0)
    expected = [
        f"old-{number}-{index}"
        for number, actions in reversed(list(enumerate(documents)))
        for index, action in reversed(list(enumerate(actions)))
        if action != "another"
    ]
    for limit in (1, 4, 5, 1000):
        page, found = page_of(audited, course=course, limit=limit), []
        while "next" in page:
            assert len(page["entries"]) == limit
            found += page["entries"]
            page = page_of(audited, course=course, limit=limit, after=page["next"])
        found += page["entries"]
        assert [entry["request_id"] for entry in found] == expected
        assert [entry["id"] for entry in found] == sorted((entry["id"] for entry in found), reverse=True)


def test_entries_of_requests_that_arrive_together_share_documents(audited):
    def submit(_):
        with_token = Api(audited.urls[0], headers=bearer(CLIENT_TOKEN))
        runs = [with_token.submit(run_of(1)) for _ in range(8)]
        with_token.close()
        return runs

    with concurrent.futures.ThreadPoolExecutor(16) as clients:
        runs = [run for runs in clients.map(submit, range(16)) for run in runs]
    documents = list(audited.database.db.audit.find({"entries.run": {"$in": runs}}))
    assert len(documents) < len(runs)
    for run in runs[::9]:
        (entry,) = entries_of(audited, run=run)
        assert (entry["action"], entry["run"]) == ("run.create", run)


def test_the_shown_beginning_of_a_worker_has_only_whole_characters(audited):
    for worker, shown in (("\x03" + "é" * 6, "\x03ééé"), ("graders", "graders"), ("a" * 6 + "😍", "a" * 6)):
        answer = audited.api.request(
            "POST",
            f"{ROUTE}/worker_resume",
            headers=bearer(audited.cluster_token),
            data={"worker_id": worker},
        )
        assert answer.status_code == 200, answer.text
        assert page_of(audited, limit=1)["entries"][0]["worker"] == shown


def test_refused_requests_and_requests_of_graders_are_not_recorded(audited):
    audited.api.request("POST", f"{ROUTE}/grading_run", json={"student_pipeline": "x"})
    newest = page_of(audited, limit=1)["entries"][0]["id"]
    answers = [
        audited.api.request("POST", f"{ROUTE}/grading_run", json={"student_pipeline": "x"}),
        audited.api.request("POST", f"{ROUTE}/grading_run/{'0' * 24}/cancel"),
        audited.api.request("POST", f"{ROUTE}/grading_config/cs225/a", headers=bearer("wrong"), content=b"{}"),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 401]
    audited.grader().beat()
    assert page_of(audited, limit=1)["entries"][0]["id"] == newest


def test_a_pause_or_resume_that_no_scheduler_confirmed_is_recorded(audited):
    course = course_of(audited)
    run, theirs = audited.api.submit(run_of(1)), course.run()
    audited.kill("scheduler-0")
    try:
        with ThreadPoolExecutor(3) as pool:
            answers = [
                pool.submit(audited.api.request, "POST", f"{ROUTE}/grading_run/{run}/pause"),
                pool.submit(course.ask, "POST", f"/grading_run/cs225/{theirs}/pause"),
                pool.submit(course.ask, "POST", "/course/cs225/resume"),
            ]
            answers = [answer.result() for answer in answers]
    finally:
        audited.restart("scheduler-0")
    for answer in answers:
        assert answer.status_code == 503 and "it is stored, but no scheduler has confirmed it" in answer.text
    assert actions_of(entries_of(audited, run=run)) == ["run.pause", "run.create"]
    mine = page_of(audited, course="cs225", limit=3)["entries"]
    assert sorted(actions_of(mine)) == ["course.resume", "run.create", "run.pause"]
    refused = audited.api.request("POST", f"{ROUTE}/grading_run/{run}/pause", params={"timeout": "0"})
    assert refused.status_code == 400 and len(entries_of(audited, run=run)) == 2
    course.cancel(theirs)
    course.close()


def test_an_idempotency_key_used_for_another_run_is_not_recorded(audited):
    course, key = course_of(audited), {"Idempotency-Key": unique()}
    assignment = course.configure(config_of())
    path = f"/grading_run/cs225/{assignment}"
    first = course.ask("POST", path, {"students_env": [{"netid": "a"}]}, headers=key).json()["data"]["grading_run_id"]
    assert course.ask("POST", path, {"students_env": [{"netid": "b"}]}, headers=key).status_code == 400
    assert actions_of(entries_of(audited, run=first)) == ["run.create"]
    course.cancel(first)
    course.close()


def test_arguments_are_checked(audited):
    for query, sentence in (
        ({"run": "x"}, "run: 'x' is not an id: 24 lower-case hex digits"),
        ({"after": "6B05C5D2164163397800C81B"}, "after: '6B05C5D2164163397800C81B' is not an id"),
        ({"since": "yesterday"}, "since: 'yesterday' is not a date such as 2026-09-01T23:59:00Z"),
        ({"until": "2026-02-30T00:00:00Z"}, "until: '2026-02-30T00:00:00Z' is not a date"),
        ({"limit": "0"}, "limit: must be between 1 and 1000, not 0"),
        ({"limit": "1001"}, "limit: must be between 1 and 1000, not 1001"),
        ({"who": "me"}, "unknown argument 'who'"),
        ({"action": "nosuch"}, "action: 'nosuch' is not one of run.create, run.start, run.cancel,"),
    ):
        answer = audited.api.request("GET", f"{ROUTE}/audit", params=query, headers=bearer(audited.cluster_token))
        assert answer.status_code == 400 and sentence in error_of(answer), query
    answer = audited.api.request("GET", f"{ROUTE}/audit")
    assert answer.status_code == 401
    assert error_of(answer) == "the header 'Authorization: Bearer <cluster token>' is missing"
    for token in ("wrong", CLIENT_TOKEN):
        answer = audited.api.request("GET", f"{ROUTE}/audit", headers=bearer(token))
        assert (answer.status_code, error_of(answer)) == (401, "the cluster token is wrong")


@pytest.mark.parametrize(("path", "methods"), [("", "GET, HEAD"), ("/cs225", "GET, HEAD, OPTIONS")])
def test_the_audit_can_only_be_read(audited, path, methods):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = audited.api.request(method, f"{ROUTE}/audit{path}", headers=bearer(audited.cluster_token))
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
    answer = audited.api.request("HEAD", f"{ROUTE}/audit", headers=bearer(audited.cluster_token))
    assert answer.status_code == 200 and answer.content == b""


@pytest.fixture
def forgetful(tmp_path_factory):
    """A stack that keeps entries for some seconds, and runs for less."""
    scheduler = ("retain-audit=8", "retain-runs=1", "job-timeout=1")
    yield from run_stack(tmp_path_factory, "audit-retention", scheduler=scheduler, both=("heartbeat-interval=1",))


def test_entries_are_kept_for_their_time_also_after_their_run_was_removed(forgetful):
    run = forgetful.api.submit_and_start(run_of(0))
    forgetful.api.wait_over(run)
    start, create = entries_of(forgetful, run=run)
    wait_until(lambda: entries_of(forgetful, run=run) == [], 30, "the entries are removed")
    assert actions_of([start, create]) == ["run.start", "run.create"]
    newer = forgetful.api.submit(run_of(1))
    assert actions_of(entries_of(forgetful, run=newer)) == ["run.create"]


def test_the_example_of_the_course_page_fits_the_schema():
    (example,) = re.findall(
        r'^```json\n({"entries".*?)^```', (ROOT / "docs/protocol-course.md").read_text(), re.M | re.S
    )
    check("audit", json.loads(example))


def test_what_was_answered_has_its_entry_after_the_replica_was_killed(audited):
    course = course_of(audited, replica=1)
    grader = CourseGrader(audited.urls[0], audited.cluster_token)
    answered = [course.run() for _ in range(5)]
    audited.kill("api-1")
    audited.restart("api-1")
    for run in answered:
        assert actions_of(entries_of(audited, run=run)) == ["run.create"]
    other = course_of(audited)
    for run in answered:
        other.cancel(run)
        wait_until(lambda run=run: other.state(run) != "started", 10, "the run is over")
    for client in (course, other, grader):
        client.close()
