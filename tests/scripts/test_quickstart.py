"""scripts/quickstart as a newcomer runs it."""

import os
import re
import signal
import subprocess
import uuid

import httpx
import pytest
from conftest import ROOT, SCRIPTS
from processes import running_with


class Quickstart:
    """scripts/quickstart with its own temporary directory, and a mark in the environment of all processes that it
    starts."""

    def __init__(self, tmp_path):
        self.temporary = tmp_path / "tmp"
        self.temporary.mkdir()
        self.mark = f"QUICKSTART_MARK={uuid.uuid4()}"
        self.child = None

    def start(self, *arguments):
        """Starts it; its output can be read from child.stdout."""
        name, _, value = self.mark.partition("=")
        self.child = subprocess.Popen(
            [SCRIPTS / "quickstart", *arguments],
            env={**os.environ, name: value, "TMPDIR": str(self.temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self

    def finish(self):
        """(exit code, the rest of its output)"""
        output, _ = self.child.communicate(timeout=100)
        return self.child.returncode, output

    def read_until(self, pattern):
        """Reads lines until one matches."""
        for line in self.child.stdout:
            match = re.search(pattern, line)
            if match:
                return match
        raise AssertionError(f"it ended without saying {pattern!r}")

    def assert_nothing_is_left(self):
        assert running_with(self.mark) == []
        assert list(self.temporary.iterdir()) == []


@pytest.fixture
def quickstart(tmp_path):
    quickstart = Quickstart(tmp_path)
    yield quickstart
    if quickstart.child is not None and quickstart.child.poll() is None:
        quickstart.child.terminate()
        quickstart.child.communicate(timeout=60)


def test_it_grades_the_sample_and_leaves_nothing_behind(quickstart):
    code, output = quickstart.start().finish()
    assert code == 0, output
    assert "finished" in output and "README.md" in output
    assert re.search(r"succeeded +│ 202 ", output)
    assert len(re.findall(r"student00[123] +│ succeeded +│ 1 +│ \{.*\"score\": \d+", output)) == 3
    assert output.count("==> ") == output.count("    done in ") == 5
    quickstart.assert_nothing_is_left()


@pytest.mark.parametrize(("moment", "number"), [("==> Starting", signal.SIGINT), ("students: ", signal.SIGTERM)])
def test_interrupted_it_leaves_nothing_behind(quickstart, moment, number):
    quickstart.start().read_until(moment)
    quickstart.child.send_signal(number)
    code, output = quickstart.finish()
    assert code == 130 and output.endswith("quickstart: interrupted\n"), output
    quickstart.assert_nothing_is_left()


def test_a_dead_process_is_named_and_nothing_is_left_behind(quickstart):
    pid = int(quickstart.start().read_until(r"grader-1 +pid (\d+)")[1])
    quickstart.read_until("students: ")
    os.kill(pid, signal.SIGKILL)
    code, output = quickstart.finish()
    assert code == 1 and output.endswith("quickstart: grader-1 has exited during the run\n"), output
    quickstart.assert_nothing_is_left()


def test_with_keep_it_answers_until_it_is_stopped_as_printed(quickstart, tmp_path):
    state = tmp_path / "kept"
    code, output = quickstart.start("--keep", "--state", state).finish()
    assert code == 0, output
    stop = re.search(r"scripts/stack down --state .*", output)[0]
    try:
        url = re.search(r'curl "(\S+)\?students=false"', output)[1]
        assert httpx.get(url, trust_env=False).json()["state"] == "finished"
        code, refusal = quickstart.start("--keep", "--state", state).finish()
        assert code == 1 and "runs already" in refusal and stop in refusal
        assert len(running_with(quickstart.mark)) == 5
    finally:
        subprocess.run(stop, shell=True, cwd=ROOT, check=True, capture_output=True)
    quickstart.assert_nothing_is_left()


def test_a_directory_with_other_content_is_not_used(quickstart, tmp_path):
    (tmp_path / "thesis").write_text("mine")
    code, output = quickstart.start("--keep", "--state", tmp_path).finish()
    assert code == 1 and "is not the directory of a stack" in output
    assert (tmp_path / "thesis").read_text() == "mine"


@pytest.mark.parametrize("argument", ["--kepe", "now"])
def test_unknown_options_are_refused_at_once(quickstart, argument):
    code, output = quickstart.start(argument).finish()
    assert code == 2 and output.startswith("usage: ")
