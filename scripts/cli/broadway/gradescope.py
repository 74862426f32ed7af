"""Runs of autograders that were written for Gradescope: one stage around `setup.sh` and `run_autograder`.

In the container the stage finds what Gradescope's has: /autograder/source (the content of the autograder's zip file),
/autograder/submission, /autograder/submission_metadata.json, /autograder/results and /autograder/run_autograder."""

import hashlib
import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

IMAGE = "docker.io/gradescope/autograder-base:ubuntu-22.04"
TIMEOUT_S = 20 * 60  # Gradescope's own default
MEMORY = "2g"
STUDENT = "STUDENT"  # the variable that names the student
RUN_AUTOGRADER, SETUP = "run_autograder", "setup.sh"
RESULTS = "/autograder/results/results.json"
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# What other programs leave in archives and directories beside the files.
IGNORED = ("__MACOSX", ".DS_Store")
MOST_BYTES = 64 << 20  # of one archive, unpacked: more than a server stores as one file by default

REFUSED = 1  # the exit code of the stage if setup.sh failed, or there are no results

# The stage's program. As on Gradescope, the exit status of run_autograder counts only if it leaves no results.
SCRIPT = """set -eu
mkdir -p /autograder/submission /autograder/results
cp -R /job/input/autograder /autograder/source
cp -R /job/input/submission/. /autograder/submission/
cp /job/input/submission_metadata.json /autograder/
cp /autograder/source/run_autograder /autograder/run_autograder
chmod +x /autograder/run_autograder
if [ "$1" = setup ]; then
    cd /autograder/source
    chmod +x setup.sh
    ./setup.sh || { echo "setup.sh ended with exit status $?" >&2; exit 1; }
fi
cd /autograder
code=0
./run_autograder || code=$?
if [ ! -f /autograder/results/results.json ]; then
    echo "run_autograder left no /autograder/results/results.json; its exit status was $code" >&2
    exit 1
fi
"""


class GradescopeError(Exception):
    """The autograder or a submission can't be used; the text names the file and the reason."""


@dataclass(frozen=True)
class Settings:
    """What Gradescope's page of settings has. `has_setup`: false if the image has run setup.sh already."""

    image: str = IMAGE
    timeout_s: float = TIMEOUT_S
    memory: str = MEMORY
    has_setup: bool = True
    networking: bool | None = None  # None: as far as setup.sh needs it
    title: str = "autograder"


