"""A stack is ready when its replicas answer, one scheduler leads, and it is in contact with every replica.

Only what runs is asked: what was killed, and is not yet started again, holds nobody up.
"""

import socket
import time
from urllib.parse import urlsplit

import httpx

from broadway_tools.files import last_lines
from broadway_tools.stack.record import API, DATABASE, GRADER, SCHEDULER

TIMEOUT_S = 60
ANSWER_S = 2
PAUSE_S = 0.05
# Replicas probe the database every two seconds, and report the last probe: within this time after a restart of the
# database, they may still report the state before it.
SETTLED_S = 3


class NotReady(Exception):
    """A process did not become ready; the text has the reason, with the end of a log."""


def wait_ready(stack, started, timeout_s=TIMEOUT_S):
    """Returns when all running members are ready, including `started`. Raises NotReady."""
    deadline = time.monotonic() + timeout_s
    settled_s = SETTLED_S if [member.kind for member in started] == [DATABASE] else 0
    ready_since = None
    with httpx.Client(timeout=ANSWER_S, trust_env=False) as client:
        while True:
            for member in started:
                if not member.is_alive():
                    raise NotReady(f"{member.name} has exited\n{_log(stack, member)}")
            blocker, why = _first_obstacle(stack, client, started)
            now = time.monotonic()
            if blocker is None:
                ready_since = ready_since or now
                if now - ready_since >= settled_s:
                    return
            else:
                ready_since = None
                if now > deadline:
                    raise NotReady(f"not ready after {timeout_s} s: {why}\n{_log(stack, blocker)}")
            time.sleep(PAUSE_S)


def wait_listening(stack, database, timeout_s=TIMEOUT_S):
    """Returns when the database accepts connections. Raises NotReady."""
    deadline = time.monotonic() + timeout_s
    while not accepts_connections(database.url):
        if not database.is_alive():
            raise NotReady(f"the database has exited\n{_log(stack, database)}")
        if time.monotonic() > deadline:
            raise NotReady(f"the database takes no connections after {timeout_s} s\n{_log(stack, database)}")
        time.sleep(PAUSE_S)


def is_ready(member):
    """Whether this member reports that it is ready. A running grader is ready."""
    if member.kind == GRADER:
        return member.is_alive()
    if member.kind == DATABASE:
        return accepts_connections(member.url)
    with httpx.Client(timeout=ANSWER_S, trust_env=False) as client:
        return _status(client, f"{_health_base(member)}/readyz") == 200


def accepts_connections(url):
    """Whether a process listens at this URL's address."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S):
            return True
    except OSError:
        return False


def _first_obstacle(stack, client, started):
    """(member, sentence) of a member that isn't ready yet, or (None, None)."""
    databases = stack.of_kind(DATABASE)
    if databases and not databases[0].is_alive():
        # No member can be ready without it; check only that the started members run.
        return _health_obstacle(started, client, "/healthz")
    if databases and not accepts_connections(databases[0].url):
        return databases[0], "the database doesn't accept connections"
    alive = [member for member in stack.members if member.is_alive()]
    blocker, why = _health_obstacle(alive, client, "/readyz")
    return (blocker, why) if blocker else _leader_obstacle(alive, client)


def _health_obstacle(members, client, path):
    for member in members:
        if member.kind in (API, SCHEDULER) and _status(client, f"{_health_base(member)}{path}") != 200:
            return member, f"{member.name} doesn't answer {path} with 200"
    return None, None


def _leader_obstacle(alive, client):
    schedulers = [member for member in alive if member.kind == SCHEDULER]
    if not schedulers:
        return None, None
    reports = [(member, _report(client, member)) for member in schedulers]
    leaders = [(member, report) for member, report in reports if report.get("role") == "leader"]
    if len(leaders) != 1:
        return schedulers[0], f"{len(leaders)} schedulers lead; it must be one"
    leader, report = leaders[0]
    in_contact = {row.get("process") for row in report.get("replicas", []) if row.get("in_contact")}
    for member in alive:
        # Compare the process, not the address: the scheduler may still list one that was killed.
        if member.kind == API and _report(client, member).get("process") not in in_contact:
            return leader, f"{leader.name} leads, but is not in contact with {member.name}"
    return None, None


def _health_base(member):
    return member.internal_url if member.kind == API else member.url


def _status(client, url):
    try:
        return client.get(url).status_code
    except httpx.HTTPError:
        return None


def _report(client, member):
    """The readiness report of a member; {} if it isn't ready."""
    try:
        answer = client.get(f"{_health_base(member)}/readyz")
        return answer.json() if answer.status_code == 200 else {}
    except (httpx.HTTPError, ValueError):
        return {}


def _log(stack, member):
    path = member.log(stack.directory)
    return f"the end of {path}:\n{last_lines(path)}"
