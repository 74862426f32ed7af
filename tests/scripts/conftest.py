"""Fixtures for the tests of scripts/: a fake API, and graders that are always stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
sys.path[:0] = [str(SCRIPTS), str(SCRIPTS / "cli"), str(Path(__file__).parent)]

from commands import Commands  # noqa: E402
from fake_api import FakeApi  # noqa: E402
from podman import running_podman  # noqa: E402

# A shell's background job ignores SIGINT, and nohup ignores SIGHUP; the tested processes must not inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def api():
    """A fake API with the cluster token "secret" and a heartbeat interval of 1 s."""
    with FakeApi() as fake:
        yield fake


class Grader:
    """A real scripts/grader, or another program for it. `stop` once: its exit code."""

    def __init__(self, *arguments, env=None, program=(SCRIPTS / "grader",)):
        self.process = subprocess.Popen(
            [*program, *map(str, arguments)],
            env={**os.environ, "BROADWAY_CLUSTER_TOKEN": "secret", **(env or {})},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stderr = ""

    def signal(self, number=signal.SIGTERM):
        """Sends a signal without waiting."""
        self.process.send_signal(number)

    def leave(self, seconds=10):
        """Waits until the grader exits by itself; returns the exit code."""
        _, self.stderr = self.process.communicate(timeout=seconds)
        return self.process.returncode

    def stop(self):
        """Sends SIGTERM; returns the exit code."""
        self.signal()
        return self.leave()


@pytest.fixture
def graders():
    """The graders that a test starts; they are stopped at its end."""
    graders = []
    yield graders
    for grader in graders:
        if grader.process.poll() is None:
            grader.process.kill()
            grader.process.communicate()


@pytest.fixture
def start_grader(api, graders, tmp_path):
    """A function that starts a grader with the process runner, for `api` unless other URLs are given."""

    def start(*arguments, urls=None, env=None):
        url_arguments = [word for url in urls or [api.url] for word in ("--url", url)]
        directories = f"--work-dir={tmp_path / 'work'}", f"--state-dir={tmp_path / 'state'}"
        graders.append(Grader(*url_arguments, "--runner=process", *directories, *arguments, env=env))
        return graders[-1]

    return start


@pytest.fixture(scope="session")
def podman():
    """Real containers: podman with an image, whose API listens at `podman.socket`."""
    with running_podman() as podman:
        yield podman


@pytest.fixture
def start_container_grader(api, graders, podman, tmp_path):
    """A function that starts a grader with real containers for `api`: by "api", podman's socket, or by "cli", the
    program `podman` on `path`."""

    def start(*arguments, by="api", path=None, env=None, **more):
        directories = f"--work-dir={tmp_path / 'work'}", f"--state-dir={tmp_path / 'state'}"
        # An argument of the operator, which any engine ignores, needs the command line.
        way = f"--engine-socket={podman.socket}" if by == "api" else "--engine-arg=--label=by=operator"
        env = {**podman.env, **({"PATH": path} if path else {}), **(env or {})}
        graders.append(Grader("--url", api.url, "--runner=podman", way, *directories, *arguments, env=env, **more))
        return graders[-1]

    return start


@pytest.fixture
def broadway(capfdbinary, monkeypatch, tmp_path):
    """The commands of `broadway`, in an empty directory."""
    return Commands(capfdbinary, monkeypatch, tmp_path)
