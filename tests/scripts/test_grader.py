"""The reference grader, as a process, with a fake API."""

import os
import signal
import time

import pytest
from broadway_tools.grader.registration import known
from fake_api import FakeApi
from processes import is_running, pids_in, wait_until


def wait_gone(pids):
    wait_until(lambda: not any(map(is_running, pids)), "the job's processes have ended")


def sh(script, **more):
    return {"image": "any", "entrypoint": ["/bin/sh", "-c", script], "env": [], **more}


def test_reports_each_stage_and_result_json(api, start_grader):
    start_grader("--hostname=bench-7", "--concurrency=3")
    job = api.put(
        sh('echo "$GREETING" >shared; echo one; echo two >&2', env=["GREETING=a=b\nc"]),
        sh('printf \'{"score": 7, "said": "%s"}\' "$(head -n1 shared)" >result.json'),
    )
    body = api.result_of(job)
    assert body["success"] is True
    assert body["result"]["output"] == {"score": 7, "said": "a=b"}
    first = body["result"]["stages"][0]
    seconds = first.pop("seconds")
    assert isinstance(seconds, float) and 0 < seconds < 10
    assert first == {"image": "any", "exit_code": 0, "killed": False, "stdout": "one\n", "stderr": "two\n"}
    assert body["logs"] == {"stdout": "one\n", "stderr": "two\n"}
    assert api.registrations == [{"token": "secret", "hostname": "bench-7", "concurrency": "3", "cancel": "true"}]


def test_leaves_the_output_of_a_stage_with_logs_false_out_of_the_logs(api, start_grader):
    start_grader()
    job = api.put(sh("echo kept"), sh("echo secret; echo more >&2", logs=False), sh("echo too", logs=True))
    body = api.result_of(job)
    assert body["success"] is True
    assert body["logs"] == {"stdout": "kept\ntoo\n", "stderr": ""}


def test_the_old_name_of_the_classic_protocol_is_accepted_with_a_warning(api, start_grader):
    grader = start_grader("--protocol=seed", "--once")
    assert api.result_of(api.put(sh("true")))["success"] is True
    assert grader.leave() == 0
    assert "--protocol seed is deprecated: use --protocol classic" in grader.stderr


def test_stops_at_the_first_failing_stage(api, start_grader):
    start_grader()
    job = api.put(sh("exit 3"), sh("echo never"))
    body = api.result_of(job)
    assert body["success"] is False
    assert [stage["exit_code"] for stage in body["result"]["stages"]] == [3]


def test_a_stage_over_its_timeout_is_killed_with_all_it_started(api, start_grader, tmp_path):
    start_grader()
    pids = tmp_path / "pids"
    job = api.put(sh(f"echo before; sleep 600 & echo $! >>{pids}; echo $$ >>{pids}; sleep 600", timeout=1.5))
    stage = api.result_of(job)["result"]["stages"][0]
    assert stage["killed"] is True
    assert 1.5 <= stage["seconds"] < 6
    assert stage["stdout"] == "before\n"
    assert "1.5 s" in stage["error"]
    wait_gone(pids_in(pids, 2))


def test_the_signal_that_ends_a_stage_is_named(api, start_grader):
    start_grader()
    body = api.result_of(api.put(sh("kill -KILL $$"), sh("echo never")))
    assert body["success"] is False
    [stage] = body["result"]["stages"]
    assert (stage["exit_code"], stage["killed"]) == (128 + signal.SIGKILL, True)
    assert "signal 9" in stage["error"]


def test_background_processes_end_with_their_stage(api, start_grader, tmp_path):
    start_grader()
    pids = tmp_path / "pids"
    job = api.put(sh(f"sleep 600 & echo $! >>{pids}"))
    assert api.result_of(job)["success"] is True
    wait_gone(pids_in(pids, 1))


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"image": "any", "entrypoint": ["/no/such/program"]}, "No such file"),
        ({"image": "any"}, "no entrypoint"),
        (sh("true", memory="much"), "memory"),
        (sh("true", cpuset_cpus="a-b"), "cpuset_cpus"),
    ],
)
def test_the_reason_is_named_if_a_stage_can_not_start(api, start_grader, stage, words):
    start_grader()
    body = api.result_of(api.put(stage))
    assert body["success"] is False
    report = body["result"]["stages"][0]
    assert report["exit_code"] is None
    assert words in report["error"]


