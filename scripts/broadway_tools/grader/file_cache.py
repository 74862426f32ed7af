"""Files of jobs that this grader has fetched, by their digest: a file that many jobs share is fetched once."""

import logging
import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

log = logging.getLogger("grader")


class FileCache:
    """At most `most_bytes` of files in `directory`, the last used; any thread may call. A larger file is passed on and
    not kept. The files are the grader's own: a job gets copies."""

    def __init__(self, directory, most_bytes):
        self._directory = directory
        self._most_bytes = most_bytes
        self._changed = threading.Condition()  # guards the fields of this paragraph
        self._kept = OrderedDict()  # digest → size, the last used at the end
        self._fetching = set()

    def open(self, digest, size, fetch):
        """The file with this digest, open for reading. If it isn't here, `fetch(file)` writes it, and raises if it
        can't; meanwhile others who want the same file wait. Raises OSError too."""
        with self._changed:
            while digest in self._fetching:
                self._changed.wait()
            found = self._find(digest)
            if found is not None:
                return found
            self._fetching.add(digest)
        try:
            return self._fetch(digest, size, fetch)
        finally:
            with self._changed:
                self._fetching.discard(digest)
                self._changed.notify_all()

    def _find(self, digest):
        if digest not in self._kept:
            return None
        try:
            found = self._path(digest).open("rb")
        except OSError as error:  # someone has removed it
            log.warning("a fetched file is gone: %s", error)
            del self._kept[digest]
            return None
        self._kept.move_to_end(digest)
        return found

    def _fetch(self, digest, size, fetch):
        self._directory.mkdir(exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=self._directory, delete=False) as file:
            try:
                fetch(file)
                file.flush()
                os.lseek(file.fileno(), 0, os.SEEK_SET)
                self._keep(digest, size, file.name)
                return os.fdopen(os.dup(file.fileno()), "rb")
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def _keep(self, digest, size, path):
        """Takes a complete file, in the place of those that were not used for longest."""
        if size > self._most_bytes:
            os.unlink(path)
            return
        os.rename(path, self._path(digest))
        with self._changed:
            self._kept[digest] = size
            while sum(self._kept.values()) > self._most_bytes:
                oldest, _ = self._kept.popitem(last=False)
                self._path(oldest).unlink(missing_ok=True)  # who has it open may read on

    def _path(self, digest):
        return self._directory / digest.replace(":", "-")
