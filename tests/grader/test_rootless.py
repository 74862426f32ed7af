"""The reference grader as an ordinary user, with podman without root."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from fake_api import FakeApi
from harness import ROOT
from podman import IMAGE, write_settings

ROOTLESS = ["unshare", "--mount", "--pid", "--fork", "--kill-child", ROOT / "tests" / "grader" / "rootless"]
# Loads the image, starts podman's API, and then the command.
SESSION = """
set -e
podman load --quiet --input "$HOME/image.tar"
podman system service --time=0 "unix://$HOME/podman.sock" &
until test -S "$HOME/podman.sock"; do sleep 0.1; done
"$HOME/broadway/scripts/grader" --runner=podman --work-dir="$HOME/jobs" --state-dir="$HOME/state" "$@"
test -z "$(podman ps --all --quiet)"
"""


@pytest.fixture
def home(podman):
    """The home of a user, which has the image. Its parents may be entered by anybody."""
    home = Path(tempfile.mkdtemp(prefix="broadway-rootless-"))
    podman.run("save", "--output", str(home / "image.tar"), IMAGE)
    write_settings(home)
    yield home
    shutil.rmtree(home)


@pytest.mark.parametrize("by", ["api", "cli"])
def test_an_ordinary_user_grades_with_podman_without_root(home, by):
    way = f"--engine-socket={home / 'podman.sock'}" if by == "api" else "--engine-arg=--annotation=a=b"
    plain = {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", "id -u; echo own >file; cat file input/a"], "env": []}
    with FakeApi() as api:
        api.take_files()
        files = [{"path": "input/a", **api.keep(b"given\n")}]
        jobs = [api.put(plain, files=files), api.put({**plain, "entrypoint": ["/bin/sleep", "60"], "timeout": 1})]
        argv = [*ROOTLESS, home, "sh", "-c", SESSION, "sh", f"--url={api.url}", "--token=secret", "--max-jobs=2", way]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        bodies = [api.results.get(job) for job in jobs]
    assert done.returncode == 0, done.stdout + done.stderr
    assert bodies[0]["success"] is True and bodies[0]["logs"]["stdout"] == "0\nown\ngiven\n"
    [stage] = bodies[1]["result"]["stages"]
    assert stage["timed_out"] is True and stage["signal"] == 15
    is_old = not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    assert ("podman without root ignores the limits of stages" in done.stderr) is is_old
    assert "podman without root has one for all its containers" in done.stderr
    assert [*(home / "jobs").iterdir(), *(home / "state").glob("*.lock")] == []