@dataclass
class GradescopeRun:
    """A run to be submitted, once its files are stored. `notes` says what differs from Gradescope, a sentence each."""

    definition: dict[str, Any]
    files: dict[str, Path]  # digest -> the file with this content
    notes: list[str] = field(default_factory=list)

    def for_course(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The body of the same run in the course protocol, and the config of its assignment."""
        config = {key: self.definition[key] for key in ("student_pipeline", "owner_rules")}
        body = {key: value for key, value in self.definition.items() if key not in config and key != "students"}
        return {**body, "students_env": self.definition["students"]}, config


def build_run(autograder: Path, submissions: Path, directory: Path, settings: Settings | None = None) -> GradescopeRun:
    """Reads the autograder's zip file and a directory with a submission per entry: a directory, an archive or a file,
    named like the student. Writes the files that must be stored into `directory`, which lives until then.
    Raises GradescopeError."""
    settings = settings or Settings(title=autograder.stem)
    packed = _Files(directory)
    with _reading(autograder), zipfile.ZipFile(autograder) as archive:
        members = list(_members_of_zip(archive, autograder.name))
        has_setup = _check_autograder(members, autograder.name) and settings.has_setup
        common = packed.add_tar(members, autograder.name)
    students, student_files = [], []
    for position, (name, entry) in enumerate(_entries(submissions)):
        with _reading(entry):
            work = packed.add_tar(_members_of_submission(entry), entry.name)
        metadata = packed.add(json.dumps(_metadata(position, name, entry, settings), indent=2).encode())
        students.append({STUDENT: name})
        student_files.append(
            [
                {"path": "submission", "digest": work, "unpack": True},
                {"path": "submission_metadata.json", "digest": metadata},
            ]
        )
    definition = {
        "name": settings.title,
        "students": students,
        "student_pipeline": [_stage(settings, has_setup)],
        "files": [{"path": "autograder", "digest": common, "unpack": True}],
        "student_files": student_files,
        # The stage's own refusals; a score is never one.
        "owner_rules": [{"stage": 0, "exit_code": REFUSED, "owner": "course"}],
    }
    return GradescopeRun(definition, packed.files, _notes(settings, has_setup))


def _stage(settings: Settings, has_setup: bool) -> dict[str, Any]:
    networking = has_setup if settings.networking is None else settings.networking
    return {
        "image": settings.image,
        "entrypoint": ["/bin/sh", "-c", SCRIPT, "autograder", "setup" if has_setup else "run"],
        "networking": networking,
        "timeout": settings.timeout_s,
        "memory": settings.memory,
        "user": "0",
        "read_only": False,
        "results": RESULTS,
    }


def _notes(settings: Settings, has_setup: bool) -> list[str]:
    notes = [
        "The visibility of tests is stored with the results, but Broadway shows nothing to students and hides nothing.",
        "previous_submissions in submission_metadata.json is empty, and so are the dates of the assignment.",
        "The leaderboard and extra_data of results.json are not read.",
    ]
    programs = "a run_autograder that uses su or chown"
    if has_setup:
        programs += ", or a setup.sh that installs packages (apt-get)"
    notes.append(f"Only graders with --compat give containers capabilities: {programs} needs such graders.")
    if has_setup:
        notes.append(
            "setup.sh runs before each submission, on Gradescope once for all: build an image that has run it, and "
            "name it by --image with --skip-setup."
        )
    elif settings.networking is None:
        notes.append("The network is off: --networking switches it on.")
    return notes


def _check_autograder(members: list["_Member"], archive: str) -> bool:
    """Whether it has a setup.sh. Raises GradescopeError if it has no run_autograder."""
    names = {member.name for member in members}
    if RUN_AUTOGRADER in names:
        return SETUP in names
    deeper = [name for name in sorted(names) if name.endswith("/" + RUN_AUTOGRADER)]
    if deeper:
        raise GradescopeError(f"{archive}: '{deeper[0]}' must be at the top: zip the files, not their directory")
    raise GradescopeError(f"{archive}: has no {RUN_AUTOGRADER}: is it a Gradescope autograder?")


def _entries(submissions: Path) -> list[tuple[str, Path]]:
    """(student, entry), by name."""
    try:
        found = sorted(entry for entry in submissions.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise GradescopeError(f"{submissions}: {error.strerror}") from error
    entries: dict[str, Path] = {}
    for entry in found:
        if entry.name in IGNORED or entry.name == "submission_metadata.yml":
            continue
        if entry.is_symlink():
            raise GradescopeError(f"{submissions}: '{entry.name}' is a link: a submission must be here itself")
        name = _student(entry)
        if name in entries:
            raise GradescopeError(f"{submissions}: '{entries[name].name}' and '{entry.name}' are of one student")
        entries[name] = entry
    if not entries:
        raise GradescopeError(f"{submissions}: there are no submissions in it")
    return list(entries.items())


def _student(entry: Path) -> str:
    if entry.is_dir():
        return entry.name
    for suffix in (*TAR_SUFFIXES, entry.suffix):
        if suffix and entry.name.endswith(suffix) and entry.name != suffix:
            return entry.name.removesuffix(suffix)
    return entry.name


def _metadata(position: int, name: str, entry: Path, settings: Settings) -> dict[str, Any]:
    """What Gradescope's harness says of a submission, as far as it is known here."""
    return {
        "id": position + 1,
        "created_at": datetime.fromtimestamp(int(entry.stat().st_mtime), UTC).isoformat(),
        "assignment": {"id": None, "title": settings.title, "due_date": None, "late_due_date": None},
        "submission_method": "upload",
        "users": [{"id": position + 1, "name": name, "email": None}],
        "previous_submissions": [],
    }


@dataclass(frozen=True)
class _Member:
    """A file (or a symbolic link, with a `target`) of an archive that is being made."""

    name: str
    content: bytes
    is_executable: bool = False
    target: str | None = None


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What goes wrong while this file is read is a GradescopeError."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError) as error:
        raise GradescopeError(f"{path.name}: is no archive that can be read: {error}") from error
    except OSError as error:
        raise GradescopeError(f"{error.filename or path}: {error.strerror or error}") from error


def _members_of_submission(entry: Path) -> Iterator[_Member]:
    if entry.is_dir():
        return _members_of_directory(entry)
    if entry.suffix == ".zip":
        return _members_of_zip_file(entry)
    if entry.name.endswith(TAR_SUFFIXES):
        return _members_of_tar(entry)
    return iter([_Member(entry.name, entry.read_bytes())])


def _members_of_directory(top: Path) -> Iterator[_Member]:
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top).as_posix()
        if path.is_symlink():
            yield _Member(name, b"", target=path.readlink().as_posix())
        elif path.is_file() and not _is_ignored(name):
            yield _Member(name, path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))