def test_memory_and_processors_are_limited(api, start_grader):
    start_grader()
    job = api.put(
        sh("grep -E 'Max address space|Limit' /proc/self/limits; taskset -p $$", memory="300m", cpuset_cpus="0")
    )
    text = api.result_of(job)["logs"]["stdout"]
    assert str(300 * 1024 * 1024) in text
    assert "mask: 1" in text


def test_jobs_see_nothing_of_the_graders_environment(api, start_grader):
    start_grader(env={"CANARY": "canary-in-env", "BROADWAY_CLUSTER_TOKEN": "secret"})
    job = api.put(sh("env; pwd", env=["MINE=1"]))
    text = api.result_of(job)["logs"]["stdout"]
    names = {line.partition("=")[0] for line in text.splitlines()[:-1]}
    assert {"PATH", "HOME", "JOB_DIR", "MINE"} <= names <= {"PATH", "HOME", "JOB_DIR", "MINE", "PWD", "SHLVL", "_"}


def test_directories_are_fresh_and_wiped_and_links_are_not_followed(api, start_grader, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("kept")
    start_grader()
    script = f"""ls -A; ln -s {outside} link; ln -s {outside}/keep result.json
        mkdir -p locked/in; touch locked/in/file; chmod 000 locked/in locked; touch junk"""
    first = api.result_of(api.put(sh(script)))
    second = api.result_of(api.put(sh("ls -A")))
    assert first["logs"]["stdout"] == second["logs"]["stdout"] == ""
    assert "output" not in first["result"]
    assert (outside / "keep").read_text() == "kept"
    [own] = (tmp_path / "work").iterdir()
    assert list(own.iterdir()) == []


def test_pre_and_post_processing_jobs_find_the_students(api, start_grader):
    start_grader()
    job = api.put(sh("cat students.json"), students=[{"NETID": "a"}, {"NETID": "b"}])
    assert api.result_of(job)["logs"]["stdout"] == '[{"NETID": "a"}, {"NETID": "b"}]'


def test_long_output_is_cut_in_the_middle_and_made_valid_json(api, start_grader):
    start_grader("--max-log-bytes=100000")
    job = api.put(sh(r"echo first; printf '\000\377'; head -c 30000000 /dev/zero | tr '\0' x; echo; echo last"))
    body = api.result_of(job)
    log = body["logs"]["stdout"]
    assert log.startswith("first\n\ufffd\ufffdxxx") and log.endswith("xxx\nlast\n")
    assert "bytes cut" in log and len(log.encode()) <= 100_000
    excerpt = body["result"]["stages"][0]["stdout"]
    assert excerpt.startswith("first\n") and excerpt.endswith("xxx\nlast\n") and len(excerpt.encode()) <= 8192


def test_logs_and_result_stay_within_the_limits_of_the_api(api, start_grader):
    """The API's limits are below the grader's own: the first and the last line are kept, and no character is cut."""
    api.limits = {"Broadway-Max-Log-Bytes": "1000", "Broadway-Max-Result-Bytes": "2000"}
    start_grader()
    many = "".join("\\342\\202\\254" for _ in range(50))  # the euro sign, three bytes
    script = f"echo first; for n in $(seq 200); do printf 'x{many}'; done; echo; echo 'score 97'"
    body = api.result_of(api.put(sh(script)))
    log = body["logs"]["stdout"]
    assert log.startswith("first\n") and log.endswith("\nscore 97\n")
    assert "bytes cut" in log and "\ufffd" not in log and len(log.encode()) <= 1000
    assert body["result"]["shortened"] is True and body["success"] is True


def test_a_log_that_json_makes_six_times_as_long_fits_the_body(api, start_grader):
    api.limits = {"Broadway-Max-Log-Bytes": "1000000", "Broadway-Max-Body-Bytes": "1000000"}
    start_grader()
    job = api.put(sh("echo first; head -c 900000 /dev/zero | tr '\\0' '\\033'; echo; echo 'score 97'"))
    log = api.result_of(job)["logs"]["stdout"]
    assert log.startswith("first\n") and log.endswith("\nscore 97\n") and len(log) > 50_000
    assert max(api.body_sizes) <= 1_000_000


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "result.json"), ("NaN", "NaN"), ("[" * 50 + "]" * 50, "deeper"), ("1" + "0" * 30, "64 bits")],
)
def test_an_invalid_result_file_does_not_spoil_the_result(api, start_grader, content, words):
    start_grader()
    body = api.result_of(api.put(sh('printf %s "$CONTENT" >result.json', env=[f"CONTENT={content}"])))
    assert body["success"] is True
    assert words in body["result"]["output_error"]


