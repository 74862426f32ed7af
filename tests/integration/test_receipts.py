"""Receipts: each result has one, a run's are chained at its end, and scripts/broadway verify checks them offline."""

import hashlib
import json
import subprocess
import threading
import time

import pytest
from broadway import ROUTE, Api, error_of
from course import failed
from course_names import unique
from documented import examples_of, run_example
from harness import ROOT
from pipelines import POST, PRE, STUDENT, job_id_of, long_run_of, run_of
from receipts import Files, receipts_of, verify
from test_course_schemas import check
from test_docs import check as check_classic

IMAGE = {"image": "alpine:3.20", "image_digest": "sha256:" + "ab" * 32}


@pytest.fixture
def files(stack, tmp_path):
    return Files(tmp_path, stack.api)


def job_of(api, job):
    answer = api.request("GET", f"{ROUTE}/grading_job/{job}")
    assert answer.status_code == 200, answer.text
    return answer


def graded(stack, definition, result="done", **more):
    """A run whose jobs one grader has finished."""
    run = stack.api.submit_and_start(definition)
    grader = stack.grader()
    for _ in range(len(definition["students"]) + sum("processing" in key for key in definition)):
        grader.finish(grader.take(), result, **more)
    stack.api.wait_over(run)
    return run


def test_the_receipts_of_a_run_verify_with_its_definition(stack, files):
    definition = run_of(70, pre=True, post=True, name='ä/"\U0001f600', priority=3)
    definition["student_pipeline"][0] |= {"cpus": 0.1, "timeout": 1.5, "env": {"NETID": "", "QUOTED": '\\"'}}
    run = graded(stack, definition, {"stages": [IMAGE], "score": 0.1})
    text = receipts_of(stack.api, run)
    told = files.holds(text, "--definition", files.write("definition.json", definition))
    assert told.startswith(f"run {run} with 72 receipts: verifies; signed by the key ")
    assert receipts_of(stack.api, run) == text
    document = json.loads(text)
    first = document["receipts"][0]["receipt"]
    assert (first["job_id"], first["attempt"], first["outcome"]) == (job_id_of(run, PRE), 1, "succeeded")
    assert first["images"] == [{"digest": IMAGE["image_digest"], "image": IMAGE["image"]}]
    assert first["handed_out_at"] <= first["finished_at"]
    assert [entry["receipt"]["job_id"] for entry in document["receipts"][1:]] == [
        *(job_id_of(run, STUDENT, index) for index in range(70)),
        job_id_of(run, POST),
    ]
    told = files.fails(text, "--definition", files.write("definition.json", {**definition, "priority": 4}))
    assert "it was graded by another definition" in told


def test_a_job_shows_its_receipt_which_verifies_with_its_result(stack, files):
    run = graded(
        stack, run_of(1), {"a": 1.50, "b": ["ä", "\x01", 1e300], "0": None}, success=False, logs={"stderr": "x"}
    )
    shown = job_of(stack.api, job_id_of(run, STUDENT)).text
    assert files.holds(shown).startswith(f"job {job_id_of(run, STUDENT)} and its receipt: verifies")
    job = json.loads(shown)
    receipt = job["receipt"]["receipt"]
    assert (receipt["run_id"], receipt["outcome"], receipt["worker"]) == (run, "failed", job["attempts"][0]["worker"])
    assert receipt["finished_at"] == job["ended_at"] and len(receipt["worker"]) == 8
    assert receipt["result"] == hashlib.sha256('{"a":1.5,"b":["ä","\\u0001",1e300],"0":null}'.encode()).hexdigest()
    assert files.holds(job["receipt"]).startswith("the receipt of job ")
    assert "its result is another one than the receipt attests" in files.fails({**job, "result": {"a": 2}})
    assert "its outcome is succeeded, the receipt says failed" in files.fails({**job, "outcome": "succeeded"})


TESTS = [{"name": "compiles", "score": 0.5, "max_score": 1e-7}, {"name": "ä", "status": "failed", "output": "<b>"}]
PARTS = ("outcome", "result", "worker", "definition", "stages", "finished_at", "attempt")
PARTS += ("owner", "note", "score", "max_score", "tests", "files", "drift", "superseded_by")


