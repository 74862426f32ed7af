"""Paths of the project, and files that are written atomically."""

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
SCRIPTS = ROOT / "scripts"


def write_private(path, text):
    """Replaces `path` atomically; only its owner can read it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def last_lines(path, count=20, width=300):
    """The last lines of a log, indented, each cut to `width`; a sentence if there are none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except OSError:
        lines = []
    return "\n".join(f"  | {line[:width]}" for line in lines) or "  | (nothing was written)"
