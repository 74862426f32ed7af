"""scripts/start_run and scripts/grader against a real stack: submit, grade by local processes, follow to the end."""

import json
import os
import signal
import subprocess
import time

import pytest
from harness import SCRIPTS, clean_environment, last_lines
from history import check_history
from pipelines import STUDENT, job_id_of, run_of
from waiting import PATIENCE, soon, wait_until


def shell(text, **more):
    return {"image": "debian:12-slim", "entrypoint": ["/bin/sh", "-euc", text], **more}


@pytest.fixture
def start_grader(stack, tmp_path):
    """Starts real graders; they end with the test."""
    started = []

    def start(*flags):
        log = tmp_path / f"grader-{len(started)}.log"
        urls = [f"--url={url}" for url in stack.urls]
        argv = [str(SCRIPTS / "grader"), *urls, "--runner=process", f"--work-dir={tmp_path / 'work'}", *flags]
        env = clean_environment(BROADWAY_CLUSTER_TOKEN=stack.cluster_token)
        with open(log, "wb") as output:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
        child.log = log
        started.append(child)
        return child

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.wait()


def start_run(stack, tmp_path, definition, *flags):
    """Runs scripts/start_run; returns the completed process."""
    path = tmp_path / "pipeline.json"
    path.write_text(definition if isinstance(definition, str) else json.dumps(definition), encoding="utf-8")
    host, _, port = stack.urls[1].removeprefix("http://").partition(":")
    argv = [str(SCRIPTS / "start_run"), str(path), "--host", host, "--port", port, *flags]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=90 * PATIENCE, check=False, env=clean_environment()
    )


def printed_id(done):
    run = done.stdout.split()[0]
    assert len(run) == 24, done.stdout + done.stderr
    return run


def test_start_run_follows_a_run_to_its_end(stack, tmp_path, start_grader):
    definition = {
        "env": {"TERM_NAME": "fall"},
        "students": [{"NETID": f"s{n}"} for n in range(6)],
        "preprocessing_pipeline": [shell("test -f students.json || echo none; echo pre")],
        "student_pipeline": [
            shell('echo "$NETID in $TERM_NAME" > note', env={"NETID": ""}, timeout=30),
            shell("cat note; echo oops >&2; printf '{\"score\": 3}' > result.json"),
        ],
        "postprocessing_pipeline": [shell("echo post")],
    }
    start_grader("--concurrency=2")
    start_grader()
    done = start_run(stack, tmp_path, definition, "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    run = printed_id(done)
    assert "finish" in done.stdout + done.stderr
    for n, job in enumerate(stack.api.status(run, results="true")["student_statuses"]):
        assert job["outcome"] == "succeeded"
        assert [stage["exit_code"] for stage in job["result"]["stages"]] == [0, 0]
        assert job["result"]["stages"][1]["stdout"].strip() == f"s{n} in fall"
        assert job["result"]["output"] == {"score": 3}
        (log,) = stack.database.logs(job["job_id"])
        assert f"s{n} in fall" in log["stdout"] and "oops" in log["stderr"]
    check_history(stack, run, 6)


def test_start_run_exits_1_if_a_job_failed(stack, tmp_path, start_grader):
    start_grader()
    definition = {"students": [{"N": "0"}, {"N": "1"}], "student_pipeline": [shell('exit "$N"', env={"N": ""})]}
    done = start_run(stack, tmp_path, definition, "--wait")
    assert done.returncode == 1
    status = stack.api.status(printed_id(done))
    assert [job["outcome"] for job in status["student_statuses"]] == ["succeeded", "failed"]


def test_start_run_without_wait_starts_the_run_and_exits(stack, tmp_path):
    done = start_run(stack, tmp_path, {"students": [{}], "student_pipeline": [shell("true")]})
    assert done.returncode == 0
    assert stack.api.status(printed_id(done))["state"] == "students"


@pytest.mark.parametrize(("definition", "says"), [('{"students": []}', "student_pipeline"), ("{nonsense", "JSON")])
def test_start_run_prints_the_servers_refusal(stack, tmp_path, definition, says):
    done = start_run(stack, tmp_path, definition)
    assert done.returncode != 0 and says in done.stderr and "Traceback" not in done.stderr


def test_a_real_grader_killed_in_a_job_loses_it_to_another(stack, tmp_path, start_grader):
    mark = tmp_path / "victim-works"
    # The first attempt hangs, every later one ends at once.
    text = f"if mkdir {mark}; then sleep 600; fi; echo graded"
    victim = start_grader()
    run = stack.api.submit_and_start({"students": [{}], "student_pipeline": [shell(text)]})
    wait_until(mark.exists, 15, "the first grader works on the job")
    start_grader()
    os.kill(victim.pid, signal.SIGKILL)
    killed = time.monotonic()
    job = job_id_of(run, STUDENT)
    wait_until(lambda: stack.database.leases_of_job(job)[0].get("ended"), 3.5 + soon(2), "its lease has ended")
    assert time.monotonic() - killed < 3.5 + soon(2)
    status = stack.api.wait_over(run, 20)
    assert status["student_statuses"][0]["attempts"] == 2 and status["student_statuses"][0]["outcome"] == "succeeded"


def test_a_stopped_grader_finishes_its_job(stack, tmp_path, start_grader):
    mark = tmp_path / "works"
    grader = start_grader()
    text = f"touch {mark}; while test -e {mark}; do sleep 0.05; done; echo done"
    run = stack.api.submit_and_start({"students": [{}, {}], "student_pipeline": [shell(text)]})
    wait_until(mark.exists, 15, "the grader works")
    grader.send_signal(signal.SIGTERM)
    mark.unlink()
    assert grader.wait(20 * PATIENCE) == 0, last_lines(grader.log)
    first, second = stack.api.status(run)["student_statuses"]
    assert (first["outcome"], second["status"]) == ("succeeded", "Queued")


def test_a_stage_past_its_timeout_is_killed_and_fails_the_job(stack, start_grader):
    start_grader()
    run = stack.api.submit_and_start({"students": [{}], "student_pipeline": [shell("sleep 60", timeout=0.5)]})
    (job,) = stack.api.wait_over(run, 20)["student_statuses"]
    assert job["outcome"] == "failed" and job["result"]["stages"][0]["killed"]


def test_a_log_over_the_limit_keeps_its_first_and_last_line(stack, start_grader):
    """The grader's own limit is above the API's: it uses the one from its registration."""
    start_grader("--once", "--max-log-bytes=8000000")
    script = (
        "echo first; head -c 6000000 /dev/zero | tr '\\0' x; printf '\\303\\274\\n%.0s' $(seq 3000); echo 'score 97'"
    )
    run = stack.api.submit_and_start(run_of(1, student_pipeline=[{"image": "x", "entrypoint": ["sh", "-c", script]}]))
    stack.api.wait_over(run, 30)
    (log,) = stack.database.logs(f"{run}10000000")
    assert log["stdout"].startswith("first\nxxx") and log["stdout"].endswith("ü\nü\nscore 97\n")
    assert log["stdout"].count("bytes cut ...]") == 1 and len(log["stdout"].encode()) <= 4 * 1024 * 1024
