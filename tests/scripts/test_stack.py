"""scripts/stack: the commands on a stack that runs, with the real binaries."""

import os
import signal
import stat
import subprocess
import sys

import httpx
import pytest
from broadway_tools.stack import ports
from conftest import ROOT
from processes import is_running, running_with, wait_until
from stacks import Stack


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), f"{pid} is gone")


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Two replicas, two schedulers."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.succeed("up", "--replicas=2", "--schedulers=2")
        yield stack
    finally:
        stack.succeed("down")


def test_stack_json_describes_it(stack):
    described = stack.described
    assert set(described) == {
        "mongodb_uri",
        "database",
        "cluster_token",
        "internal_token",
        "database_pid",
        "api",
        "scheduler",
    }
    assert [set(replica) for replica in described["api"]] == [{"url", "internal_url", "pid"}] * 2
    assert [set(scheduler) for scheduler in described["scheduler"]] == [{"url", "pid"}] * 2
    assert all(is_running(pid) for pid in stack.pids().values()) and len(set(stack.pids().values())) == 5


def test_secrets_are_for_their_owner_only(stack):
    for path in (stack.directory / name for name in ("stack.json", "processes.json", "cluster-token")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    tokens = [stack.described[name] for name in ("cluster_token", "internal_token")]
    command_lines = "".join(running_with(str(stack.directory)))
    assert "broadway-api" in command_lines and "broadway-scheduler" in command_lines
    assert not [token for token in tokens if token in command_lines]


def test_it_is_ready_when_up_returns(stack):
    assert stack.is_in_contact(0) and stack.is_in_contact(1)
    answer = httpx.post(
        f"{stack.described['api'][1]['url']}/api/v1/grading_run",
        json={"student_pipeline": [{"image": "any"}], "students": [{}]},
        trust_env=False,
    )
    assert answer.status_code == 200 and len(answer.json()["id"]) == 24


def test_a_second_up_in_the_same_directory_is_refused(stack):
    before = stack.pids()
    done = stack("up")
    assert done.returncode == 1
    assert "runs in" in done.stderr and "Traceback" not in done.stderr
    assert stack.pids() == before and all(map(is_running, before.values()))


def test_status_lists_the_processes(stack):
    said = stack.succeed("status")
    for name, pid in stack.pids().items():
        assert f" {name} " in said and f" {pid} " in said
    assert "NO" not in said


def test_status_exits_1_while_a_process_is_down_until_restart(stack):
    before = stack.pids()
    kill(before["api-1"])
    done = stack("status")
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if "NO" in line] == [
        line for line in done.stdout.splitlines() if "api-1" in line
    ]
    stack.succeed("restart", "api-1")
    assert stack.is_in_contact(1)
    stack.succeed("status")


@pytest.mark.parametrize("name", ["api-1", "scheduler-1", "scheduler-0", "database"])
@pytest.mark.parametrize("is_killed", [False, True], ids=["running", "killed"])
def test_restart_replaces_one_process_and_returns_when_all_is_ready(stack, name, is_killed):
    before, described = stack.pids(), stack.described
    if is_killed:
        kill(before[name])
    stack.succeed("restart", name)
    after = stack.pids()
    assert [changed for changed in before if before[changed] != after[changed]] == [name]
    assert is_running(after[name]) and not is_running(before[name])
    assert [replica["url"] for replica in stack.described["api"]] == [replica["url"] for replica in described["api"]]
    assert stack.is_in_contact(0) and stack.is_in_contact(1)


@pytest.mark.parametrize("name", ["api-2", "scheduler-2", "api", "nonsense", "grader-0"])
def test_an_unknown_name_is_refused_with_the_known_ones(stack, name):
    before = stack.pids()
    done = stack("restart", name)
    assert done.returncode == 1
    assert repr(name) in done.stderr and all(known in done.stderr for known in before)
    assert stack.pids() == before and all(map(is_running, before.values()))


def test_ports_that_were_given_away_a_moment_ago_are_not_given_again(monkeypatch):
    monkeypatch.setattr(ports, "_candidates", lambda: range(11000, 11400))
    given = [ports.free_ports(7) for _ in range(20)]
    assert len({port for each in given for port in each}) == 140
    with pytest.raises(OSError, match="fewer than 300 ports"):
        ports.free_ports(300)
    monkeypatch.setattr(ports, "RESERVED_S", -1)
    assert len(ports.free_ports(300)) == 300  # that is long ago


def test_two_processes_that_choose_ports_at_the_same_time_get_different_ones():
    code = (
        "import sys; from broadway_tools.stack import ports; ports._candidates = lambda: range(11400, 11480);"
        "print(*ports.free_ports(20), flush=True); sys.stdin.read()"
    )
    looking = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": "scripts"},
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    given = [child.stdout.readline().split() for child in looking]
    for child in looking:
        child.communicate()
    assert len({port for each in given for port in each}) == 60
