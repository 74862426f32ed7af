"""Runs the README's examples unchanged, in their order."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PROTOCOL = ("grading_run", "grading_run/$RUN", "worker_register", "grading_job?", "grading_job/$JOB", "heartbeat")


def examples(variable):
    """The shell examples that use this variable, except those that set it."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    lines = [block for block in blocks if f"${variable}/" in block]
    assert lines, f"no example in the README uses ${variable}"
    return re.sub(r"^export .*$", "", "\n".join(lines), flags=re.MULTILINE)


def run_shell(script, **variables):
    done = subprocess.run(
        ["bash", "-euo", "pipefail"], input=script, env={"PATH": "/usr/bin:/bin", **variables},
        capture_output=True, text=True, timeout=60, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_examples_grade_a_student_by_hand(stack):
    script = examples("URL") + "\necho; echo RUN=$RUN"
    said = run_shell(script, URL=stack.urls[0], TOKEN=stack.cluster_token)
    assert '"error"' not in said
    run = re.search(r"^RUN=(\w+)$", said, flags=re.MULTILINE).group(1)
    first, second = stack.api.status(run, results="true")["student_statuses"]
    assert (first["outcome"], first["result"]) == ("succeeded", {"score": 10})
    assert second["status"] == "Queued"


def test_the_operators_examples_answer(stack):
    said = run_shell(examples("INTERNAL"), INTERNAL=stack.described["api"][0]["internal_url"])
    assert '{"status":"ok"}' in said and '"ready"' in said and "broadway_api_requests_total" in said


@pytest.mark.parametrize("endpoint", PROTOCOL)
def test_every_endpoint_has_an_example(endpoint):
    assert f"$URL/api/v1/{endpoint}" in README


def test_every_file_that_is_linked_is_there():
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", README)
    assert links and [link for link in links if not (ROOT / link).exists()] == []
