"""The reference grader with real containers of podman, by its API and by its command line."""

import os
import time

import pytest
from conftest import Grader
from fake_api import FakeApi
from podman import IMAGE
from processes import running_with

MIB = 1024 * 1024


def sh(script, **more):
    return {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", script], "env": [], **more}


@pytest.fixture(scope="module", params=["api", "cli"])
def grading(request, podman, tmp_path_factory):
    """A stand-in API with one grader, for all tests of this file: `grading(stage, ...)` is the body that it posts."""
    top = tmp_path_factory.mktemp("grading")
    way = f"--engine-socket={podman.socket}" if request.param == "api" else "--engine-arg=--label=by=operator"
    with FakeApi() as api:
        api.take_files()
        directories = [f"--work-dir={top / 'work'}", f"--state-dir={top / 'state'}"]
        flags = ["--concurrency=3", "--stop-grace=1", "--max-memory=300m", "--max-pids=1000", "--allow-privileged"]
        grader = Grader("--url", api.url, "--runner=podman", way, *directories, *flags, env=podman.env)

        def grade(*stages, seconds=60, **more):
            return api.result_of(api.put(*stages, **more), seconds)

        grade.api, grade.by, grade.work = api, request.param, top / "work"
        yield grade
        assert grader.stop() == 0
        assert list((top / "work").iterdir()) == []
    assert podman.containers() == [], "a container was left"


def only_stage(body):
    [stage] = body["result"]["stages"]
    return stage


def assert_figures(stage, seconds, most_memory):
    """Those of a busy stage."""
    least, most = seconds
    assert least < stage["seconds"] < most
    assert 0 < stage["cpu_seconds"] < most * os.cpu_count()
    assert 0 < stage["peak_memory"] <= most_memory


def test_stages_share_the_jobs_directory_and_leave_a_result(grading):
    first = sh('pwd; echo "$GREETING" >shared; echo two >&2; ls', env=["GREETING=a=b"])
    second = sh('printf \'{"said": "%s"}\' "$(cat shared)" >result.json; echo "$JOB_DIR"')
    body = grading(first, second, students=[{"NETID": "ada"}])
    assert body["success"] is True
    assert body["logs"] == {"stdout": "/job\nshared\nstudents.json\n/job\n", "stderr": "two\n"}
    assert body["result"]["output"] == {"said": "a=b"}


WRITABLE = [
    "/grade/results/r.json",
    "/job/sub/r.json",
    "/tmp/sub/r.json",
    "/root/x/y/r.json",
    "/etc/r.json",
    "/usr/r.json",
]
UNUSABLE = [
    "/bin/r.json",
    "/bin/sh/r.json",
    "/etc/passwd/r.json",
    "/tmp/r.json",
    "/run/r.json",
    "/proc/1/r.json",
    "/dev/r.json",
]


@pytest.mark.parametrize("path", WRITABLE)
def test_a_stage_writes_its_scores_where_it_says(grading, path):
    script = f"""mkdir -p $(dirname {path}); echo '{{"score": 1}}' >{path}"""
    body = grading(sh(script, results=path, user="1234" if "/job" not in path else None))
    assert (body["success"], body["result"].get("score")) == (True, 1), body


@pytest.mark.parametrize("path", UNUSABLE)
def test_where_nothing_can_be_written_the_stage_fails_and_the_machine_is_not_at_fault(grading, path):
    body = grading(sh(f"echo '{{}}' >{path}", results=path))
    assert body["success"] is False and only_stage(body)["error"], body
    assert grading.api.returned == []


def test_a_stage_reads_its_files_but_can_not_change_them(grading):
    api = grading.api
    files = [{"path": "input/tests/a", **api.keep(b"given\n")}]
    script = """cat input/tests/a; id -u
        for try in 'echo x >input/tests/a' 'rm input/tests/a' 'echo x >input/b' 'rm -r input' 'mv input other' \
            'mount -o remount,rw /job/input'; do sh -c "$try" 2>/dev/null && echo "done: $try"; done
        mkdir artifacts; cp input/tests/a artifacts/copy"""
    body = grading(sh(script), sh("cat input/tests/a", user="1234:1234"), files=files)
    assert body["logs"]["stdout"] == "given\n0\ngiven\n"
    assert [api.files[entry["digest"]] for entry in body["files"]] == [b"given\n"]


def test_a_directory_shared_can_be_used_by_any_user(grading):
    script = "mkdir -p shared/bin; echo 'echo built' >shared/bin/tool; chmod 700 shared/bin/tool"
    [entry] = grading(sh(script), students=[{"A": "1"}])["files"]
    files = [{**entry, "size": len(grading.api.files[entry["digest"]])}]
    body = grading(sh("shared/bin/tool; touch here", user="1234:1234"), files=files)
    assert (body["success"], body["logs"]["stdout"]) == (True, "built\n")


def test_a_stage_is_reported_with_its_figures(grading):
    stage = only_stage(grading(sh("head -c 30000000 /dev/zero | tail -c 30000000 | wc -c; sleep 0.7")))
    assert (stage["exit_code"], stage["killed"], stage["timed_out"], stage["oom_killed"]) == (0, False, False, False)
    assert 0.6 < stage["seconds"] < 5
    assert "signal" not in stage
    assert stage["image_digest"].startswith("sha256:") and len(stage["image_digest"]) == 71
    assert 25 * MIB < stage["peak_memory"] < 300 * MIB
    assert 0 < stage["cpu_seconds"] < 5


@pytest.mark.parametrize("code", [1, 125, 126, 127, 137, 255])
def test_the_exit_status_is_the_stages_own(grading, code):
    body = grading(sh(f"exit {code}"), sh("echo never"))
    assert body["success"] is False and "outcome" not in body
    assert only_stage(body)["exit_code"] == code


def test_an_exit_status_like_that_of_a_kill_has_its_whole_report(grading):
    stage = only_stage(grading(sh("echo out; echo err >&2; sleep 0.7; exit 137")))
    assert (stage["exit_code"], stage["signal"], stage["killed"]) == (137, 9, True), "as a stage that KILL ended"
    assert (stage["timed_out"], stage["oom_killed"]) == (False, False)
    assert (stage["stdout"], stage["stderr"], stage["error"]) == ("out\n", "err\n", "ended by signal 9")
    assert stage["image"] == IMAGE and stage["image_digest"].startswith("sha256:")
    assert_figures(stage, seconds=(0.6, 10), most_memory=100 * MIB)


@pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("TERM", 15), ("SEGV", 11)])
def test_a_stage_that_a_signal_ends_fails(grading, name, number):
    body = grading(sh(f"kill -{name} $$; echo survived"))
    stage = only_stage(body)
    assert body["success"] is False and body["logs"]["stdout"] == ""
    assert (stage["exit_code"], stage["signal"], stage["killed"]) == (128 + number, number, True)


