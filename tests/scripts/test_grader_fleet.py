"""What operators of many graders need: sentences at the start and the end, logs for machines, health, leaving."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from conftest import SCRIPTS, Grader
from processes import wait_until

AFFINITY = "grep Cpus_allowed_list /proc/self/status | cut -f2"


def sh(script, **more):
    return {"image": "any", "entrypoint": ["/bin/sh", "-c", script], "env": [], **more}


def run_grader(*arguments, env=None):
    """A grader that must end by itself: (status, stderr)."""
    done = subprocess.run(
        [SCRIPTS / "grader", "--token=x", *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://host", "http://", "http://host:port", "http://host:99999", "http://h/?a=b", "http://u@h"]
)
def test_a_url_that_is_none_is_refused_at_once(url, tmp_path):
    status, said = run_grader(f"--url={url}", "--runner=process", f"--state-dir={tmp_path / 'state'}")
    assert status == 2 and f"{url!r} is not the URL of an API" in said


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--memory=much", "is not a size"),
        ("--disk=0", "is not a size"),
        ("--concurrency=0", "0"),
        ("--concurrency=many", "many"),
        ("--pull=often", "often"),
        ("--work-dir=a,b", "comma"),
    ],
)
def test_an_option_that_is_wrong_is_refused_with_a_sentence(option, words, tmp_path):
    status, said = run_grader(option, "--runner=process", f"--state-dir={tmp_path / 'state'}")
    assert status == 2 and words in said


def test_a_state_directory_that_others_can_write_is_refused(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    status, said = run_grader("--runner=process", f"--state-dir={tmp_path / 'state'}")
    assert status == 2 and "writable only by its owner" in said


def test_without_an_engine_it_names_the_way_out(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    arguments = "--runner=podman", "--engine-arg=--annotation=a=b", f"--state-dir={tmp_path / 'state'}"
    status, said = run_grader(*arguments, env={"PATH": str(tmp_path / "bin")})
    assert status == 2
    assert "podman is not usable here" in said and "neither socket nor command" in said and "--runner process" in said


def test_a_command_that_is_there_but_does_not_answer_is_a_fault(api, graders, tmp_path):
    """As a machine that boots: the grader waits for its engine, instead of ending for good."""
    (tmp_path / "podman").write_text("#!/bin/sh\necho 'cannot connect' >&2\nexit 125\n")
    (tmp_path / "podman").chmod(0o755)
    graders.append(
        Grader(
            f"--url={api.url}",
            "--runner=podman",
            "--engine-arg=--annotation=a=b",
            f"--state-dir={tmp_path / 'state'}",
            "--health-port=0",
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )
    )
    lines = []
    wait_until(lambda: lines.append(graders[0].process.stderr.readline()) or "metrics: " in lines[-1], "a port", 30)
    url = lines[-1].split("metrics: ")[1].strip()
    assert any("no more jobs are taken until" in line and "cannot connect" in line for line in lines)
    status, _, text = get(f"{url}/readyz")
    assert status == 503 and "cannot connect" in text
    assert "broadway_grader_healthy 0" in get(f"{url}/metrics")[2]
    assert graders[0].stop() == 0 and api.registrations == []


def test_a_signal_while_the_engine_is_asked_for_the_first_time_leaves_nothing(api, graders, tmp_path):
    (tmp_path / "podman").write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexec sleep 600\n")
    (tmp_path / "podman").chmod(0o755)
    graders.append(
        Grader(
            f"--url={api.url}",
            "--runner=podman",
            "--engine-arg=--annotation=a=b",
            f"--state-dir={tmp_path / 'state'}",
            f"--work-dir={tmp_path / 'work'}",
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )
    )
    wait_until((tmp_path / "asked").exists, "the engine is asked", 30)
    assert graders[0].stop() == 0 and api.registrations == []
    assert list((tmp_path / "work").iterdir()) == []


def test_sigterm_is_answered_in_the_log(api, start_grader, tmp_path):
    grader = start_grader("--concurrency=2")
    job = api.put(sh(f"touch {tmp_path}/begun; while ! test -e {tmp_path}/go; do sleep 0.05; done"))
    wait_until((tmp_path / "begun").exists, "the job runs")
    api.wait_for(lambda: api.open_polls == 1)
    grader.signal()
    api.wait_for(lambda: api.open_polls == 0)
    (tmp_path / "go").touch()
    assert grader.leave() == 0
    assert "SIGTERM: no new jobs are taken; 1 running, to be finished" in grader.stderr
    assert grader.stderr.rstrip().endswith("ended") and api.results[job]["success"] is True


def test_a_drain_file_is_answered_like_sigterm(api, start_grader, tmp_path):
    notice = tmp_path / "notice"
    grader = start_grader("--concurrency=2", f"--drain-file={notice}")
    job = api.put(sh(f"touch {tmp_path}/begun; while ! test -e {tmp_path}/go; do sleep 0.05; done"))
    wait_until((tmp_path / "begun").exists, "the job runs")
    api.wait_for(lambda: api.open_polls == 1)
    notice.touch()
    api.wait_for(lambda: api.open_polls == 0)
    late = api.put(sh("true"))
    (tmp_path / "go").touch()
    assert grader.leave() == 0
    assert f"{notice} exists: no new jobs are taken; 1 running, to be finished" in grader.stderr
    assert api.results[job]["success"] is True and late not in api.results


def test_a_drain_file_that_is_there_at_the_start_ends_it(api, start_grader, tmp_path):
    (tmp_path / "notice").touch()
    assert start_grader(f"--drain-file={tmp_path / 'notice'}").leave() == 0
    assert api.results == {}


def test_a_log_in_json_has_an_object_per_line(api, start_grader):
    grader = start_grader("--log-format=json", "--once")
    job = api.put(sh("true"))
    assert grader.leave() == 0
    lines = [json.loads(line) for line in grader.stderr.splitlines()]
    assert all(set(line) >= {"time", "level", "message"} for line in lines)
    assert f"job {job} started" in [line["message"] for line in lines]
    assert {line["level"] for line in lines} == {"INFO", "WARNING"}


def test_it_leaves_when_there_was_no_job_for_a_while(api, start_grader):
    grader = start_grader("--idle-exit=1.5")
    job = api.put(sh("sleep 2.5"))
    api.result_of(job)
    done = time.monotonic()
    assert grader.leave() == 0
    assert 1 < time.monotonic() - done < 5
    assert "no job for 1.5 s" in grader.stderr


def test_concurrency_auto_is_sent_to_the_api(api, start_grader):
    start_grader("--concurrency=auto")
    api.wait_for(lambda: api.registrations)
    assert int(api.registrations[0]["concurrency"]) == len(os.sched_getaffinity(0))


def test_slots_have_processors_of_their_own_unless_the_stage_says_otherwise(api, start_grader, tmp_path):
    processors = sorted(os.sched_getaffinity(0))
    start_grader(f"--concurrency={len(processors)}", "--cpuset=auto")
    script = f"touch {tmp_path}/begun-$$; while ! test -e {tmp_path}/go; do sleep 0.05; done; {AFFINITY}"
    jobs = [api.put(sh(script)) for _ in processors]
    wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == len(jobs), "all jobs run at the same time")
    (tmp_path / "go").touch()
    assert sorted(int(api.result_of(job)["logs"]["stdout"]) for job in jobs) == processors
    own = api.put(sh(AFFINITY, cpuset_cpus=str(processors[-1])), sh(AFFINITY, cpuset_cpus=str(processors[0])))
    assert api.result_of(own)["logs"]["stdout"].split() == [str(processors[-1]), str(processors[0])]


def test_more_slots_than_processors_are_refused_with_cpuset_auto(tmp_path):
    slots = len(os.sched_getaffinity(0)) + 1
    state = f"--state-dir={tmp_path / 'state'}"
    status, said = run_grader("--runner=process", "--cpuset=auto", f"--concurrency={slots}", state)
    assert status == 2 and f"--cpuset auto: {slots} slots need as many processors" in said


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers["Content-Type"], answer.read().decode()


def health_url(grader):
    """From its log."""
    for line in grader.process.stderr:
        if "health and metrics: " in line:
            return line.split("health and metrics: ")[1].strip()
    raise AssertionError("it said nothing of a health port")


def test_health_and_metrics_are_served_on_loopback(api, start_grader):
    grader = start_grader("--health-port=0", "--concurrency=3")
    url = health_url(grader)
    assert url.startswith("http://127.0.0.1:")
    wait_until(lambda: get(f"{url}/readyz")[0] == 200, "it is ready")
    assert get(f"{url}/healthz")[::2] == (200, '{"status": "ok"}')
    assert get(f"{url}/other")[0] == 404
    api.result_of(api.put(sh("exit 1")))
    failed = '\nbroadway_grader_jobs_total{outcome="failed"} 1\n'
    wait_until(lambda: failed in get(f"{url}/metrics")[2], "the failure is counted")
    job = api.put(sh("sleep 2"))
    api.wait_for(lambda: job in api.handed_out)
    wait_until(lambda: "\nbroadway_grader_running_jobs 1\n" in get(f"{url}/metrics")[2], "a job runs")
    status, content_type, text = get(f"{url}/metrics")
    assert status == 200 and content_type == "text/plain; version=0.0.4"
    assert "\nbroadway_grader_slots 3\n" in text and "\nbroadway_grader_healthy 1\n" in text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {line.split("{")[0].split()[0] for line in text.splitlines() if not line.startswith("#")} <= names
    grader.signal()
    wait_until(lambda: get(f"{url}/readyz")[0] == 503, "it drains")
    assert json.loads(get(f"{url}/readyz")[2]) == {"status": "draining"}
    assert grader.leave() == 0


def test_it_is_not_ready_before_it_is_registered(api, start_grader):
    api.refusals += [("GET", "/api/v1/worker_register", 503)] * 3
    url = health_url(start_grader("--health-port=0"))
    seen = set()
    wait_until(lambda: seen.add(get(f"{url}/readyz")[::2]) or any(status == 200 for status, _ in seen), "it is ready")
    assert (503, '{"status": "not registered"}') in seen


def test_a_port_that_is_taken_is_refused_at_the_start(api, tmp_path):
    port = api.url.rpartition(":")[2]
    state = f"--state-dir={tmp_path / 'state'}"
    status, said = run_grader("--runner=process", f"--health-port={port}", state)
    assert status == 2 and f"--health-port {port}" in said
