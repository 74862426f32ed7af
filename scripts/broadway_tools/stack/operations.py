"""Starts, stops and restarts a stack. A stack is recorded before its members run, so that `stack down` finds them
even if the command is killed."""

import subprocess

from broadway_tools import processes
from broadway_tools.files import BUILD, SCRIPTS
from broadway_tools.stack import readiness
from broadway_tools.stack.plan import plan
from broadway_tools.stack.record import API, DATABASE, GRADER, SCHEDULER, load

GRACE_S = 10
STOP_ORDER = (GRADER, API, SCHEDULER, DATABASE)
BINARIES = ("broadway-api", "broadway-scheduler")


class StackError(Exception):
    """The request can't be executed; the text has the reason."""


def up(wishes):
    """Starts a stack and returns it when it is ready. If that fails, nothing is left running."""
    wishes.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    former = load(wishes.directory)
    if former is not None and former.is_running():
        raise StackError(f"a stack runs in {wishes.directory} already; stop it with: stack down --state DIR")
    build_missing(wishes.preset)
    stack = plan(wishes)
    try:
        for member in servers(stack):
            start(stack, member)
            if member.kind == DATABASE:
                readiness.wait_listening(stack, member)
        readiness.wait_ready(stack, servers(stack))
        for grader in stack.of_kind(GRADER):
            start(stack, grader)
    except BaseException:
        with processes.uninterrupted():
            down(stack)
        raise
    return stack


def servers(stack):
    """All members with a URL."""
    return [member for member in stack.members if member.kind != GRADER]


def start(stack, member):
    """Starts a member, and records it."""
    with processes.uninterrupted():
        member.start(stack.directory)
        stack.save()


def build_missing(preset):
    """Builds the binaries of a preset, unless they exist."""
    if all((BUILD / preset / name).exists() for name in BINARIES):
        return
    if subprocess.run([SCRIPTS / "build", preset], check=False).returncode != 0:
        raise StackError(f"the preset {preset!r} is not built, and building it failed")


def down(stack):
    """Stops everything, callers before those they call. Returns the names of those that had to be killed."""
    killed = []
    for kind in STOP_ORDER:
        members = stack.of_kind(kind)
        pids = processes.stop([(member.pid, member.identity) for member in members], GRACE_S)
        killed += [member.name for member in members if member.pid in pids]
    stack.forget()
    return killed


def restart(stack, name):
    """Restarts the member `name` with its first command line, and returns when
    all running members are ready. If that fails, the member is stopped; the others keep running."""
    member = next((member for member in stack.members if member.name == name), None)
    if member is None:
        known = ", ".join(member.name for member in stack.members)
        raise StackError(f"there is no {name!r} in this stack; there is: {known}")
    processes.stop([(member.pid, member.identity)], GRACE_S)
    try:
        start(stack, member)
        readiness.wait_ready(stack, [member])
    except BaseException:
        with processes.uninterrupted():
            processes.stop([(member.pid, member.identity)], GRACE_S)
        raise