def test_out_of_memory_differs_from_an_exit_status(grading):
    script = "sleep 0.5; head -c 200000000 /dev/zero | tail -c 200000000 | wc -c; sleep 1"  # time to read the counts
    body = grading(sh(script, memory="50m"))
    stage = only_stage(body)
    assert stage["oom_killed"] is True
    assert 40 * MIB < stage["peak_memory"] <= 50 * MIB
    assert stage["exit_code"] == 0  # that of the last command


def test_a_stage_of_which_a_part_is_out_of_memory_may_still_succeed(grading):
    stage = only_stage(grading(sh("sleep 0.5; head -c 200000000 /dev/zero | tail -c 200000000; sleep 1", memory="50m")))
    assert (stage["exit_code"], stage["oom_killed"], stage["killed"]) == (0, True, False)


def test_a_stage_that_ignores_term_is_killed_after_the_grace(grading):
    begun = time.monotonic()
    script = "trap '' TERM; echo begun; while :; do sleep 0.1; done"
    stage = only_stage(grading(sh(script, timeout=1.5)))
    assert (stage["timed_out"], stage["killed"], stage["signal"], stage["stdout"]) == (True, True, 9, "begun\n")
    assert "not done after 1.5 s" in stage["error"]
    assert 2.4 < stage["seconds"] < 4.5, "the time-out and the grace of 1 s"
    assert time.monotonic() - begun < 12