def _members_of_zip_file(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        yield from _members_of_zip(archive, path.name)


def _members_of_zip(archive: zipfile.ZipFile, archive_name: str) -> Iterator[_Member]:
    for info in archive.infolist():
        if info.is_dir() or _is_ignored(info.filename):
            continue
        name = _clean(info.filename, archive_name)
        _check_size(info.file_size, name, archive_name)
        mode = info.external_attr >> 16
        content = archive.read(info)
        if stat.S_ISLNK(mode):
            yield _Member(name, b"", target=content.decode(errors="surrogateescape"))
        else:
            yield _Member(name, content, bool(mode & stat.S_IXUSR))


def _members_of_tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path) as archive:
        for info in archive:
            if _is_ignored(info.name) or info.isdir():
                continue
            name = _clean(info.name, path.name)
            _check_size(info.size, name, path.name)
            if info.issym():
                yield _Member(name, b"", target=info.linkname)
            elif (content := archive.extractfile(info)) is not None:
                yield _Member(name, content.read(), bool(info.mode & stat.S_IXUSR))


def _check_size(size: int, name: str, archive_name: str) -> None:
    if size > MOST_BYTES:
        raise GradescopeError(f"{archive_name}: '{name}' is larger than {MOST_BYTES >> 20} MiB")


def _is_ignored(name: str) -> bool:
    return any(part in IGNORED for part in name.split("/"))


def _clean(name: str, archive_name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts:
        raise GradescopeError(f"{archive_name}: '{name}' leads out of the archive")
    return "/".join(parts)


class _Files:
    """The files that must be stored, in a directory: each content once. The same members give the same archive."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.files: dict[str, Path] = {}

    def add(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        path = self._directory / digest
        path.write_bytes(content)
        self.files[f"sha256:{digest}"] = path
        return f"sha256:{digest}"

    def add_tar(self, members: Iterator[_Member] | list[_Member], archive_name: str) -> str:
        """Raises GradescopeError if the members are too large together."""
        kept, left = [], MOST_BYTES
        for member in members:
            kept.append(member)
            left -= len(member.content)
            if left < 0:
                raise GradescopeError(f"{archive_name}: is larger than {MOST_BYTES >> 20} MiB unpacked")
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for member in sorted(kept, key=lambda member: member.name):
                info = tarfile.TarInfo(member.name)
                info.mode = 0o755 if member.is_executable else 0o644
                if member.target is not None:
                    info.type, info.linkname = tarfile.SYMTYPE, member.target
                info.size = len(member.content)
                archive.addfile(info, io.BytesIO(member.content))
        return self.add(content.getvalue())
