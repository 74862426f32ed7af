"""Faults of the machine, as opposed to failures of a stage: the job goes to another grader, and no student fails."""

import errno
import os
import re
import tempfile

# Faults of these kinds are about one image; the machine can run jobs of other images.
IMAGE_KINDS = ("image", "registry")
# The machine can run other jobs.
PASSING_KINDS = ("image", "pull", "files")
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
LONGEST_REASON = 500
PROBE_BYTES = 65536
MIB = 1024 * 1024

DISK_FULL = re.compile(r"no space left|quota exceeded|read-only file system|input/output error", re.IGNORECASE)
# Messages of registries and engines for an image that does not exist, or that they refuse.
IMAGE_REFUSED = re.compile(
    r"manifest unknown|manifest .*not found|not found: manifest|name unknown|no such image|image not known|"
    r"does not exist|denied|unauthorized|authentication required|invalid reference|short-name|no matching manifest",
    re.IGNORECASE,
)


class Fault(Exception):
    """This machine can't run the job; the text has the reason.

    `kind` is one of: engine, disk, directory, image (it does not exist, or is refused), registry (it can't be reached),
    pull (the image is still being pulled), files (a file of the job can't be fetched or sent), grader (a defect of the
    grader). `stage` is the one that could not run in a container, None if it is not about one.
    """

    def __init__(self, kind, reason):
        super().__init__(reason[:LONGEST_REASON])
        self.kind = kind
        self.stage = None

    @property
    def stops_the_grader(self):
        """Whether the machine needs to recover. If only one image or file is refused, other jobs can run."""
        return self.kind not in PASSING_KINDS


def engine_fault(text):
    """The Fault for an engine's message, except for pulls."""
    return Fault("disk" if DISK_FULL.search(text) else "engine", text)


def pull_fault(image, text):
    """The Fault for the message of a failed pull."""
    if DISK_FULL.search(text):
        return Fault("disk", f"the image {image} can't be stored: {text}")
    kind = "image" if IMAGE_REFUSED.search(text) else "registry"
    return Fault(kind, f"the image {image} can't be pulled: {text}")


def directory_fault(error):
    """The Fault of an OSError on the jobs' directories."""
    kind = "disk" if error.errno in DISK_ERRORS else "directory"
    return Fault(kind, f"the directory of jobs can't be used: {error}")


def free_bytes(directory):
    """What may still be written there. Raises OSError."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def check_disk(directory, least_bytes):
    """Raises Fault unless files can be written there, with so many bytes free."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"\0" * PROBE_BYTES)
            file.flush()
        free = free_bytes(directory)
    except OSError as error:
        raise directory_fault(error) from error
    if free < least_bytes:
        raise Fault("disk", f"{directory}: {free // MIB} MiB are free, of the {least_bytes // MIB} that must be")