def test_concurrency_runs_jobs_side_by_side_under_one_id(api, start_grader, tmp_path):
    start_grader("--concurrency=3")
    # Each job waits for the other two.
    meet = f'mktemp {tmp_path}/job.XXXXXX; until [ "$(ls {tmp_path} | grep -c "^job")" = 3 ]; do sleep 0.05; done'
    bodies = [api.result_of(job) for job in [api.put(sh(meet, timeout=20)) for _ in range(3)]]
    assert [body["success"] for body in bodies] == [True] * 3
    assert len({body["worker_id"] for body in bodies}) == 1


def test_sends_a_heartbeat_when_it_takes_a_job_and_while_it_works(api, start_grader):
    start_grader()
    api.wait_for(lambda: api.heartbeats)
    before = len(api.heartbeats)
    taken = time.monotonic()
    api.result_of(api.put(sh("sleep 2.5")))
    beats = [when - taken for when, _ in api.heartbeats[before:]]
    assert beats[0] < 0.9
    assert len(beats) >= 3


def test_a_job_handed_out_twice_runs_once(api, start_grader, tmp_path):
    start_grader("--concurrency=2")
    stage = sh(f"echo ran >>{tmp_path}/count; sleep 0.5")
    job = api.put(stage)
    api.wait_for(lambda: job in api.handed_out)
    api.put(stage, job_id=job)
    api.result_of(job)
    assert api.handed_out == [job, job]
    assert (tmp_path / "count").read_text() == "ran\n"
    assert api.requests.count(f"POST /api/v1/grading_job/{job}") == 1


def test_a_result_is_posted_until_it_is_taken(api, start_grader):
    start_grader()
    path = "/api/v1/grading_job/"
    api.refusals += [("POST", path, 503), ("POST", path, None), ("POST", path, 503)]
    job = api.put(sh("true"))
    api.result_of(job)
    assert api.requests.count(f"POST {path}{job}") == 4


def test_a_refused_result_is_dropped_and_the_next_job_taken(api, start_grader):
    start_grader()
    api.refusals.append(("POST", "/api/v1/grading_job/", 400))
    refused, served = api.put(sh("true")), api.put(sh("true"))
    api.result_of(served)
    assert refused not in api.results


def test_a_result_that_is_too_large_is_sent_without_output(api, start_grader):
    start_grader()
    api.refusals.append(("POST", "/api/v1/grading_job/", 413))
    body = api.result_of(api.put(sh("echo much")))
    assert body["success"] is True
    assert body["result"]["shortened"] is True
    assert body["result"]["stages"][0]["exit_code"] == 0


def test_an_unknown_worker_registers_anew(api, start_grader):
    start_grader("--wait=1")
    api.wait_for(lambda: api.registrations)
    api.workers.clear()
    api.result_of(api.put(sh("true")))
    assert len(api.registrations) == 2


def test_tags_are_stated_once_each(api, start_grader):
    start_grader("--tag=gpu", "--tag=lab-2.example", "--tag=gpu")
    api.result_of(api.put(sh("true")))
    assert [registration["tags"] for registration in api.registrations] == ["gpu,lab-2.example"]


