"""Files of runs: what a submission may name, in both protocols, and that a run keeps its files."""

import hashlib
import os

import pytest
from broadway import ROUTE, error_of
from course import config_of
from harness import run_stack
from pipelines import run_of

MAX_JOB_FILES_BYTES = 5000
UNKNOWN = f"sha256:{'0' * 64}"


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def send(api, content=None):
    """Sends a file; its digest."""
    content = os.urandom(100) if content is None else content
    answer = api.request("POST", f"{ROUTE}/files", content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()["digest"]


def refusal_of(api, **more):
    answer = api.request("POST", f"{ROUTE}/grading_run", json=run_of(2, **more))
    assert answer.status_code == 400
    return error_of(answer)


def uses_of(stack, run):
    return {use["file"] for use in stack.database.db.file_uses.find({"_id": {"$regex": f"^{run}/"}})}


def stored_definition(stack, run):
    """The definition of a short run as it is stored."""
    return stack.database.run(run)["definition"]


def test_a_run_keeps_its_files_and_their_sizes(stack):
    common, own = send(stack.api, b"common"), send(stack.api, b"of the first")
    files = [{"path": "tests/run.sh", "digest": common}]
    run = stack.api.submit(run_of(2, files=files, student_files=[[{"path": "own", "digest": own, "unpack": True}], []]))
    assert uses_of(stack, run) == {f"/{common[7:]}", f"/{own[7:]}"}
    definition = stored_definition(stack, run)
    assert f'"files":[{{"path":"tests/run.sh","digest":"{common}","size":6}}]' in definition
    assert f'[{{"path":"own","digest":"{own}","unpack":true,"size":12}}]' in definition


def test_a_run_with_empty_lists_of_files_is_a_run_without(stack):
    run = stack.api.submit(run_of(2, files=[], student_files=[[], []]))
    assert uses_of(stack, run) == set()


def test_one_file_may_stand_in_many_places(stack):
    digest = send(stack.api)
    lists = [[{"path": f"{n}", "digest": digest}, {"path": "own", "digest": digest}] for n in range(300)]
    run = stack.api.submit(run_of(300, files=[{"path": "common", "digest": digest}], student_files=lists))
    assert uses_of(stack, run) == {f"/{digest[7:]}"}


def test_a_file_that_was_not_sent_is_refused_with_its_entry(stack):
    known = send(stack.api)
    files = [{"path": "a", "digest": known}, {"path": "b", "digest": UNKNOWN}]
    sentence = f"the file {UNKNOWN} is not stored here: send it first by POST /api/v1/files"
    before = stack.database.db.grading_runs.count_documents({})
    assert refusal_of(stack.api, files=files) == f"files[1]: {sentence}"
    assert refusal_of(stack.api, student_files=[[], files]) == f"student_files[1][1]: {sentence}"
    assert stack.database.db.grading_runs.count_documents({}) == before


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"files": {}}, "files: must be a list, not an object"),
        ({"files": None}, "files: must be a list, not null"),
        ({"files": ["x"]}, "files[0]: must be an object"),
        ({"files": [{"path": "a"}]}, "files[0].digest: is required"),
        ({"files": [{"path": "a", "digest": "x"}]}, "files[0].digest: must be sha256:"),
        ({"files": [{"path": "/a", "digest": UNKNOWN}]}, "files[0].path: '/a' must be a relative path"),
        ({"files": [{"path": "a/../b", "digest": UNKNOWN}]}, "files[0].path: 'a/../b' must have no empty, . or .."),
        ({"files": [{"path": "a", "digest": UNKNOWN, "size": 3}]}, "files[0]: unknown key 'size'"),
        ({"files": [{"path": "a", "digest": UNKNOWN, "unpack": 1}]}, "files[0].unpack: must be true or false"),
        ({"files": [{"path": "a", "digest": UNKNOWN}] * 2}, "files: two files of one job have the path 'a'"),
        ({"student_files": [[]]}, "student_files: must have one list per student: there are 1 lists and 2 students"),
        ({"student_files": [[], 3]}, "student_files[1]: must be a list, not a number"),
    ],
    ids=str,
)
def test_wrong_files_of_a_run_are_refused_with_their_place(stack, more, sentence):
    assert sentence in refusal_of(stack.api, **more)


def test_a_file_in_the_way_of_another_of_the_same_job_is_refused(stack):
    digest = send(stack.api)
    files = [{"path": "a/b", "digest": digest}]
    own = [[], [{"path": "a", "digest": digest}]]
    sentence = "student_files[1]: 'a' can't be a file, since 'a/b' of the same job is in it"
    assert refusal_of(stack.api, files=files, student_files=own) == sentence


