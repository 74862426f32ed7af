"""Reads what stages have left in a directory. Student code has written it: no link is followed, nothing but plain files
is opened, and what is listed is bounded."""

import contextlib
import hashlib
import os
import stat
import tarfile
from dataclasses import dataclass, field

MOST_SEEN, MOST_DEPTH = 10_000, 64
LONGEST_PATH = 1024
CHUNK = 256 * 1024
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass
class Found:
    """What is in a directory: the paths of its plain files with their sizes, and its directories. `others` counts what
    is neither, or has a name that can't be sent, `is_cut` says that there was more than is scanned."""

    files: list = field(default_factory=list)
    directories: list = field(default_factory=list)
    others: int = 0
    is_cut: bool = False


def scan(top):
    """A Found, sorted by paths; None if there is no such directory."""
    try:
        descriptor = os.open(top, DIRECTORY)
    except OSError:
        return None
    found = Found()
    with _closing(descriptor):
        _scan_into(descriptor, "", found, 0)
    found.files.sort()
    found.directories.sort()
    return found


def _scan_into(descriptor, prefix, found, depth):
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if len(found.files) + len(found.directories) + found.others >= MOST_SEEN:
                found.is_cut = True
                return
            path = prefix + entry.name
            if not _can_be_sent(path) or depth >= MOST_DEPTH:
                found.others += 1
            elif entry.is_dir(follow_symlinks=False):
                found.directories.append(path)
                _scan_below(descriptor, entry.name, path, found, depth)
            elif entry.is_file(follow_symlinks=False):
                found.files.append((path, entry.stat(follow_symlinks=False).st_size))
            else:
                found.others += 1


def _scan_below(parent, name, path, found, depth):
    try:
        descriptor = os.open(name, DIRECTORY, dir_fd=parent)
    except OSError:  # no permission, or it has changed
        found.others += 1
        return
    with _closing(descriptor):
        _scan_into(descriptor, f"{path}/", found, depth + 1)


def open_file(top, path):
    """A plain file below a directory, open for reading; None if it isn't one (any more). Raises no OSError."""
    *parents, name = path.split("/")
    try:
        with contextlib.ExitStack() as stack:
            directory = os.open(top, DIRECTORY)
            stack.callback(os.close, directory)
            for parent in parents:
                directory = os.open(parent, DIRECTORY, dir_fd=directory)
                stack.callback(os.close, directory)
            file = os.fdopen(os.open(name, FILE, dir_fd=directory), "rb")
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    return None


def digest_of(file):
    """("sha256:…", size) of an open file, which is then at its beginning again."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    return f"sha256:{digest.hexdigest()}", size


def pack(top, found, file):
    """Writes a tar archive of what was found to an open file: names, contents and who may execute them."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in found.directories:
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path, size in found.files:
            _pack_file(tar, top, path, size)


def _pack_file(tar, top, path, size):
    content = open_file(top, path)
    if content is None:
        return
    with content:
        state = os.fstat(content.fileno())
        entry = tarfile.TarInfo(path)
        # It may have shrunk or grown since it was found, if a process of a stage still runs.
        entry.size = min(size, state.st_size)
        entry.mode = 0o755 if state.st_mode & 0o111 else 0o644
        tar.addfile(entry, content)


def _can_be_sent(path):
    try:
        encoded = path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return len(encoded) <= LONGEST_PATH - len("artifacts/") and not any(ord(c) < 0x20 or ord(c) == 0x7F for c in path)


@contextlib.contextmanager
def _closing(descriptor):
    try:
        yield
    finally:
        os.close(descriptor)
