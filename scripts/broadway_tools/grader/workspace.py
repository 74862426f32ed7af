"""A job's directory: fresh, shared by its stages, gone afterwards. What student code leaves there is never trusted:
no link is followed, no path that it could have made is walked."""

import errno
import itertools
import os
import stat
import tempfile
from pathlib import Path

DIRECTORY_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Workspace:
    """A context: the path of an empty directory, inside one that only the grader's user may enter."""

    def __init__(self, parent, mode):
        self._parent = parent
        self._mode = mode

    def __enter__(self):
        self._shell = Path(tempfile.mkdtemp(prefix="job-", dir=self._parent))
        self.path = self._shell / "job"
        self.path.mkdir()
        # Not umask's business: a container's user, whoever that is, must be able to write.
        self.path.chmod(self._mode)
        return self

    def __exit__(self, *_):
        wipe(self._shell)

    def add(self, name, content):
        """Puts in a file before the first stage runs."""
        (self.path / name).write_text(content, encoding="utf-8")

    def read(self, name, limit):
        """The bytes of a plain file that a stage left here; None if there is none (a link, say). Raises ValueError if
        it is larger than `limit`."""
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f"is larger than {limit} bytes")
        return content


def wipe(path):
    """Removes a tree, however deep, and whatever rights its directories have. Works by descriptors: subdirectories are
    moved up to the top, then emptied one by one. Raises OSError if something stays (not our user's, say)."""
    top = os.open(path, os.O_RDONLY | DIRECTORY_FLAGS)
    try:
        fresh_names = (f".wipe-{number}" for number in itertools.count())
        while names := os.listdir(top):
            for name in names:
                _remove(top, name, fresh_names)
    finally:
        os.close(top)
    os.rmdir(path)


def _remove(top, name, fresh_names):
    if not _is_directory(top, name):
        os.unlink(name, dir_fd=top)
        return
    directory = _open_directory(top, name)
    try:
        for child in os.listdir(directory):
            if _is_directory(directory, child):
                _move_up(directory, child, top, fresh_names)
            else:
                os.unlink(child, dir_fd=directory)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=top)


def _is_directory(parent, name):
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _open_directory(parent, name):
    """Opens it for reading, after giving ourselves the right to."""
    handle = os.open(name, os.O_PATH | DIRECTORY_FLAGS, dir_fd=parent)
    try:
        # The link in /proc leads to what the handle holds, whatever the name has become.
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(handle)


def _move_up(directory, child, top, fresh_names):
    os.close(_open_directory(directory, child))  # without the right to write it, it can't be moved
    for name in fresh_names:
        try:
            os.rename(child, name, src_dir_fd=directory, dst_dir_fd=top)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
