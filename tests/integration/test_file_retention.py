"""Files that nothing uses are removed; files that a run uses stay as long as the run."""

import datetime
import hashlib
import os

import bson
import pytest
from broadway import ROUTE
from harness import run_stack
from pipelines import run_of
from waiting import holds_for, wait_until

RETAIN_S, JOB_TIMEOUT_S, ORPHAN_AGE_S = 2, 1, 1
REMEMBERED_S = 10  # how long after a job's deadline a late result is accepted
SIZE = 300000
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
UPLOADING, STORED, REMOVING = 1, 2, 3  # enum file_upload_state in common/store/file_store_internal.h


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory):
    flags = (f"retain-runs={RETAIN_S}", f"orphan-age={ORPHAN_AGE_S}", f"job-timeout={JOB_TIMEOUT_S}")
    yield from run_stack(tmp_path_factory, "forgetful", both=("heartbeat-interval=1",), scheduler=flags)


def send(stack, content=None):
    """Sends a file; its digest."""
    content = os.urandom(SIZE) if content is None else content
    answer = stack.api.request("POST", f"{ROUTE}/files", content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()["digest"]


def name_of(digest):
    return f"/{digest[7:]}"


def is_there(stack, digest):
    return stack.api.request("HEAD", f"{ROUTE}/files/{digest}").status_code == 200


def chunks_of(stack, digest):
    return stack.database.db["files.chunks"].count_documents({"files_id": name_of(digest)})


def submit_with(stack, digest):
    """Submits a run that uses a file."""
    return stack.api.submit(run_of(1, files=[{"path": "a", "digest": digest}]))


def content_of(stack, digest):
    return stack.database.db["files.files"].find_one({"_id": name_of(digest)})["content"]


def leave_content(stack, digest, state):
    """Stores a chunk as an upload does that a process began long ago and never completed."""
    content = f"{name_of(digest)}/{bson.ObjectId()}"
    database = stack.database.db
    database["files.chunks"].insert_one({"_id": f"{content}/00000000", "files_id": name_of(digest), "n": 0})
    database.file_uploads.insert_one({"_id": content, "state": state, "at": LONG_AGO})
    return content


def test_a_file_that_no_run_uses_is_removed_and_one_of_a_run_stays(forgetful):
    stack = forgetful
    content = os.urandom(SIZE)
    used = send(stack, content)
    submit_with(stack, used)
    unused = send(stack)
    wait_until(lambda: not is_there(stack, unused), 20, "the unused file is removed")
    wait_until(lambda: chunks_of(stack, unused) == 0, 10, "its chunks are")
    wait_until(lambda: stack.database.db.file_uploads.count_documents({}) == 0, 10, "nothing is left of it")
    assert stack.api.request("GET", f"{ROUTE}/files/{used}").content == content


def test_a_removed_run_gives_its_files_back(forgetful):
    stack = forgetful
    digest = send(stack)
    run = submit_with(stack, digest)
    stack.api.start(run)
    grader = stack.grader(files="true")
    grader.finish(grader.take())
    assert stack.api.is_over(run)
    seconds = RETAIN_S + JOB_TIMEOUT_S + REMEMBERED_S + 20
    wait_until(lambda: stack.database.run(run) is None, seconds, "the run is removed")
    assert stack.database.db.file_uses.count_documents({"file": name_of(digest)}) == 0
    wait_until(lambda: not is_there(stack, digest) and chunks_of(stack, digest) == 0, 20, "its file is")


def test_two_runs_keep_a_file_until_the_last_is_removed(forgetful):
    stack = forgetful
    digest = send(stack)
    short, _ = submit_with(stack, digest), submit_with(stack, digest)
    stack.api.start(short)
    grader = stack.grader(files="true")
    grader.finish(grader.take())
    seconds = RETAIN_S + JOB_TIMEOUT_S + REMEMBERED_S + 20
    wait_until(lambda: stack.database.run(short) is None, seconds, "the first run is removed")
    holds_for(lambda: is_there(stack, digest), 3 * ORPHAN_AGE_S, "the second run keeps the file")


def test_uses_of_a_run_that_was_never_stored_are_removed_with_their_file(forgetful):
    stack = forgetful
    digest = send(stack)
    use = f"{bson.ObjectId()}/{name_of(digest)}"
    stack.database.db.file_uses.insert_one({"_id": use, "file": name_of(digest), "at": LONG_AGO})
    wait_until(lambda: stack.database.db.file_uses.find_one({"_id": use}) is None, 20, "the use is removed")
    wait_until(lambda: not is_there(stack, digest), 20, "its file is")


@pytest.mark.parametrize("state", [UPLOADING, STORED, REMOVING], ids=["uploading", "stored", "removing"])
def test_half_stored_contents_are_removed_and_those_of_files_stay(forgetful, state):
    stack = forgetful
    content = os.urandom(SIZE)
    digest = send(stack, content)
    submit_with(stack, digest)
    left = leave_content(stack, digest, state)
    alone = leave_content(stack, f"sha256:{hashlib.sha256(os.urandom(9)).hexdigest()}", state)
    own = content_of(stack, digest)
    stack.database.db.file_uploads.insert_one({"_id": own, "state": state, "at": LONG_AGO})
    uploads, chunks = stack.database.db.file_uploads, stack.database.db["files.chunks"]
    wait_until(lambda: uploads.count_documents({"_id": {"$in": [left, alone, own]}}) == 0, 20, "no content is open")
    assert chunks.count_documents({"_id": {"$in": [f"{left}/00000000", f"{alone}/00000000"]}}) == 0
    assert stack.api.request("GET", f"{ROUTE}/files/{digest}").content == content


def mark(stack, digest):
    """Marks a file as the removal does, and stops there."""
    stack.database.db["files.files"].update_one({"_id": name_of(digest)}, {"$set": {"removing": True}})


def is_marked(stack, digest):
    return "removing" in stack.database.db["files.files"].find_one({"_id": name_of(digest)})


def test_a_new_run_withdraws_the_mark_of_a_file_that_is_about_to_be_removed(stack):
    digest, other = send(stack), send(stack)
    mark(stack, digest)
    mark(stack, other)
    submit_with(stack, digest)
    assert not is_marked(stack, digest) and is_marked(stack, other)


def test_sending_a_file_again_withdraws_its_mark_and_renews_its_date(stack):
    content = os.urandom(SIZE)
    digest = send(stack, content)
    mark(stack, digest)
    files = stack.database.db["files.files"]
    files.update_one({"_id": name_of(digest)}, {"$set": {"used_at": LONG_AGO}})
    assert send(stack, content) == digest
    assert not is_marked(stack, digest)
    assert files.find_one({"_id": name_of(digest)})["used_at"].year > LONG_AGO.year