def test_an_api_that_does_not_know_tags_gets_none(api, start_grader):
    api.known.remove("tags")
    grader = start_grader("--tag=gpu")
    api.result_of(api.put(sh("true")))
    assert grader.stop() == 0
    assert "the API does not know tags: registering without (unknown argument 'tags')" in grader.stderr
    assert [registration.get("tags") for registration in api.registrations] == [None]


@pytest.mark.parametrize("tags", [["a b"], [""], ["a,b"], ["x" * 65], [f"tag-{n}" for n in range(33)]], ids=str)
def test_tags_of_another_form_are_refused_at_startup(start_grader, tags):
    grader = start_grader(*(f"--tag={tag}" for tag in tags))
    assert grader.leave() == 2
    assert "--tag" in grader.stderr


def test_a_socket_states_only_what_the_handshake_names():
    tags = {"tags": "gpu"}
    assert known(tags, {"Broadway-Registration": "other, tags"}) == tags
    assert known(tags, {"Broadway-Registration": "other"}) == known(tags, {}) == {}


def test_continues_with_another_replica(api, start_grader):
    with FakeApi() as gone:
        dead_url = gone.url
    start_grader(urls=[dead_url, api.url])
    api.result_of(api.put(sh("true")))


def test_a_wrong_token_ends_it_with_the_servers_sentence(api, start_grader):
    grader = start_grader("--token=wrong")
    assert grader.leave() == 1
    assert "wrong cluster token" in grader.stderr


def test_sigterm_ends_a_waiting_poll_at_once(api, start_grader):
    grader = start_grader()
    api.wait_for(lambda: api.open_polls == 1)
    began = time.monotonic()
    assert grader.stop() == 0
    assert time.monotonic() - began < 5  # the poll would last for 30


def test_sigterm_finishes_the_job_and_keeps_the_heartbeat(api, start_grader, tmp_path):
    grader = start_grader("--concurrency=2")
    job = api.put(sh(f"until test -e {tmp_path}/go; do sleep 0.05; done; echo finished"))
    api.wait_for(lambda: api.handed_out and api.heartbeats and api.open_polls == 1)
    grader.signal(signal.SIGTERM)
    api.wait_for(lambda: api.open_polls == 0)
    beats, late = len(api.heartbeats), api.put(sh("true"))
    api.wait_for(lambda: len(api.heartbeats) > beats)
    (tmp_path / "go").touch()
    assert grader.leave() == 0
    assert api.results[job]["logs"]["stdout"] == "finished\n"
    assert late not in api.handed_out


def test_a_second_signal_kills_the_jobs_and_exits(api, start_grader, tmp_path):
    grader = start_grader("--concurrency=2")
    job = api.put(sh(f"echo $$ >{tmp_path}/pids; exec sleep 600"))
    pids = pids_in(tmp_path / "pids", 1)
    api.wait_for(lambda: api.open_polls == 1)
    grader.signal(signal.SIGINT)
    api.wait_for(lambda: api.open_polls == 0)
    grader.signal(signal.SIGINT)
    assert grader.leave() == 1
    assert job not in api.results
    wait_gone(pids)
    assert list((tmp_path / "work").iterdir()) == []


def test_jobs_die_with_a_killed_grader(api, start_grader, tmp_path):
    grader = start_grader()
    api.put(sh(f"echo $$ >{tmp_path}/pids; exec sleep 600"))
    pids = pids_in(tmp_path / "pids", 1)
    os.kill(grader.process.pid, signal.SIGKILL)
    grader.leave()
    wait_gone(pids)


def test_exits_after_the_given_number_of_jobs(api, start_grader):
    grader = start_grader("--max-jobs=2", "--concurrency=2", "--wait=1")
    api.wait_for(lambda: api.requests.count("GET /api/v1/grading_job") >= 4)
    jobs = [api.put(sh("true")) for _ in range(3)]
    assert grader.leave() == 0
    assert set(api.results) == set(jobs[:2])


def test_the_process_runner_says_that_nothing_is_isolated(api, start_grader):
    grader = start_grader()
    api.wait_for(lambda: api.open_polls == 1)
    grader.stop()
    assert "isolates NOTHING" in grader.stderr
    assert "secret" not in grader.stderr