def test_a_stage_may_clean_up_after_term_and_has_failed_all_the_same(grading):
    body = grading(sh("trap 'echo cleaned; exit 0' TERM; while :; do sleep 0.1; done", timeout=1))
    stage = only_stage(body)
    assert body["success"] is False
    assert (stage["timed_out"], stage["exit_code"], stage["stdout"]) == (True, 0, "cleaned\n")
    assert 0.9 < stage["seconds"] < 2.5


def test_endless_output_is_cut_and_ends_at_the_timeout(grading):
    body = grading(sh("echo first; yes", timeout=1.5))
    log = body["logs"]["stdout"]
    assert only_stage(body)["timed_out"] is True
    assert log.startswith("first\ny\n") and log.endswith("y\n") and "bytes cut" in log
    assert 1_000_000 < len(log) <= 4 * MIB
    assert_figures(only_stage(body), seconds=(1.4, 6), most_memory=100 * MIB)


def test_a_daemon_that_holds_stdout_ends_with_its_stage(grading):
    body = grading(sh("(while :; do sleep 0.1; done) & echo done"))
    assert body["success"] is True and body["logs"]["stdout"] == "done\n"
    assert only_stage(body)["seconds"] < 5


def test_a_stage_that_closes_its_output_is_waited_for(grading):
    stage = only_stage(grading(sh("exec >&- 2>&-; sleep 1; exit 4")))
    assert stage["exit_code"] == 4 and stage["seconds"] > 0.9


def test_output_that_is_not_text_becomes_text(grading):
    body = grading(sh(r"printf 'a\000\377\303\274b'; printf '\200' >&2"))
    assert body["logs"] == {"stdout": "a\ufffd\ufffd\u00fcb", "stderr": "\ufffd"}


def test_no_output_of_a_stage_with_logs_false_is_reported(grading):
    body = grading(sh("echo secret; echo secret >&2", logs=False), sh("echo told"))
    assert body["logs"] == {"stdout": "told\n", "stderr": ""}
    assert "secret" not in str(body)


def test_a_fork_bomb_is_bounded(grading):
    # The shell begins both before: once the bomb has gone off it could not begin anything.
    bomb = "sleep 1.5 & slept=$!; f() { f | f & }; f & wait $slept; exit 0"
    body = grading(sh(bomb, pids=40), sh("echo next", pids=40))
    first, second = body["result"]["stages"]
    assert first["exit_code"] == second["exit_code"] == 0
    assert "can't fork" in first["stderr"] and second["stdout"] == "next\n"
    assert_figures(first, seconds=(1.4, 30), most_memory=300 * MIB)


def test_an_environment_reaches_the_stage_byte_for_byte(grading):
    """With newlines, quotes, the limit of Linux for one entry, and a name that occurs twice."""
    long = "x" * (131072 - len("LONG=") - 1)
    env = ["LINES=one\ntwo\n", "QUOTES='\"$(id)", "EMPTY=", "HASH=#no comment", f"LONG={long}", "TWICE=1", "TWICE=2=2"]
    script = 'printf "%s|" "$LINES" "$QUOTES" "$EMPTY" "$HASH" "${#LONG}" "$TWICE"'
    body = grading(sh(script, env=env))
    assert body["logs"]["stdout"] == f"one\ntwo\n|'\"$(id)||#no comment|{len(long)}|2=2|", body["logs"]["stderr"]


