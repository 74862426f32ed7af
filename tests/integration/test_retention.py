"""Removal of runs that ended long ago, if configured, and of incompletely stored ones."""

import bson
import pytest
from broadway import ROUTE, error_of
from harness import run_stack
from pipelines import long_run_of, run_of
from waiting import wait_until

RETAIN_S, JOB_TIMEOUT_S, ORPHAN_AGE_S = 2, 1, 1
REMEMBERED_S = 10  # how long after a job's deadline a late result is accepted


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory):
    flags = (f"retain-runs={RETAIN_S}", f"orphan-age={ORPHAN_AGE_S}", f"job-timeout={JOB_TIMEOUT_S}")
    yield from run_stack(tmp_path_factory, "forgetful", both=("heartbeat-interval=1",), scheduler=flags)


def is_gone(stack, run):
    answer = stack.api.request("GET", f"{ROUTE}/grading_run/{run}")
    return answer.status_code == 400 and "no grading run" in error_of(answer)


def test_a_run_that_ended_long_ago_is_removed_with_all_of_it_and_others_stay(forgetful):
    stack = forgetful
    created = stack.api.submit(run_of(1))
    waiting = stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    grader.finish(grader.take())
    ended = stack.api.submit_and_start(long_run_of(2, post=True))
    assert stack.database.db.run_definitions.find_one({"_id": ended}) is not None
    for _ in range(3):
        reported = {"stages": [{"image": "alpine:3.20", "image_digest": "sha256:" + "a" * 64}]}
        grader.finish(grader.take(), reported, logs={"stdout": "said\n"})
    assert stack.database.db.image_pins.find_one({"_id": {"$regex": f"^{ended}/"}}) is not None
    assert stack.api.is_over(ended)
    assert stack.api.request("GET", f"{ROUTE}/grading_run/{ended}/receipts").status_code == 200
    assert stack.database.db.run_receipts.find_one({"_id": ended}) is not None
    wait_until(lambda: is_gone(stack, ended), RETAIN_S + JOB_TIMEOUT_S + REMEMBERED_S + 20, "the run is removed")
    wait_until(lambda: stack.database.run(ended) is None, 5, "its document is")
    assert not stack.database.leases(ended) and not stack.database.results(ended)
    assert not stack.database.logs(ended)
    assert stack.database.db.run_receipts.find_one({"_id": ended}) is None
    assert stack.database.db.image_pins.find_one({"_id": {"$regex": f"^{ended}/"}}) is None
    assert stack.database.db.run_definitions.find_one({"_id": ended}) is None
    assert stack.api.status(created)["state"] == "created"
    assert stack.api.status(waiting) if not is_gone(stack, waiting) else True
    late = grader.finish_response(f"{ended}10000000", "late")
    assert late.status_code == 400 and "not known" in error_of(late)
    assert not stack.database.results(ended)


def test_orphans_are_removed_after_two_scans_and_owned_documents_stay(forgetful):
    stack = forgetful
    run = stack.api.submit(long_run_of(1))
    stack.api.start(run)
    grader = stack.grader()
    job = grader.take()
    orphan_run = str(bson.ObjectId())
    database = stack.database.db
    database.run_definitions.insert_one({"_id": orphan_run, "definition": "{}"})
    database.job_logs.insert_one({"_id": f"{job['job_id']}.{'0' * 64}", "stdout": "half a result"})
    grader.finish(job, logs={"stdout": "a whole one"})
    wait_until(lambda: database.run_definitions.find_one({"_id": orphan_run}) is None, 20, "the definition is removed")
    wait_until(lambda: len(stack.database.logs(job["job_id"])) == 1, 20, "the log without a result is removed")
    assert stack.database.logs(job["job_id"])[0]["stdout"] == "a whole one"
    assert database.run_definitions.find_one({"_id": run}) is not None
