"""Files of one job: what it is given in /job/input and /job/shared, and what it leaves in /job/artifacts and
/job/shared."""

import logging
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from broadway_tools.grader.collect import digest_of, open_file, pack, scan
from broadway_tools.grader.faults import Fault, check_disk
from broadway_tools.grader.server_errors import Refused, Unavailable
from broadway_tools.grader.unpack import UnpackError, unpack
from broadway_tools.grader.workspace import make_directories

INPUT, SHARED, ARTIFACTS = "input", "shared", "artifacts"
# Of one result.
MOST_FILES = 1000
MIB = 1024 * 1024
# Of all that a job's archives hold.
MOST_UNPACKED_BYTES = 4 * 1024 * MIB
TOO_LARGE = 413

log = logging.getLogger("grader")


class FilesError(Exception):
    """No machine can give the job its files, or pass on what it has left; the text has the reason."""


@dataclass(frozen=True)
class FileSettings:
    """What all jobs of a grader share. Sizes in bytes."""

    cache: object
    scratch: Path
    min_free_bytes: int
    most_shared_bytes: int
    most_artifact_bytes: int
    try_s: float  # how long a request is repeated that has no answer


class JobFiles:
    """The files of one job, sent over one connection. `wait(seconds)` pauses between two tries, and returns true once
    the job is given up."""

    def __init__(self, settings, line, worker_id, job_id, wait):
        self._settings = settings
        self._line = line
        self._worker_id = worker_id
        self._job_id = job_id
        self._wait = wait
        self._sent = set()  # digests

    def give(self, entries, workspace):
        """Puts the files of a hand-out into a workspace, before its first stage. Raises FilesError, Fault, OSError."""
        needed = sum(entry["size"] for entry in entries)
        check_disk(self._settings.scratch, self._settings.min_free_bytes + needed)
        bytes_left = MOST_UNPACKED_BYTES
        for entry in entries:
            top, path = _target(entry["path"], workspace)
            with self._settings.cache.open(entry["digest"], entry["size"], self._fetch(entry)) as file:
                if entry.get("unpack"):
                    bytes_left -= _unpack(file, top, path, bytes_left)
                else:
                    _copy(file, top, path)
        check_disk(self._settings.scratch, self._settings.min_free_bytes)

    def take(self, workspace, takes_shared, note):
        """Uploads what a job has left: the list `files` of its result. `note(sentence)` is called with what is left
        out. Raises FilesError, Fault, OSError."""
        files = self._take_artifacts(workspace.path / ARTIFACTS, MOST_FILES - takes_shared, note)
        return files + (self._take_shared(workspace.path / SHARED, note) if takes_shared else [])

    def _take_artifacts(self, top, most_files, note):
        found = scan(top)
        if found is None:
            return []
        files, bytes_left, left_out = [], self._settings.most_artifact_bytes, 0
        for path, _ in found.files:
            size = self._take_artifact(top, path, bytes_left, files) if len(files) < most_files else None
            if size is None:
                left_out += 1
            else:
                bytes_left -= size
        if left_out or found.is_cut:
            limits = f"{most_files} files, {self._settings.most_artifact_bytes} bytes, and what the API takes"
            note(f"{left_out}{' or more' if found.is_cut else ''} files of {ARTIFACTS} are left out; limits: {limits}")
        if found.others:
            note(f"{found.others} entries of {ARTIFACTS} are left out: they are no plain files, or can't be named")
        return files

    def _take_artifact(self, top, path, bytes_left, files):
        """Its size; None if it is left out."""
        file = open_file(top, path)
        if file is None:
            return None
        with file:
            if os.fstat(file.fileno()).st_size > bytes_left:
                return None
            digest, size = digest_of(file)
            if size > bytes_left or not self._send_once(file, digest, size):
                return None
        files.append({"path": f"{ARTIFACTS}/{path}", "digest": digest})
        return size

    def _take_shared(self, top, note):
        found = scan(top)
        if found is None or not (found.files or found.directories):
            return []
        most = self._settings.most_shared_bytes
        if found.is_cut or sum(size for _, size in found.files) > most:
            raise FilesError(f"the directory {SHARED} holds more than {most} bytes, or too many files")
        if found.others:
            note(f"{found.others} entries of {SHARED} are left out: they are neither files nor directories")
        with tempfile.TemporaryFile(dir=self._settings.scratch) as file:
            pack(top, found, file)
            file.seek(0)
            digest, size = digest_of(file)
            if not self._send(file, digest, size):
                raise FilesError(f"the API does not take the directory {SHARED}: its archive has {size} bytes")
        return [{"path": SHARED, "digest": digest, "unpack": True}]

    def _fetch(self, entry):
        def fetch(file):
            self._persist(
                f"the file {entry['path']} can't be fetched",
                lambda: self._line.fetch_file(self._job_id, self._worker_id, entry["digest"], entry["size"], file),
            )

        return fetch

    def _send_once(self, file, digest, size):
        """The same, unless a file with the same content was sent before."""
        if digest not in self._sent:
            if not self._send(file, digest, size):
                return False
            self._sent.add(digest)
        return True

    def _send(self, file, digest, size):
        """False if the API takes no file of that size."""
        try:
            self._persist(
                "a file of the result can't be sent",
                lambda: self._line.send_file(self._job_id, self._worker_id, digest, size, file),
            )
        except Refused as error:
            if error.status != TOO_LARGE:
                raise Fault("files", f"a file of the result can't be sent: {error}") from error
            return False
        return True

    def _persist(self, what, call):
        """Calls until there is an answer. Raises Refused for a file that is too large, else Fault."""
        deadline = time.monotonic() + self._settings.try_s
        while True:
            try:
                call()
                return
            except Unavailable as error:
                log.warning("job %s: %s: %s", self._job_id, what, error)
                if time.monotonic() > deadline or self._wait(error.pause_s):
                    raise Fault("files", f"{what}: {error}") from error
            except Refused as error:
                if error.status == TOO_LARGE:
                    raise
                raise Fault("files", f"{what}: {error}") from error


def _target(path, workspace):
    """Where an entry of a hand-out goes: a directory of the workspace, which is made, and a path in it. Raises
    FilesError for a path that leads elsewhere."""
    first, *rest = path.split("/")
    is_sound = all(part not in ("", ".", "..") and "\0" not in part for part in (first, *rest))
    if is_sound and first == INPUT and rest:
        make_directories(workspace.inputs.parent, INPUT)
        return workspace.inputs, "/".join(rest)
    if is_sound and path == SHARED:
        return workspace.path, SHARED
    raise FilesError(f"the path {path!r} of a file is neither below {INPUT} nor {SHARED}")


def _copy(file, top, path):
    make_directories(top, path.rpartition("/")[0])
    with open(top / path, "xb") as copy:
        shutil.copyfileobj(file, copy, MIB)
        os.fchmod(copy.fileno(), 0o644)


def _unpack(file, top, path, most_bytes):
    """The bytes that it holds. Raises FilesError."""
    make_directories(top, path)
    try:
        return unpack(file, top / path, most_bytes)
    except UnpackError as error:
        raise FilesError(f"the archive {path} can't be unpacked: it {error}") from error