def test_a_repeated_submission_with_files_is_the_same_run(stack):
    run = run_of(1, files=[{"path": "a", "digest": send(stack.api)}])
    answers = [
        api.request("POST", f"{ROUTE}/grading_run", json=run, headers={"Idempotency-Key": "with files"}).json()
        for api in stack.apis
    ]
    assert answers == [answers[0]] * len(answers)
    other = run_of(1, files=[{"path": "b", "digest": send(stack.api)}])
    key = {"Idempotency-Key": "with files"}
    assert stack.api.request("POST", f"{ROUTE}/grading_run", json=other, headers=key).status_code == 400


def test_a_rerun_has_the_files_of_its_students(stack):
    common, first, second = send(stack.api), send(stack.api), send(stack.api)
    lists = [[{"path": "own", "digest": first}], [{"path": "own", "digest": second}]]
    run = stack.api.submit_and_start(run_of(2, files=[{"path": "common", "digest": common}], student_files=lists))
    answer = stack.api.request("POST", f"{ROUTE}/grading_run/{run}/rerun", json={"students": [1]})
    assert answer.status_code == 200, answer.text
    rerun = answer.json()["id"]
    assert uses_of(stack, rerun) == {f"/{common[7:]}", f"/{second[7:]}"}
    assert f'"student_files":[[{{"path":"own","digest":"{second}","size":100}}]]' in stored_definition(stack, rerun)
    assert uses_of(stack, run) == {f"/{digest[7:]}" for digest in (common, first, second)}


def test_a_run_of_many_files_is_stored_apart_and_read_back(stack):
    digest = send(stack.api)
    lists = [[{"path": f"{'x' * 900}/{n}", "digest": digest}] for n in range(200)]
    run = stack.api.submit(run_of(200, student_files=lists))
    assert '"size":100' in stack.database.db.run_definitions.find_one({"_id": run})["definition"]
    assert stack.api.status(run)["state"] == "created"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A stack with a low limit of a job's files."""
    flags = (f"max-job-files-bytes={MAX_JOB_FILES_BYTES}",)
    yield from run_stack(tmp_path_factory, "narrow", both=("heartbeat-interval=1",), api=flags)


def test_files_of_a_job_over_the_limit_are_refused_with_413(narrow):
    half, more = send(narrow.api, os.urandom(MAX_JOB_FILES_BYTES // 2)), send(narrow.api, os.urandom(2501))
    common = [{"path": "common", "digest": half}]
    narrow.api.submit(run_of(1, files=common, student_files=[[{"path": "own", "digest": half}]]))
    over = run_of(1, files=common, student_files=[[{"path": "own", "digest": more}]])
    answer = narrow.api.request("POST", f"{ROUTE}/grading_run", json=over)
    assert answer.status_code == 413
    assert error_of(answer) == "student_files[0]: the files of a job take 5001 bytes together, the limit is 5000"


# The course protocol


def test_a_run_of_a_course_uses_files_of_its_course(staff):
    course = staff.course()
    content = os.urandom(100)
    assert course.http.request("POST", "/files/cs225", content=content).status_code == 200
    files = [{"path": "a", "digest": digest_of(content)}]
    run = course.run(2, config_of(), files=files, student_files=[[], [{"path": "b", "digest": digest_of(content)}]])
    assert uses_of(staff.stack, run) == {f"cs225/{digest_of(content)[7:]}"}
    assert '"size":100' in stored_definition(staff.stack, run)


def test_a_run_of_a_course_does_not_get_files_of_others(staff):
    content = os.urandom(100)
    digest = send(staff.stack.api, content)
    course = staff.course()
    assignment = course.configure(config_of())
    body = {"students_env": [{}], "files": [{"path": "a", "digest": digest}]}
    answer = course.ask("POST", f"/grading_run/cs225/{assignment}", body)
    assert answer.status_code == 400
    assert answer.json()["data"]["message"] == (
        f"files[0]: the file {digest} is not stored here: send it first by POST /api/v1/files/cs225"
    )


def test_wrong_files_of_a_course_run_are_refused_with_their_place(staff):
    course = staff.course()
    assignment = course.configure(config_of())
    for more, sentence in [
        ({"files": [{"path": "a"}]}, "files[0].digest: is required"),
        ({"student_files": []}, "student_files: must have one list per student: there are 0 lists and 1 students"),
    ]:
        answer = course.ask("POST", f"/grading_run/cs225/{assignment}", {"students_env": [{}], **more})
        assert answer.status_code == 400
        assert sentence in answer.text
