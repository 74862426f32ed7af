"""Fixtures for the tests of scripts/: a stand-in API, and graders that are stopped whatever happens."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
sys.path[:0] = [str(SCRIPTS), str(Path(__file__).parent)]

from fake_api import FakeApi  # noqa: E402

# A suite that was started in the background ignores SIGINT, and so would what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def api():
    """A stand-in API with the cluster token "secret" and a heartbeat interval of 1 s."""
    with FakeApi() as fake:
        yield fake


class Grader:
    """A real scripts/grader. `stop` once: its exit code."""

    def __init__(self, *arguments, env=None):
        self.process = subprocess.Popen(
            [SCRIPTS / "grader", *map(str, arguments)],
            env={**os.environ, "BROADWAY_CLUSTER_TOKEN": "secret", **(env or {})},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stderr = ""

    def signal(self, number=signal.SIGTERM):
        """Sends a signal, and doesn't wait."""
        self.process.send_signal(number)

    def leave(self, seconds=10):
        """Waits for it to leave by itself: the exit code."""
        _, self.stderr = self.process.communicate(timeout=seconds)
        return self.process.returncode

    def stop(self):
        """SIGTERM, then the exit code."""
        self.signal()
        return self.leave()


@pytest.fixture
def graders():
    """Those that a test starts: none outlives it."""
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
        work_dir = tmp_path / "work"
        graders.append(Grader(*url_arguments, "--runner=process", f"--work-dir={work_dir}", *arguments, env=env))
        return graders[-1]

    return start


@pytest.fixture
def start_container_grader(api, graders, tmp_path):
    """A function that starts a grader for `api` which looks for its engine on `path`."""

    def start(*arguments, path):
        graders.append(Grader("--url", api.url, f"--work-dir={tmp_path / 'work'}", *arguments, env={"PATH": path}))
        return graders[-1]

    return start
