"""The reference grader with a real stack and real containers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
# The helpers of the integration tests; of the tests of scripts those that have no namesake there.
sys.path[:0] = [str(TESTS / "integration")]
sys.path.append(str(TESTS / "scripts"))

from course import COURSES, Staff  # noqa: E402
from harness import SCRIPTS, clean_environment, run_stack  # noqa: E402
from podman import running_podman  # noqa: E402


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """Two replicas, with a heartbeat of one second and courses."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    api = (f"course-config={config}",)
    yield from run_stack(tmp_path_factory, "graders", replicas=2, both=("heartbeat-interval=1",), api=api)


@pytest.fixture
def course(stack):
    """Staff of a course."""
    staff = Staff(stack)
    yield staff.course()
    staff.close()


@pytest.fixture(scope="session")
def podman():
    """Real containers, whose API listens."""
    with running_podman() as podman:
        yield podman


@pytest.fixture
def start_grader(stack, tmp_path):
    """A function that starts a grader of the stack, as a process with a `log`; ended with the test."""
    started = []

    def start(*flags, env=None):
        urls = [f"--url={url}" for url in stack.urls]
        directories = [f"--work-dir={tmp_path / 'work'}", f"--state-dir={tmp_path / 'state'}"]
        log = tmp_path / f"grader-{len(started)}.log"
        environment = clean_environment(BROADWAY_CLUSTER_TOKEN=stack.cluster_token, **(env or {}))
        with open(log, "wb") as output:
            argv = [str(SCRIPTS / "grader"), *urls, *directories, *flags]
            grader = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        grader.log = log
        started.append(grader)
        return grader

    yield start
    for grader in started:
        if grader.poll() is None:
            grader.kill()
        grader.wait()
        print(grader.log.name, grader.log.read_text(encoding="utf-8")[-3000:], sep="\n")