def test_a_job_is_compared_with_its_receipt_about_its_score(stack, files):
    run = graded(stack, run_of(1), {"a": 1}, success=False, score=0.1 + 0.2, max_score=10.0, tests=TESTS)
    job = job_of(stack.api, job_id_of(run, STUDENT)).json()
    receipt = job["receipt"]["receipt"]
    files.holds({**job, "max_score": 10.0})
    assert (receipt["score"], receipt["max_score"], receipt["owner"]) == (0.1 + 0.2, 10, "student")
    for key, other, said in (
        ("score", 9.0, "its score is 9, the receipt says 0.30000000000000004"),
        ("score", None, "its score is nothing, the receipt says 0.30000000000000004"),
        ("max_score", 10.5, "its max_score is 10.5, the receipt says 10"),
        ("owner", "course", "its owner is course, the receipt says student"),
        ("note", "x", "its note is x, the receipt says nothing"),
        ("tests", TESTS[:1], "the list of its tests is another one than the receipt attests"),
        ("tests", None, "the list of its tests is another one than the receipt attests"),
        ("drift", [IMAGE], "the list of its images that differ from the run's is another one than the receipt attests"),
    ):
        changed = {name: value for name, value in {**job, key: other}.items() if value is not None}
        assert files.fails(changed) == f"job {job['job_id']}: {said}\n", key
    receipt["score"] = 10
    assert "the receipt was changed: its hash is " in files.fails(job)


def test_scores_that_a_program_wrote_otherwise_have_the_same_hash(stack, files):
    run = graded(stack, run_of(1), score=1e-7, max_score=-0.0)
    text = receipts_of(stack.api, run)
    assert '"score":1e-7,' in text and '"max_score":0,' in text
    files.holds(text.replace('"score":1e-7,', '"score":1.0e-07,').replace('"max_score":0,', '"max_score":-0.0,'))


def test_a_result_that_was_repaired_or_drifted_is_attested_as_such(stack, files):
    stage = {"image": "alpine:3.20", "image_digest": "sha256:" + "cd" * 32}
    run = stack.api.submit_and_start(run_of(2))
    grader = stack.grader()
    for digest in (stage["image_digest"], IMAGE["image_digest"]):
        grader.finish(grader.take(), {"stages": [{**stage, "image_digest": digest}], "bad": "\0"})
    stack.api.wait_over(run)
    job = job_of(stack.api, job_id_of(run, STUDENT, 1)).json()
    files.holds(job)
    assert job["drift"] and job["note"] == job["receipt"]["receipt"]["note"]
    told = files.fails({**job, "drift": [{**job["drift"][0], "pinned": IMAGE["image_digest"]}]})
    assert "the list of its images that differ" in told
    files.holds(receipts_of(stack.api, run))


@pytest.mark.parametrize("when", ["before", "after", "never"])
def test_the_chain_of_a_superseded_job_is_the_same_whenever_its_grader_reports(stack, files, when):
    key = unique()
    old = stack.api.submit_and_start(run_of(1, supersede_key=key))
    grader, checks = stack.grader(cancel="true"), []
    job = grader.take()
    time.sleep(0.5)  # the scheduler learns that it was delivered
    new = stack.api.submit_and_start(run_of(1, supersede_key=key, supersede_share=0))
    stack.api.wait_over(old)
    for moment in ("before", "after"):
        if moment == when:
            grader.finish(job, {"late": True}, score=3, tests=TESTS)
            shown = job_of(stack.api, job["job_id"]).json()
            assert (shown["reported"], shown["score"]) == ("succeeded", 3) and "receipt" not in shown
        checks.append(receipts_of(stack.apis[moment == "after"], old))
    assert checks[0] == checks[1]
    files.holds(checks[0])
    check_classic("grading_run_receipts", json.loads(checks[0]))
    (entry,) = json.loads(checks[0])["receipts"]
    receipt = entry["receipt"]
    assert entry["signature"] is None
    assert (receipt["made_with"], receipt["outcome"], receipt["owner"]) == ("chain", "superseded", "client")
    assert receipt["superseded_by"] == job_id_of(new, STUDENT)
    assert {receipt[name] for name in ("worker", "result", "sent", "score", "tests", "files", "note")} == {None}
    stack.api.cancel(new)


@pytest.mark.parametrize("key", PARTS)
def test_every_part_of_a_receipt_is_covered(stack, files, key):
    document = json.loads(receipts_of(stack.api, graded(stack, run_of(2))))
    receipt = document["receipts"][1]["receipt"]
    receipt[key] = 7 if key in ("attempt", "score", "max_score") else "changed"
    told = files.fails(document)
    assert f"job {receipt['job_id']}: the receipt was changed: its hash is " in told
    assert f"job {receipt['job_id']}: the chain breaks here" in told


def test_a_receipt_that_is_left_out_added_or_moved_breaks_the_chain(stack, files):
    run, other = graded(stack, run_of(3)), graded(stack, run_of(1))
    document = json.loads(receipts_of(stack.api, run))
    foreign = json.loads(receipts_of(stack.api, other))["receipts"][0]
    entries = document["receipts"]
    assert "the chain has 3 receipts, here are 2" in files.fails({**document, "receipts": entries[:2]})
    assert "the chain breaks here" in files.fails({**document, "receipts": entries[1:]})
    assert "not in the order of job ids" in files.fails({**document, "receipts": [*entries, entries[0]]})
    assert "its receipt is of another run" in files.fails({**document, "receipts": [*entries[:2], foreign]})
    assert "the signature of the chain does not fit" in files.fails({**document, "signature": entries[0]["signature"]})
    assert "the chain ends with" in files.fails({**document, "head": "0" * 64})


