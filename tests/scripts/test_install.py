"""scripts/install: each clone has its own environment, even if build/venv is a link. No packages are installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clones(tmp_path):
    """Two clones that need no Python packages; the other one has an environment."""
    clones = [tmp_path / name for name in ("mine", "other")]
    for clone in clones:
        (clone / "scripts").mkdir(parents=True)
        (clone / "build").mkdir()
        shutil.copy(ROOT / "scripts" / "install", clone / "scripts")
        (clone / "scripts" / "requirements.txt").write_text("")
    venv = clones[1] / "build" / "venv"
    venv.mkdir()
    (venv / "marker").write_text("here")
    (venv / "stamp").write_text(f"Python 3 0000  - {venv}\n")
    return clones


def install(clone):
    done = subprocess.run([clone / "scripts" / "install", "--python"], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def has_environment(clone):
    return subprocess.run([clone / "build" / "venv" / "bin" / "python", "-c", ""], check=False).returncode == 0


@pytest.mark.parametrize("linked", ["build/venv", "build"])
def test_an_environment_of_another_clone_is_not_emptied_through_a_link(clones, linked):
    mine, other = clones
    if linked == "build":
        (mine / "build").rmdir()
    (mine / linked).symlink_to(other / linked)
    status, said = install(mine)
    assert status == 1 and f"{mine}/build/venv leads to {other}/build/venv" in said and "remove the link" in said
    assert (other / "build" / "venv" / "marker").read_text() == "here"


def test_a_linked_build_gets_an_environment_and_keeps_it(clones, tmp_path):
    mine, _ = clones
    (mine / "build").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (mine / "build").symlink_to(tmp_path / "elsewhere")
    assert install(mine) == (0, "")
    (mine / "build" / "venv" / "marker").write_text("here")
    assert install(mine) == (0, "") and has_environment(mine)
    assert (mine / "build" / "venv" / "marker").exists(), "it is not made again"
