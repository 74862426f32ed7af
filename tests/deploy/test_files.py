"""Scripts and Dockerfiles, by their linters."""

import shutil
import sys
from pathlib import Path

import pytest
from manifests import DEPLOY, KUBERNETES, ROOT
from tools import HERE, run

BIN = Path(sys.prefix) / "bin"
DOCKERFILES = sorted(DEPLOY.rglob("Dockerfile"))
SCRIPTS = [
    *sorted(DEPLOY.rglob("*.sh")),
    DEPLOY / "packages-of",
    DEPLOY / "small-icu",
    KUBERNETES / "make-site",
    ROOT / "scripts/images",
    HERE / "run",
    HERE / "tools",
]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_hadolint_finds_nothing(path):
    status, said = run([BIN / "hadolint", path])
    assert status == 0, said


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_finds_nothing(path):
    status, said = run([BIN / "shellcheck", path])
    assert status == 0, said


def test_systemd_knows_every_option_of_the_graders_unit(tmp_path):
    unit = DEPLOY / "grader" / "broadway-grader.service"
    text = unit.read_text(encoding="utf-8").replace("/opt/broadway", str(ROOT))
    (tmp_path / unit.name).write_text(text, encoding="utf-8")
    for manager in ("--system", "--user"):
        env = {"XDG_RUNTIME_DIR": str(tmp_path)}  # which the manager of a user needs
        status, said = run(["systemd-analyze", "verify", manager, "--man=no", tmp_path / unit.name], env=env)
        assert (status, said.strip()) == (0, ""), manager


def test_the_dockerfile_has_the_required_properties():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    instructions = [line.split() for line in text.splitlines() if line and line.split()[0].isupper()]
    assert instructions[0] == ["ARG", "BASE=docker.io/library/debian:12-slim"]
    assert {words[-1] for words in instructions if words[0] == "FROM"} == {"build", "runtime", "api", "scheduler"}
    assert [words[1] for words in instructions if words[0] == "USER"] == ["10001:10001"]
    assert not [words for words in instructions if words[0] == "HEALTHCHECK"]
    assert all(words[1].startswith("[") for words in instructions if words[0] == "ENTRYPOINT"), "no shell at run time"


def copied(stage):
    """The files that a stage copies from the source tree, as (source, target)."""
    lines = [line.split()[1:] for line in stage.splitlines() if line.startswith("COPY ")]
    return [(source, words[-1]) for words in lines if not words[0].startswith("--") for source in words[:-1]]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_builder_gets_the_copied_files_and_little_else(path):
    lines = path.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in lines
    sent = [line[1:] for line in lines if line.startswith("!")]
    sources = [source for source, _ in copied(path.read_text(encoding="utf-8"))]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == entry or source.startswith(f"{entry}/") for entry in sent), source
    for entry in sent:
        assert any(source == entry or source.startswith(f"{entry}/") for source in sources), f"{entry} is not needed"


def test_the_project_configures_with_only_the_copied_files(tmp_path):
    """So that a new directory of sources fails this test, not the next build of an image."""
    stage = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[1]
    for source, target in copied(stage):
        place = tmp_path / target / (Path(source).name if target.endswith("/") else "")
        place.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, place)
    command = next(
        line for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines() if "cmake --preset" in line
    )
    words = command[command.index("cmake --preset") :].rstrip(" \\").split()
    status, said = run(words, cwd=tmp_path)
    assert status == 0, said
