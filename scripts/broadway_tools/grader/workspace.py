"""A job's directory: fresh, shared by its stages, removed afterwards. Files of student code are never trusted:
no link is followed, and no path that student code could have created is resolved."""

import errno
import itertools
import os
import stat
import tempfile
from pathlib import Path

from broadway_tools.grader.usage import directory_size

DIRECTORY_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Workspace:
    """A context: the path of an empty directory, inside one that only the grader's user may enter."""

    def __init__(self, parent, mode):
        self._parent = parent
        self._mode = mode
        self._outside = []

    def __enter__(self):
        self._shell = Path(tempfile.mkdtemp(prefix="job-", dir=self._parent))
        self.path = self._shell / "job"
        self.inputs = self._shell / "input"  # for files that stages may only read; made when there are some
        self.path.mkdir()
        # Independent of the umask: any container user must be able to write.
        self.path.chmod(self._mode)
        return self

    def __exit__(self, *_):
        wipe(self._shell)

    def make_outside(self, name):
        """Makes a directory beside that of the job, which stages may write where it is mounted: its path."""
        path = self._shell / name
        path.mkdir()
        path.chmod(self._mode)
        self._outside.append(path)
        return path

    def size(self):
        """The bytes on disk of what its stages have written."""
        return sum(map(directory_size, [self.path, *self._outside]))

    def empty(self):
        """Removes what its stages have written, once none of them runs. Raises OSError."""
        for path in (self.path, *self._outside):
            _empty(path)

    def add(self, name, content):
        """Writes a file before the first stage runs."""
        (self.path / name).write_text(content, encoding="utf-8")

    def read(self, name, limit):
        """The bytes of a plain file that a stage wrote; None if there is none (or only a link). Raises ValueError if
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


def make_directories(top, path):
    """Makes the directories of a relative path below `top`, for everyone to read. Raises NotADirectoryError if there is
    something else, and OSError."""
    place = str(top)
    for part in [part for part in str(path).split("/") if part]:
        place = os.path.join(place, part)
        try:
            os.mkdir(place)
            os.chmod(place, 0o755)  # independent of the umask
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory", place) from None


def wipe(path):
    """Removes a tree of any depth, with any permissions. Works by descriptors: subdirectories are
    moved up to the top, then emptied one by one. Raises OSError if something remains (another user's files)."""
    _empty(path)
    os.rmdir(path)


def _empty(path):
    top = os.open(path, os.O_RDONLY | DIRECTORY_FLAGS)
    try:
        fresh_names = (f".wipe-{number}" for number in itertools.count())
        while names := os.listdir(top):
            for name in names:
                _remove(top, name, fresh_names)
    finally:
        os.close(top)


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
    """Opens it for reading, after adding the permission."""
    handle = os.open(name, os.O_PATH | DIRECTORY_FLAGS, dir_fd=parent)
    try:
        # The link in /proc leads to the handle's directory, even if its name has changed.
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(handle)


def _move_up(directory, child, top, fresh_names):
    os.close(_open_directory(directory, child))  # it can be moved only if it is writable
    for name in fresh_names:
        try:
            os.rename(child, name, src_dir_fd=directory, dst_dir_fd=top)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
