"""Optional arguments of a registration. An API of an earlier version refuses those that it doesn't know."""

import logging
import re

import click

from broadway_tools.grader.limits import CANCEL, FILES, optional_names
from broadway_tools.grader.server_errors import Refused

MOST_TAGS, MOST_TAG_BYTES = 32, 511
FAULT, MOST_FAULT_BYTES = "fault", 256
TAG = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger("grader")


def register(ask, optional):
    """What `ask(optional)` returns, without those of the arguments (a dict) that the server refuses by their name."""
    while True:
        try:
            return ask(optional)
        except Refused as error:
            unknown = [name for name in optional if error.status == 400 and re.search(rf"\b{name}\b", str(error))]
            if not unknown:
                raise
            _log_unknown(unknown, f" ({error})")
            optional = {name: value for name, value in optional.items() if name not in unknown}


def known(optional, headers):
    """Those of the arguments that the server's handshake names."""
    named = optional_names(headers)
    named |= {name for name, header in (("files", FILES), ("cancel", CANCEL)) if headers.get(header)}
    unknown = [name for name in optional if name not in named]
    _log_unknown(unknown)
    return {name: value for name, value in optional.items() if name in named}


def _log_unknown(unknown, why=""):
    level = logging.WARNING if "tags" in unknown else logging.INFO  # nobody has asked for the others
    if unknown:
        log.log(level, "the API does not know %s: registering without%s", ", ".join(unknown), why)


def fault_sentence(reason):
    """The argument that says why this machine can't run jobs: one line of bounded length; "" if `reason` is None."""
    line = " ".join("".join(c if c.isprintable() else " " for c in reason or "").split())
    return line.encode("utf-8", "replace")[:MOST_FAULT_BYTES].decode("utf-8", "ignore")


def tag_arguments(tags):
    """The arguments that state these tags. Raises UsageError."""
    for tag in tags:
        if not TAG.fullmatch(tag):
            raise click.UsageError(f"--tag {tag!r}: 1 to 64 letters, digits, '.', '_' and '-'")
    text = ",".join(dict.fromkeys(tags))
    if len(set(tags)) > MOST_TAGS or len(text) > MOST_TAG_BYTES:
        raise click.UsageError(f"--tag: {MOST_TAGS} names at most, and {MOST_TAG_BYTES} bytes with a comma between two")
    return {"tags": text} if tags else {}