def test_no_value_of_an_environment_stands_in_a_command_line(grading):
    secret = f"secret-{os.getpid()}-{grading.by}"
    job = grading.api.put(sh("sleep 1.5", env=[f"TOKEN={secret}\nand more", f"OTHER={secret}"]))
    seen = set()
    while job not in grading.api.results:
        seen |= {line for line in running_with(secret) if secret in line}
        time.sleep(0.02)
    assert grading.api.results[job]["success"] is True
    assert seen == set()


def test_a_variable_of_the_clients_own_reaches_the_stage_and_not_the_client(grading):
    env = ["LD_PRELOAD=/job/evil.so", "CONTAINERS_CONF=/nowhere", "PATH=/bin:/odd", "HOME=/job"]
    body = grading(sh("unset LD_PRELOAD; echo $CONTAINERS_CONF $PATH $HOME", env=env))
    assert body["success"] is True and body["logs"]["stdout"] == "/nowhere /bin:/odd /job\n"


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"entrypoint": ["/no/such/program"]}, "No such file"),
        ({"entrypoint": ["/etc"]}, "ermission denied"),
        ({"user": "nobody-here"}, "nobody-here"),
        ({"user": "99999999999"}, "uids and gids"),
        ({"cpuset_cpus": "0-4000"}, "CPUs are not available"),
        ({"cpuset_cpus": "a-b"}, "cpuset_cpus"),
        ({"memory": "much"}, "memory"),
        ({"memory": "1k"}, "memory limit"),
        ({"pids": -1}, "pids"),
        ({"cpus": "many"}, "cpus"),
        ({"image": "--privileged"}, "option"),
        ({"image": "a/../../containers/json?all=1"}, "not the name of an image"),
    ],
)
def test_a_stage_that_cannot_start_fails_and_says_why(grading, stage, words):
    body = grading({**sh("true"), **stage}, sh("true"))
    report = only_stage(body)
    assert body["success"] is False and "outcome" not in body
    assert report["exit_code"] is None and words in report["error"]


def test_an_image_without_an_entrypoint_in_the_stage_runs_its_own(grading):
    body = grading({"image": IMAGE, "env": []})
    assert body["logs"]["stdout"] == "own\n"


def test_an_image_may_be_named_by_its_digest(grading):
    digest = only_stage(grading(sh("true")))["image_digest"]
    pinned = only_stage(grading({**sh("echo pinned"), "image": f"{IMAGE.rpartition(':')[0]}@{digest}"}))
    assert (pinned["stdout"], pinned["image_digest"]) == ("pinned\n", digest)


def test_a_stage_is_confined(grading):
    script = """grep -E 'Cap(Eff|Bnd)|NoNewPrivs' /proc/self/status; ip -o link | wc -l
        touch /forbidden; echo written >/tmp/file && cat /tmp/file; cat /sys/fs/cgroup/pids/pids.max
        cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes 2>/dev/null"""
    body = grading(sh(script))
    lines = body["logs"]["stdout"].replace("\t", " ").splitlines()
    assert lines[:3] == ["CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1"]
    assert lines[3:5] == ["1", "written"], "the loopback interface alone; /tmp can be written"
    assert "Read-only file system" in body["logs"]["stderr"]


def test_what_a_stage_asks_for_is_granted_within_the_ceiling(grading):
    """The grader has --max-memory 300m and --max-pids 1000: limits are those of the control group."""
    script = "cd /sys/fs/cgroup; cat pids/pids.max memory/memory.limit_in_bytes pids.max memory.max 2>/dev/null; true"
    asked = grading(sh(script, memory="100m", pids=77, read_only=False, hostname="grading-host"))
    excessive = grading(sh(script, memory="100g", pids=7777))
    limits = [set(body["logs"]["stdout"].split()) for body in (asked, excessive)]
    assert [{"77", str(100 * MIB)} <= limits[0], {"1000", str(300 * MIB)} <= limits[1]] == [True, True], limits


def test_the_keys_of_a_stage_reach_the_container(grading):
    stage = sh("hostname; id -u; touch /allowed; taskset -p $$", hostname="grading-host", cpuset_cpus="0")
    body = grading({**stage, "read_only": False, "user": "1234", "cpus": 0.5})
    assert body["logs"]["stdout"].startswith("grading-host\n1234\n") and "mask: 1\n" in body["logs"]["stdout"]
    assert "Read-only" not in body["logs"]["stderr"]  # a refusal by permission is another thing


