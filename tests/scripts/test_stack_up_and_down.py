"""scripts/stack from its start to its end, with the real binaries, and starts that fail."""

import signal
import subprocess

import httpx
import pytest
from conftest import SCRIPTS
from processes import running_with, wait_until
from stacks import Stack


@pytest.fixture
def fresh(tmp_path):
    """A directory without a stack; a stack that the test starts there is stopped."""
    stack = Stack(tmp_path / "stack")
    yield stack
    stack.succeed("down")


def test_without_a_stack_every_command_says_so(fresh):
    assert "nothing to stop" in fresh.succeed("down")
    for command in (("status",), ("restart", "api-0")):
        done = fresh(*command)
        assert done.returncode == 1 and "there is no stack" in done.stderr


def test_down_ends_all_and_the_next_up_finds_data_and_tokens(fresh):
    fresh.succeed("up", "--graders=2")
    described, pids = fresh.described, fresh.pids()
    graded = subprocess.run(
        [SCRIPTS / "start_run", "--wait", SCRIPTS / "samples" / "minimal.json", "--url", described["api"][0]["url"]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert graded.returncode == 0, graded.stderr
    assert "grader-1" in fresh.succeed("status")
    fresh.succeed("restart", "grader-1")
    assert len(running_with(str(fresh.directory))) == len(pids) + 2
    fresh.succeed("down")
    assert running_with(str(fresh.directory)) == []
    assert not (fresh.directory / "stack.json").exists()
    assert (fresh.directory / "api-0.log").stat().st_size > 0
    fresh.succeed("up")
    assert fresh.described["cluster_token"] == described["cluster_token"]
    url = f"{fresh.described['api'][0]['url']}/api/v1/grading_run/{graded.stdout.strip()}"
    assert httpx.get(url, trust_env=False).json()["state"] == "finished"


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("internal-url=http://here", "internal-url"),
        ("mongodb-uri=mongodb://there", "--mongodb-uri"),
        ("port=many", "number"),
        ("Not a flag", "not a flag"),
    ],
)
def test_a_flag_that_cannot_be_passed_on_is_refused(fresh, flag, says):
    done = fresh("up", f"--api-flag={flag}")
    assert done.returncode == 1
    assert says in done.stderr and "Traceback" not in done.stderr
    assert running_with(str(fresh.directory)) == []


def test_a_failed_up_names_the_reason_and_leaves_nothing_running(fresh):
    done = fresh("up", "--api-flag=no-such-flag=1")
    assert done.returncode == 1
    assert "api-0 has exited" in done.stderr and "no-such-flag" in done.stderr
    assert running_with(str(fresh.directory)) == []
    assert not (fresh.directory / "stack.json").exists()


@pytest.mark.parametrize(
    ("name", "number"), [("database", signal.SIGINT), ("scheduler-0", signal.SIGHUP), ("api-0", signal.SIGTERM)]
)
def test_an_interrupted_up_leaves_nothing_running(fresh, name, number):
    argv = [SCRIPTS / "stack", "up", "--state", fresh.directory]
    up = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until((fresh.directory / f"{name}.log").exists, f"{name} is started")
    up.send_signal(number)
    assert up.wait(30) != 0
    assert running_with(str(fresh.directory)) == []
    assert not (fresh.directory / "stack.json").exists()