def test_a_file_that_is_no_receipt_is_unreadable(files):
    for content, said in (
        ("", "is not JSON"),
        ("{}", "has neither the receipts of a run nor a job with its receipt"),
        ("[1]", "has neither"),
        ('{"a":1,"a":2}', "the key 'a' is there twice"),
        ("[" * 100000, "is nested too deep"),
        ('{"receipts":[{"receipt":{"job_id":"\\ud800"}}]}', "has text that is not Unicode"),
    ):
        status, out, err = verify(files.write("odd.json", content))
        assert (status, out) == (2, "") and said in err, content[:40]
    for content in ('{"receipts":[1,null,{"receipt":7}]}', '{"receipt":{"receipt":{}}}', '{"receipts":[]}'):
        status, out, _ = verify(files.write("odd.json", content))
        assert status == 1 and out, content
    assert verify(files.directory / "nowhere")[0] == 2
    assert verify(files.write("odd.json", "{}"), "--key", files.write("no.pem", "x"))[0] == 2
    assert verify(files.key, "--nonsense")[0] == 2


def test_the_example_on_the_page_works(stack, tmp_path):
    definition = run_of(2)
    variables = {"BROADWAY_URL": stack.urls[0], "RUN": graded(stack, definition)}
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "run.json").write_text(json.dumps(definition), encoding="utf-8")
    (example,) = examples_of("receipts.md")
    assert [request["status"] for request in run_example(example, tmp_path, variables)] == [200, 200]


def test_the_example_on_the_page_verifies(tmp_path):
    text = (ROOT / "docs" / "receipts.md").read_text(encoding="utf-8")
    (tmp_path / "example.json").write_text(text.partition("```json grading_run_receipts\n")[2].partition("```")[0])
    assert verify(tmp_path / "example.json")[:2] == (
        0,
        "run 6b05c5d2164163397800c81b with 2 receipts: verifies; "
        "signed by the key A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n",
    )


