"""Runs of courses and classic runs are isolated: every route by run or job, with ids of other protocols and courses."""

import hashlib
import re

import bson
import pytest
from broadway import ROUTE, Api, ClassicGrader, error_of
from course import config_of, failed, stage
from pipelines import run_of

CANARY = "canary-7f3a"  # in image, env, results and logs that must not be visible
RUN_UNKNOWN = "grading run with the given ID not found"
JOB_UNKNOWN = "grading job with the given ID not found"
NO_RUN = re.compile(r"there is no grading run '[0-9a-f]{24}'")

COURSE_ROUTES = [
    ("POST", "grading_run/{course}/{run}/cancel", RUN_UNKNOWN),
    ("GET", "grading_run_status/{course}/{run}", RUN_UNKNOWN),
    ("GET", "grading_run_env/{course}/{run}", RUN_UNKNOWN),
    ("GET", "grading_run/{course}/{run}/jobs", RUN_UNKNOWN),
    ("GET", "grading_job/{course}/{job}", JOB_UNKNOWN),
    ("GET", "grading_job_log/{course}/{job}", JOB_UNKNOWN),
    ("GET", "queue/{course}/{job}/position", JOB_UNKNOWN),
    ("GET", "stream/{course}/{job}", JOB_UNKNOWN),
    ("GET", "stream/{course}/run/{run}", RUN_UNKNOWN),
]


@pytest.fixture
def api(staff):
    api = Api(staff.stack.urls[0])
    yield api
    api.close()


@pytest.fixture
def course_run(staff):
    """A run of cs241 with a finished job; all its data has the canary."""
    course = staff.course("cs241")
    config = config_of(env={"SECRET": CANARY})
    config["student_pipeline"] = [stage(image=CANARY)]
    run = course.run(envs=[{"NETID": CANARY}, {"NETID": CANARY}], config=config)
    grader = staff.grader()
    job = grader.take()
    grader.finish(job, results=[{"name": CANARY}], logs={"stdout": CANARY, "stderr": CANARY})
    return run, job["grading_job_id"]


@pytest.fixture
def classic_run(staff, api):
    """A classic run with a finished job and a queued one."""
    run = api.submit_and_start(run_of(2, env={"SECRET": CANARY}))
    grader = ClassicGrader(staff.stack.urls[0], staff.stack.cluster_token)
    job = grader.take()
    grader.finish(job, CANARY, logs={"stdout": CANARY})
    yield run, job["job_id"]
    api.cancel(run)
    grader.close()


@pytest.mark.parametrize(
    "method, verb",
    [
        ("GET", ""),
        ("GET", "?results=true"),
        ("GET", "/jobs"),
        ("POST", ""),
        ("POST", "/cancel"),
        ("POST", "/rerun?select=all"),
    ],
)
@pytest.mark.parametrize("replica", [0, 1], ids=["that has it in memory", "that has not"])
def test_classic_routes_do_not_see_runs_of_courses(staff, course_run, method, verb, replica):
    run, _ = course_run
    api = Api(staff.stack.urls[replica])
    answer = api.request(method, f"{ROUTE}/grading_run/{run}{verb}")
    api.close()
    assert answer.status_code == 400 and NO_RUN.fullmatch(error_of(answer)), answer.text
    assert CANARY not in answer.text
    assert staff.course("cs241").state(run) == "students grading jobs have been scheduled"


def test_classic_graders_get_no_jobs_of_courses(staff, course_run):
    run, job = course_run
    grader = ClassicGrader(staff.stack.urls[1], staff.stack.cluster_token)
    for id in (job, f"{run}10000000", f"{run}10000001"):
        answer = grader.finish_response(id, "mine")
        assert (answer.status_code, error_of(answer)) == (400, f"job '{id}' is not known")
    grader.close()


def test_course_graders_get_no_classic_jobs(staff, classic_run):
    run, job = classic_run
    grader = staff.grader()
    for id in (job, f"{run}10000001"):
        answer = grader.finish_response(id)
        assert (answer.status_code, answer.json()) == (400, failed("job with the given ID not found"))


@pytest.mark.parametrize("method, path, sentence", COURSE_ROUTES)
def test_course_routes_do_not_find_classic_runs_or_other_courses_runs(
    staff, course_run, classic_run, method, path, sentence
):
    course = staff.course("cs225")
    for run, job in (course_run, classic_run):
        answer = course.ask(method, f"/{path.format(course='cs225', run=run, job=job)}")
        assert (answer.status_code, answer.json()) == (400, failed(sentence))
        assert CANARY not in answer.text
    assert staff.course("cs241").state(course_run[0]) == "students grading jobs have been scheduled"


# Ids that come from a key


def plain_id(caller, key):
    """The id as earlier versions computed it, without a secret: SHA-256 over the parts, each preceded by its length."""
    parts = [part.encode() for part in (caller, key)]
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "little") + part for part in parts)).hexdigest()[:24]


def submit(api, key, definition):
    answer = api.request("POST", f"{ROUTE}/grading_run", json=definition, headers={"Idempotency-Key": key})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def test_id_from_a_key_can_not_be_computed(staff, api):
    assert submit(api, "guess-me", run_of(1)) != plain_id("seed", "guess-me")
    course = staff.course("cs241")
    answer = course.data(
        "POST",
        f"/grading_run/cs241/{course.configure(config_of())}",
        {"students_env": [{}]},
        headers={"Idempotency-Key": "guess-me"},
    )
    assert answer["grading_run_id"] != plain_id("cs241", "guess-me")
    course.cancel(answer["grading_run_id"])


def make_plain(database, run, key):
    """Stores the run as an older version did: under the plain hash of its key."""
    document = database.run(run)
    database.db.grading_runs.delete_one({"_id": document["_id"]})
    document["_id"] = bson.ObjectId(plain_id("seed", key))
    database.db.grading_runs.insert_one(document)
    return str(document["_id"])


def test_run_of_an_older_version_is_found_under_its_key(staff, api, make_replica):
    """An upgrade of a database with runs sets a mark beside the secret; without the mark old ids are not searched."""
    database = staff.stack.database
    newer = submit(api, "old-night", run_of(3))
    old = make_plain(database, newer, "old-night")
    secret = database.db.settings.find_one({"_id": "run_key"})["value"]
    assert re.fullmatch("[0-9a-f]{64}", secret)
    database.db.settings.update_one({"_id": "run_key"}, {"$set": {"value": f"{secret} with plain ones"}})
    try:
        updated = make_replica(staff.stack).wait_ready()
        assert submit(updated.api, "old-night", run_of(3)) == old
        answer = updated.api.request(
            "POST", f"{ROUTE}/grading_run", json=run_of(4), headers={"Idempotency-Key": "old-night"}
        )
        assert answer.status_code == 400 and "used before" in error_of(answer)
        hooked = submit(updated.api, "old-night", {**run_of(3), "webhooks": [{"url": "http://example.org/"}]})
        assert [hooked] == [it["run"] for it in database.db.webhooks.find({"run": {"$in": [old, newer]}})] == [old]
        assert submit(updated.api, "new-night", run_of(1)) == submit(api, "new-night", run_of(1))
        assert submit(updated.api, "new-night", run_of(1)) != plain_id("seed", "new-night")
    finally:
        database.db.settings.update_one({"_id": "run_key"}, {"$set": {"value": secret}})
