"""Builds for the rows: the preset `fault`, mutants of it, older binaries (row 53), and the shim of the clocks (rows 48
and 50)."""

import fcntl
import subprocess
from pathlib import Path

from broadway_tools.files import BUILD, ROOT
from broadway_tools.mutated_build import BINARIES, build_mutated

HERE = Path(__file__).resolve().parents[1]
SHIM_SOURCE = HERE / "shim" / "clock_shim.c"
FAULT = BUILD / "fault"
MUTANTS = HERE / "mutants"
MUTATED = BUILD / "fault-mutants"
SHIM = BUILD / "fault-shim" / "clock_shim.so"
OLDER = BUILD / "fault-older"
OLDER_COMMIT_FILE = HERE / "older-version"


class BuildError(Exception):
    """A build failed; the text is the end of its output."""


def _run(*words, cwd=ROOT):
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(map(str, words))}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def build_all(with_older=True):
    """Builds what is missing or outdated; safe from several processes at once."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "fault.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build_fault()
        build_shim()
        if with_older:
            build_older()


def build_fault():
    _run("cmake", "--preset", "fault")
    _run("cmake", "--build", "--preset", "fault", "--target", *BINARIES)


def binaries_without(mutant):
    """The directory of the binaries with this mutant; None: those without any."""
    return MUTATED / mutant if mutant else FAULT


def build_mutant(mutant):
    """Builds a mutant. Raises PatchError or MutatedBuildError."""
    build_mutated(MUTANTS / f"{mutant}.patch", binaries_without(mutant))


def build_shim():
    if SHIM.exists() and SHIM.stat().st_mtime > SHIM_SOURCE.stat().st_mtime:
        return
    SHIM.parent.mkdir(exist_ok=True)
    _run("gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", SHIM, SHIM_SOURCE, "-ldl")


def older_commit():
    return OLDER_COMMIT_FILE.read_text(encoding="utf-8").split()[0]


def has_older():
    return all((OLDER / name).exists() for name in BINARIES)


def build_older():
    """The binaries of an earlier commit, once. Without the history (a shallow clone) there are none: row 53 says so."""
    stamp = OLDER / "commit"
    if has_older() and stamp.exists() and stamp.read_text(encoding="utf-8") == older_commit():
        return
    tree = BUILD / "fault-older-tree"
    try:
        _run("git", "cat-file", "-e", older_commit() + "^{commit}")
    except BuildError:
        return
    _run("rm", "-rf", tree, OLDER)
    _run("git", "worktree", "prune")
    _run("git", "worktree", "add", "--detach", "--force", tree, older_commit())
    try:
        _run("cmake", "-S", tree, "-B", OLDER, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release")
        _run("cmake", "--build", OLDER, "--target", *BINARIES)
    finally:
        _run("git", "worktree", "remove", "--force", tree)
    stamp.write_text(older_commit(), encoding="utf-8")