def test_a_key_of_ones_own_signs_and_a_file_without_one_stops_the_start(stack, make_replica, tmp_path):
    for name, algorithm in (("own", ["ed25519"]), ("other", ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"])):
        path = tmp_path / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", *algorithm, "-out", path], check=True, capture_output=True)
    replica = make_replica(stack, "--receipt-key", str(tmp_path / "own.pem")).wait_ready()
    api = Api(replica.url)
    shared = stack.api.request("GET", f"{ROUTE}/receipts/key").json()
    own = api.request("GET", f"{ROUTE}/receipts/key").json()
    assert own["key"] != shared["key"]
    run = stack.api.submit_and_start(run_of(2))
    grader = stack.grader()
    grader.finish(grader.take())
    grader.at(replica.url).finish(grader.take())
    stack.api.wait_over(run)
    path = tmp_path / "receipts.json"
    path.write_text(receipts_of(api, run), encoding="utf-8")
    keys = []
    for key in (shared, own):
        (tmp_path / f"{len(keys)}.json").write_text(json.dumps(key), encoding="utf-8")
        keys += ["--key", tmp_path / f"{len(keys)}.json"]
    assert verify(path, *keys)[0] == 0
    status, out, _ = verify(path, *keys[:2])
    assert status == 1 and f"by the key {own['key']}, which is none of the given ones" in out
    for name, reason in (
        ("other.pem", "the private key is of another kind than Ed25519"),
        ("0.json", "there is no unencrypted private key in PEM"),
        ("nowhere.pem", "No such file or directory"),
    ):
        refused = make_replica(stack, "--receipt-key", str(tmp_path / name))
        assert refused.wait(20) == 2
        assert f"--receipt-key {tmp_path / name}: {reason}" in refused.said()


def test_a_run_that_has_not_ended_has_no_chain_and_an_unknown_one_is_refused(stack):
    run = stack.api.submit(run_of(1))
    for state in ("created", "grading"):
        answer = stack.api.request("GET", f"{ROUTE}/grading_run/{run}/receipts")
        assert answer.status_code == 409, answer.text
        assert answer.json()["state"] in (state, "students", "student_pipeline", "running")
        assert error_of(answer) == f"the grading run '{run}' has not ended: its receipts are chained at its end"
        if state == "created":
            stack.api.start(run)
    answer = stack.api.request("GET", f"{ROUTE}/grading_run/{'0' * 24}/receipts")
    assert (answer.status_code, error_of(answer)) == (400, f"there is no grading run '{'0' * 24}'")
    stack.api.cancel(run)


def test_jobs_that_no_grader_finished_have_their_place_in_the_chain(stack, files):
    run = stack.api.submit_and_start(run_of(4, post=True))
    grader = stack.grader()
    grader.finish(grader.take())
    job = job_id_of(run, STUDENT, 1)
    assert stack.api.request("POST", f"{ROUTE}/grading_job/{job}/cancel").status_code == 200
    stack.api.cancel(run)
    stack.api.wait_over(run)
    text = receipts_of(stack.api, run)
    files.holds(text)
    receipts = [entry["receipt"] for entry in json.loads(text)["receipts"]]
    assert [receipt["made_with"] for receipt in receipts] == ["result", *["chain"] * 4]
    assert [receipt["outcome"] for receipt in receipts] == ["succeeded", *["cancelled"] * 4]
    assert "receipt" not in job_of(stack.api, job).json()
    assert "only the chain of its run vouches for it" in files.fails(json.loads(text)["receipts"][1])


def test_a_run_whose_first_job_failed_chains_the_jobs_that_never_ran(stack, files):
    run = stack.api.submit_and_start(run_of(9, pre=True, post=True))
    grader = stack.grader()
    grader.finish(grader.take(), "broken", success=False)
    stack.api.wait_over(run)
    text = receipts_of(stack.api, run)
    files.holds(text)
    assert {entry["receipt"]["attempt"] for entry in json.loads(text)["receipts"][1:]} == {None}


def test_a_result_that_was_refused_has_a_receipt_with_the_reason(stack, files):
    run = stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    job = grader.take()["job_id"]
    answer = grader.http.post(f"{ROUTE}/grading_job/{job}", json={"worker_id": grader.id, "result": 1, "success": "x"})
    assert answer.status_code == 400
    stack.api.wait_over(run)
    shown = job_of(stack.api, job).text
    files.holds(shown)
    receipt = json.loads(shown)["receipt"]["receipt"]
    assert receipt["result"] is None and receipt["reason"] == json.loads(shown)["result"]
    files.holds(receipts_of(stack.api, run))


def test_results_of_an_earlier_version_are_covered_by_the_chain_alone(stack, files):
    run = graded(stack, run_of(3))
    jobs = {"_id": {"$regex": f"^{run}"}}
    fields = {"receipt": "", "receipt_signature": "", "receipt_key": ""}
    stack.database.db.job_results.update_many(jobs, {"$unset": fields})
    text = receipts_of(stack.api, run)
    files.holds(text)
    assert {entry["receipt"]["made_with"] for entry in json.loads(text)["receipts"]} == {"chain"}
    stack.database.db.job_results.update_one(jobs, {"$set": {"outcome": "failed"}})
    assert "the chain ends with" in files.fails(receipts_of(stack.api, run))


def test_the_chain_is_made_once_whoever_asks_first(stack):
    run = graded(stack, long_run_of(20))
    answers, threads = [], []
    for url in stack.urls * 4:
        api = Api(url)
        threads.append(threading.Thread(target=lambda api=api: answers.append(receipts_of(api, run))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(threads) and len(set(answers)) == 1


def test_the_key_is_public_and_the_same_at_every_replica(stack):
    keys = [Api(url).request("GET", f"{ROUTE}/receipts/key").json() for url in stack.urls]
    assert all(key == keys[0] for key in keys)
    assert keys[0]["algorithm"] == "Ed25519" and keys[0]["pem"].startswith("-----BEGIN PUBLIC KEY-----\n")


def test_the_receipts_of_a_course_are_reached_by_its_token_alone(staff, tmp_path):
    course, grader = staff.course(), staff.grader()
    files = Files(tmp_path, Api(staff.stack.urls[0]))
    run = course.run(3)
    path = f"/grading_run/cs225/{run}/receipts"
    refused = course.ask("GET", path)
    assert (refused.status_code, refused.json()) == (
        409,
        failed("the run has not ended: students grading jobs have been scheduled"),
    )
    jobs = []
    for _ in range(3):
        jobs.append(grader.take()["grading_job_id"])
        grader.finish(jobs[-1], results=[{"stages": [IMAGE], "score": 1.25}])
    answer = course.ask("GET", path)
    files.holds(answer.text)
    check("receipts", answer.json()["data"])
    assert answer.json()["data"]["receipts"][0]["receipt"]["images"][0]["image"] == IMAGE["image"]
    files.holds(course.ask("GET", f"/grading_job/cs225/{jobs[0]}").text)
    other = staff.course("cs241")
    assert other.ask("GET", f"/grading_run/cs241/{run}/receipts").json() == failed(
        "grading run with the given ID not found"
    )
