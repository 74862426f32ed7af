"""Stages in a user namespace: their root is nobody of this machine."""

import re
import signal
import subprocess
import time

import pytest
from fake_api import FakeApi
from harness import SCRIPTS, clean_environment
from podman import IMAGE

RANGE = "containers:700000:131072\n"
# In a mount namespace of its own, the engine's user has a range of ids.
WITH_RANGE = 'mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"'


def sh(script, **more):
    return {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", script], "env": [], **more}


@pytest.fixture
def grade(podman, tmp_path, request):
    """A function that runs a job by a grader, with a range for podman or without, by podman's command line or its API:
    the body of its result."""
    by, ids = request.param
    (tmp_path / "ranges").write_text(ids)
    prefix = ["unshare", "--mount", "sh", "-c", WITH_RANGE, str(tmp_path / "ranges")]
    environment = clean_environment(BROADWAY_CLUSTER_TOKEN="secret", **podman.env)
    way, service = ["--engine-arg=--label=by=operator"], None
    if by == "api":
        socket = tmp_path / "podman.sock"
        way = [f"--engine-socket={socket}"]
        service = subprocess.Popen(
            [*prefix, "podman", "system", "service", "--time=0", f"unix://{socket}"], env=environment
        )
        deadline = time.monotonic() + 20
        while not socket.exists():
            assert time.monotonic() < deadline, "podman's API does not listen"
            time.sleep(0.02)
    with FakeApi() as api, open(tmp_path / "grader.log", "w+") as log:
        api.take_files()
        api.limits["Broadway-Outcomes"] = "infrastructure"
        flags = [f"--url={api.url}", "--runner=podman", f"--work-dir={tmp_path / 'work'}", "--concurrency=2"]
        argv = [*prefix, str(SCRIPTS / "grader"), *flags, f"--state-dir={tmp_path / 'state'}", *way]
        grader = subprocess.Popen(argv, env=environment, stderr=log)

        def run(*stages, **more):
            return api.result_of(api.put(*stages, **more), 60)

        run.api, run.log = api, (tmp_path / "grader.log").read_text
        yield run
        grader.send_signal(signal.SIGTERM)
        assert grader.wait(30) == 0
        assert list((tmp_path / "work").iterdir()) == [] and podman.containers() == []
    if service is not None:
        service.kill()
        service.wait()


ENGINES = pytest.mark.parametrize("grade", [("cli", RANGE), ("api", RANGE)], indirect=True, ids=["cli", "api"])


@ENGINES
def test_root_of_a_stage_is_an_unprivileged_user_of_the_machine(grade):
    api = grade.api
    files = [{"path": "input/a", **api.keep(b"given\n")}]
    first = sh(
        "cat /proc/self/uid_map /proc/self/gid_map; cat input/a; echo one >file; mkdir artifacts; echo >artifacts/x"
    )
    second = sh("id -u; echo two >>file; cat file; ip -o link | wc -l", networking=True)
    body = grade(first, second, sh("cat file", user="1234:1234"), files=files)
    assert body["success"] is True, body
    words = body["logs"]["stdout"].split()
    assert words == [*("0", "700000", "131072") * 2, "given", "0", "one", "two", "2", "one", "two"]
    assert "stages run in a user namespace: auto:size=131072" in grade.log()
    assert len(body["files"]) == 1


@ENGINES
def test_limits_hold_in_a_user_namespace(grade):
    body = grade(sh("sleep 0.5; head -c 200000000 /dev/zero | tail -c 200000000 | wc -c; sleep 1", memory="50m"))
    assert body["result"]["stages"][0]["oom_killed"] is True
    body = grade(sh("sleep 60", timeout=1))
    assert body["result"]["stages"][0]["timed_out"] is True
    body = grade(sh("touch /x || mknod /tmp/y c 1 3 || chown 1 /tmp || echo confined"))
    assert body["logs"]["stdout"] == "confined\n"


@pytest.mark.parametrize("grade", [("cli", "other:700000:65536\n"), ("cli", "containers:700000:1000\n")], indirect=True)
def test_without_a_range_for_podman_there_is_none_and_the_log_says_why(grade):
    body = grade(sh("cat /proc/self/uid_map"))
    assert body["logs"]["stdout"].split() == ["0", "0", "4294967295"]
    assert "no user namespace of their own: /etc/subuid and /etc/subgid have no range of 65536 ids" in grade.log()


@pytest.mark.parametrize("grade", [("cli", f"containers:{2**32 - 2}:65536\n")], indirect=True)
def test_a_range_that_can_not_be_used_leaves_the_stages_without(grade):
    body = grade(sh("cat /proc/self/uid_map"))
    assert body["logs"]["stdout"].split() == ["0", "0", "4294967295"]
    assert re.search(r"WARNING stages have no user namespace of their own: ", grade.log())
