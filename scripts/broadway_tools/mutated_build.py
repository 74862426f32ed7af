"""A build of the product's sources with a patch applied. Tests take a guard out this way, to see that something fails.

A patch is a unified diff (`git diff -U1`) of files in api/, common/ and scheduler/. Lines above the diff are ignored.
Line numbers are ignored too: the lines that a hunk replaces, with their context, must occur in the file exactly once.

The copy of the sources and its build directory are kept in build/mutated/PRESET, so that only the files that differ
from the last build are compiled again.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from broadway_tools.files import BUILD, ROOT

PRODUCT = ("api", "common", "scheduler")
BINARIES = ("broadway-api", "broadway-scheduler")
COPIED = (*PRODUCT, "cmake", "docs/schemas", "CMakeLists.txt", "CMakePresets.json")


class PatchError(Exception):
    """A patch can't be used; the text says why, and what to do."""


class MutatedBuildError(Exception):
    """A patched copy does not compile; the text is what the compiler said last."""


def hunks_of(patch):
    """{path: [(before, after)]}: what the patch replaces in each file, and by what."""
    found, hunks = {}, None
    for line in patch.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("+++ "):
            hunks = found.setdefault(line[4:].split("\t")[0].strip().removeprefix("b/"), [])
        elif line.startswith(("--- ", "diff ")):
            hunks = None
        elif hunks is not None and line.startswith("@@"):
            hunks.append(("", ""))
        elif hunks:
            before, after = hunks[-1]
            hunks[-1] = (before + line[1:] * (line[0] in " -"), after + line[1:] * (line[0] in " +"))
    return found


def patched_files(patch, root=ROOT):
    """{path: text}: the files that the patch changes, as it leaves them. PatchError if it can't be applied."""
    changed = {}
    for path, hunks in hunks_of(patch).items():
        if path.split("/")[0] not in PRODUCT or ".." in path:
            raise PatchError(f"{patch.name} changes {path}: a patch may only change files in {', '.join(PRODUCT)}")
        if not (root / path).is_file():
            raise PatchError(f"{patch.name} changes {path}, which is not there. {_what_to_do(patch, 'its new place')}")
        text = (root / path).read_text(encoding="utf-8")
        for before, after in hunks:
            if text.count(before) != 1:
                raise PatchError(
                    f"{patch.name} does not apply to {path}, where these lines must stand once, and stand "
                    f"{text.count(before)} times:\n{before}{_what_to_do(patch, path)}"
                )
            text = text.replace(before, after)
        changed[path] = text
    if not changed or any(text == (root / path).read_text(encoding="utf-8") for path, text in changed.items()):
        raise PatchError(f"{patch.name} changes nothing. {_what_to_do(patch, 'the source')}")
    return changed


def _what_to_do(patch, path):
    return (
        f"In a clean checkout, take the guard that the first line of {patch.name} names out of {path} by hand, replace "
        "all but that first line by what `git diff -U1` prints, and take the change back. If the code has no such "
        "guard any more, delete the patch."
    )


def build_mutated(patch, into, targets=BINARIES, preset="fault", also=(), options=("-DBROADWAY_TESTS=OFF",)):
    """Builds `targets` (paths in the build directory) with the patch applied, and leaves them in the directory `into`.

    `also` are more files and folders, relative to the root, that the build needs; `options` are for CMake. Safe from
    several processes at once: one builds, the others wait.
    """
    directory = BUILD / "mutated" / preset
    tree = directory / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _copy_sources(tree, (*COPIED, *also), patched_files(patch))
        _run(patch, tree, "cmake", "--preset", preset, *options)
        _run(patch, tree, "cmake", "--build", "--preset", preset, "--target", *targets)
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        for target in targets:
            shutil.copy2(tree / "build" / preset / target, into)


def _copy_sources(tree, copied, changed):
    """Makes `tree` the sources with the changed files. What is as it should be keeps its time of change, so that it is
    not compiled again."""
    wanted = {path.relative_to(ROOT): path for name in copied for path in _files_under(ROOT / name)}
    for relative, source in wanted.items():
        content = changed[str(relative)].encode() if str(relative) in changed else source.read_bytes()
        target = tree / relative
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    for name in copied:
        for path in _files_under(tree / name):
            if path.relative_to(tree) not in wanted:
                path.unlink()


def _files_under(path):
    return [path] if path.is_file() else [found for found in Path(path).rglob("*") if found.is_file()]


def _run(patch, tree, *words):
    launcher = {"CMAKE_C_COMPILER_LAUNCHER": "ccache"} if shutil.which("ccache") else {}
    done = subprocess.run(words, cwd=tree, capture_output=True, text=True, check=False, env={**launcher, **os.environ})
    if done.returncode != 0:
        raise MutatedBuildError(f"{patch.name}: {' '.join(words)}:\n{(done.stdout + done.stderr)[-3000:]}")
