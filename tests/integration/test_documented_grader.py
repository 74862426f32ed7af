"""The grader in docs/protocol.md works: it runs every sample."""

import json
import re
import subprocess
import sys

import pytest
from harness import ROOT, clean_environment
from pipelines import run_of, stage

(GRADER,) = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8"), re.M | re.S
)
SAMPLES = sorted((ROOT / "scripts" / "samples").glob("*.json"))


def sh(script, **more):
    return stage(entrypoint=["/bin/sh", "-c", script], **more)


@pytest.fixture
def documented_grader(stack, tmp_path):
    """The page's grader, as a process in its own directory."""
    program = tmp_path / "grader.py"
    program.write_text(GRADER, encoding="utf-8")
    environment = clean_environment(BROADWAY_URL=stack.urls[0], BROADWAY_TOKEN=stack.cluster_token)
    with open(tmp_path / "grader.log", "ab") as log:
        grader = subprocess.Popen([sys.executable, str(program)], stdout=log, stderr=log, env=environment, cwd=tmp_path)
    yield grader
    grader.kill()
    grader.wait()
    print((tmp_path / "grader.log").read_text(encoding="utf-8")[-3000:])


@pytest.mark.parametrize("sample", SAMPLES, ids=[path.stem for path in SAMPLES])
def test_it_runs_every_sample(stack, documented_grader, sample):
    definition = json.loads(sample.read_text(encoding="utf-8"))
    definition["students"] = definition["students"][:5]
    run = stack.api.submit_and_start(definition)
    stack.api.wait_over(run, 60)
    status = stack.api.status(run, results="true")
    assert status["state"] == "finished"
    results = [(job["outcome"], job["result"]) for job in status["student_statuses"]]
    assert all(outcome == "succeeded" for outcome, _ in results), results
    if sample.stem == "env":
        assert results[0][1] == {"course": "cs241", "student": "alice", "mode": "strict"}
    if sample.stem == "course-200":
        assert status["preprocessing_status"]["result"] == {"students": 5}
        assert results[0][1]["netid"] == "student001"


def test_it_meets_the_rest_of_the_contract(stack, documented_grader):
    stages = {
        "quiet": sh("echo secret", logs=False),
        "kept": sh(
            'echo said; test "$PWD" = "$JOB_DIR" && test -z "$BROADWAY_TOKEN" && echo \'{"ok": true}\' >result.json'
        ),
    }
    run = stack.api.submit_and_start({"student_pipeline": list(stages.values()), "students": [{}]})
    stack.api.wait_over(run, 30)
    (job,) = stack.api.status(run, results="true")["student_statuses"]
    assert (job["outcome"], job["result"]) == ("succeeded", {"ok": True})
    logs = [log["stdout"] for log in stack.database.db.job_logs.find({"_id": {"$regex": f"^{job['job_id']}"}})]
    assert logs == ["said\n"]


def test_it_fails_a_stage_without_an_entrypoint_by_a_sentence(stack, documented_grader):
    run = stack.api.submit_and_start(run_of(1))
    stack.api.wait_over(run, 30)
    (job,) = stack.api.status(run, results="true")["student_statuses"]
    assert job["outcome"] == "failed" and "no entrypoint" in job["result"]