def test_a_privileged_stage_has_capabilities(grading):
    body = grading(sh("grep CapEff /proc/self/status; touch /allowed", privileged=True))
    assert body["success"] is True and "0000000000000000" not in body["logs"]["stdout"]


def test_networking_is_there_for_a_stage_that_asks(grading):
    body = grading(sh("ip -o link | wc -l", networking=True))
    assert int(body["logs"]["stdout"]) > 1, body


def test_a_directory_over_its_limit_ends_the_stage(grading):
    stage = only_stage(grading(sh("dd if=/dev/zero of=big bs=1M count=60 2>/dev/null; sleep 30", disk="20m")))
    assert stage["killed"] is True and str(20 * MIB) in stage["error"] and stage["timed_out"] is False
    assert stage["seconds"] < 15


def test_a_file_of_10_gb_ends_at_the_limit(grading):
    stage = only_stage(
        grading(sh("dd if=/dev/zero of=big bs=1M count=10240 2>/dev/null; sleep 60", disk="1g"), seconds=90)
    )
    assert (stage["killed"], stage["timed_out"], stage["oom_killed"]) == (True, False, False)
    assert stage["error"] == f"killed: its disk holds more than {1024 * MIB} bytes"
    assert_figures(stage, seconds=(0.1, 60), most_memory=300 * MIB)
    assert [list(path.iterdir()) for path in grading.work.glob("*/job-*")] == []


def test_a_farm_of_links_to_the_host_is_not_followed(grading):
    """3,000 links to files and directories of the host, also where files of the job are read and sent."""
    script = """mkdir artifacts farm
        i=0; while [ $i -lt 1000 ]; do
            ln -s /etc/hostname artifacts/$i; ln -s / farm/d$i; ln -s ../../../../etc/passwd farm/f$i; i=$((i + 1))
        done
        ln -s /etc shared; echo mine >artifacts/mine; find farm artifacts -type l | wc -l"""
    body = grading(sh(script))
    assert body["success"] is True and body["logs"]["stdout"] == "3000\n"
    assert [entry["path"] for entry in body["files"]] == ["artifacts/mine"]
    assert [list(path.iterdir()) for path in grading.work.glob("*/job-*")] == []


def test_deep_directories_and_links_out_are_removed_with_the_job(grading):
    script = """i=0; while [ $i -lt 400 ]; do mkdir d && cd d; i=$((i + 1)); done
        ln -s / /job/root; ln -s /etc/hostname /job/result.json; ln -s /job/root /job/farm"""
    body = grading(sh(script))
    assert body["success"] is True and "output" not in body["result"]
    assert [list(path.iterdir()) for path in grading.work.glob("*/job-*")] == []


def test_zombies_are_reaped(grading):
    script = "for i in $(seq 50); do (sh -c 'true &' &) ; done; sleep 0.5; ps -o stat | grep -c Z"
    body = grading(sh(script, pids=120))
    assert body["logs"]["stdout"] == "0\n"


def test_a_stage_sees_neither_the_graders_environment_nor_other_jobs_nor_the_engine(grading):
    other = grading.api.put(sh("echo other >/job/other; sleep 2"))
    script = """env; ls -A / /job /run /tmp; cat /proc/1/environ; find / -name '*.sock' -not -path '/proc/*' 2>/dev/null
        ls /job/.. | head -50; echo end"""
    body = grading(sh(script, env=["MINE=1"]))
    text = body["logs"]["stdout"]
    assert "MINE=1" in text and text.endswith("end\n")
    for forbidden in ("BROADWAY_CLUSTER_TOKEN", "secret", "other", ".sock", "CONTAINERS_CONF"):
        assert forbidden not in text, forbidden
    grading.api.result_of(other, 30)
