"""The command lines of a stack's processes: the stack's flags, and the user's, which take precedence."""

import re
from pathlib import Path

# The stack sets these for all its processes, or writes them into stack.json.
DECIDED_BY_STACK = {
    "mongodb-uri": "give --mongodb-uri to the stack itself",
    "mongodb-database": "give --database to the stack itself",
    "internal-url": "it follows from --internal-port",
}
PORTS = ("port", "internal-port", "metrics-port")
TOKENS = ("cluster-token", "internal-token")
SHARED = "heartbeat-interval"


class FlagError(Exception):
    """A flag that can't be passed on; the text has the reason."""


def parse(words):
    """["heartbeat-interval=1", "--allow-privileged"] → {name: value, or None for a flag without one}."""
    flags = {}
    for word in words:
        name, separator, value = _split(word)
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise FlagError(f"{word!r} is not a flag: write NAME=VALUE or --NAME=VALUE")
        if name in DECIDED_BY_STACK:
            raise FlagError(f"--{name} can't be passed on: {DECIDED_BY_STACK[name]}")
        if name in PORTS and not value.isdigit():
            raise FlagError(f"--{name} must be a number, not {value!r}")
        flags[name] = value if separator else None
    return flags


def share(api_flags, scheduler_flags):
    """Both binaries need the same heartbeat interval: if it is given for one, it is used for the other."""
    both = {**scheduler_flags, **api_flags}
    if SHARED in both:
        api_flags.setdefault(SHARED, both[SHARED])
        scheduler_flags.setdefault(SHARED, both[SHARED])


def take_token(name, *flag_sets):
    """Removes --NAME and --NAME-file from every set, and returns the token they gave, or None."""
    token = None
    for flags in flag_sets:
        path = flags.pop(f"{name}-file", None)
        if path is not None:
            token = _read_token(name, path)
        token = flags.pop(name, None) or token
    return token


def command_line(binary, own, user):
    """[binary, --name=value, ...]; the user's flags precede the stack's."""
    merged = {**own, **user}
    return [str(binary)] + [_word(name, value) for name, value in merged.items()]


def numbered_port(user, name, index, free_port):
    """The port of process number `index`: counted up from the user's, else `free_port`."""
    return int(user[name]) + index if name in user else free_port


def _split(word):
    name, separator, value = re.match(r"([^=\s]*)([=\s]?)(.*)", word, re.DOTALL).groups()
    return (name[2:] if name.startswith("--") else name), separator, value


def _word(name, value):
    return f"--{name}" if value is None else f"--{name}={value}"


def _read_token(name, path):
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise FlagError(f"--{name}-file: {error}") from error
