"""Unpacks a tar archive that nobody vouches for, into a directory that nobody else uses yet.

No file of the archive lands outside of the directory. Links are made after all files, so that none is written through
one; a symbolic link may only lead to a place inside."""

import os
import posixpath
import shutil
import tarfile
import zlib
from lzma import LZMAError

from broadway_tools.grader.workspace import make_directories

MOST_ENTRIES = 100_000
MOST_DEPTH = 64


class UnpackError(Exception):
    """The archive is refused; the text has the reason."""


def unpack(archive, directory, most_bytes, most_entries=MOST_ENTRIES):
    """Unpacks a file that is open for reading, compressed or not, into a directory. Raises UnpackError, or OSError if
    the disk fails. Returns the bytes of its files."""
    unpacking = _Unpacking(directory, most_bytes, most_entries)
    try:
        with tarfile.open(fileobj=archive, mode="r:*") as tar:
            for member in tar:
                unpacking.add(tar, member)
                tar.members = []  # else it keeps all of them
        unpacking.add_links()
        return most_bytes - unpacking.bytes_left
    except (tarfile.TarError, EOFError, zlib.error, LZMAError, UnicodeError) as error:
        raise UnpackError(f"is not a tar archive, or damaged: {error}") from error
    except OSError as error:
        if error.errno is None:  # of a decompressor
            raise UnpackError(f"is damaged: {error}") from error
        raise


class _Unpacking:
    """One archive."""

    def __init__(self, directory, most_bytes, most_entries):
        self._top = str(directory)
        self.bytes_left = most_bytes
        self._entries_left = most_entries
        self._made = {""}  # directories
        self._links = []  # (path, target)

    def add(self, tar, member):
        """Writes one member, unless it is a symbolic link, which waits."""
        self._entries_left -= 1
        if self._entries_left < 0:
            raise UnpackError("has too many entries")
        path = _clean(member.name)
        if path is None:
            return
        if member.isdir():
            self._make_directory(path)
        elif member.isreg():
            self._write(path, tar.extractfile(member), member)
        elif member.issym():
            _check_target(path, member.linkname)
            self._links.append((path, member.linkname))
        elif member.islnk():
            self._link(path, member.linkname)
        else:
            raise UnpackError(f"{member.name!r} is neither a file, a directory nor a link")

    def add_links(self):
        """Makes the symbolic links."""
        for path, target in self._links:
            self._make_directory(posixpath.dirname(path))
            self._create(path, lambda place, target=target: os.symlink(target, place))

    def _write(self, path, content, member):
        self.bytes_left -= member.size
        if self.bytes_left < 0:
            raise UnpackError("holds too many bytes")
        self._make_directory(posixpath.dirname(path))
        mode = 0o755 if member.mode & 0o111 else 0o644
        with self._create(path, lambda place: open(place, "xb")) as file:
            shutil.copyfileobj(content, file, 256 * 1024)
            os.fchmod(file.fileno(), mode)

    def _link(self, path, target):
        """A hard link to a file of the archive that was written before."""
        source = _clean(target)
        place = source and os.path.join(self._top, source)
        if not place or not os.path.isfile(place):
            raise UnpackError(f"{path!r} is a link to {target!r}, which is not a file before it in the archive")
        self._make_directory(posixpath.dirname(path))
        self._create(path, lambda link: os.link(place, link))

    def _create(self, path, create):
        try:
            return create(os.path.join(self._top, path))
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            raise UnpackError(f"{path!r} occurs twice") from None
        except ValueError as error:
            raise UnpackError(f"{path!r}: {error}") from error

    def _make_directory(self, path):
        if path in self._made:
            return
        try:
            make_directories(self._top, path)
            self._made.add(path)
        except NotADirectoryError:
            raise UnpackError(f"{path!r} occurs twice") from None


def _clean(name):
    """The path of a member, without "./"; None for the top itself. Raises UnpackError if it may lead elsewhere."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise UnpackError(f"{name!r} leads out of it")
    if len(parts) > MOST_DEPTH:
        raise UnpackError(f"{name[:100]!r} is too deep")
    return "/".join(parts) or None


def _check_target(path, target):
    """Raises UnpackError unless the symbolic link stays inside, step by step."""
    depth = path.count("/")
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            break
    if target.startswith("/") or depth < 0 or not target or "\0" in target:
        raise UnpackError(f"{path!r} is a link to {target!r}, which leads out of it")
