"""Scripts and Dockerfiles, by their linters."""

import sys
from pathlib import Path

import pytest
from manifests import DEPLOY, KUBERNETES, ROOT
from tools import HERE, run

BIN = Path(sys.prefix) / "bin"
SCRIPTS = [
    *sorted(DEPLOY.rglob("*.sh")),
    DEPLOY / "packages-of",
    KUBERNETES / "make-site",
    ROOT / "scripts/images",
    HERE / "run",
    HERE / "tools",
]


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("Dockerfile")), ids=lambda path: str(path.relative_to(ROOT)))
def test_hadolint_finds_nothing(path):
    status, said = run([BIN / "hadolint", path])
    assert status == 0, said


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_finds_nothing(path):
    status, said = run([BIN / "shellcheck", path])
    assert status == 0, said


def test_the_dockerfile_is_what_was_asked_for():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    instructions = [line.split() for line in text.splitlines() if line and line.split()[0].isupper()]
    assert instructions[0] == ["ARG", "BASE=docker.io/library/debian:12-slim"]
    assert {words[-1] for words in instructions if words[0] == "FROM"} == {"build", "runtime", "api", "scheduler"}
    assert [words[1] for words in instructions if words[0] == "USER"] == ["10001:10001"]
    assert not [words for words in instructions if words[0] == "HEALTHCHECK"]
    assert all(words[1].startswith("[") for words in instructions if words[0] == "ENTRYPOINT"), "no shell at run time"
