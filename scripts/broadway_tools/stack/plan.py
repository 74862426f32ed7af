"""Plans a new stack: tokens, ports and command lines of all its members, before anything is started."""

import os
import secrets
import sys
from dataclasses import dataclass, field

from broadway_tools.files import BUILD, SCRIPTS, write_private
from broadway_tools.stack import flags
from broadway_tools.stack.ports import free_ports
from broadway_tools.stack.record import API, DATABASE, GRADER, SCHEDULER, Member, Stack

# SecantusDB writes three times slower with its default of 100,000, and no faster with less than this.
OPLOG_ENTRIES = 20000
OPLOG_HEARTBEAT_S = 10
GRADER_CONCURRENCY = 2


@dataclass
class Wishes:
    """The user's options of `stack up`. Flags as parsed by flags.parse."""

    directory: object
    preset: str = "release"
    replicas: int = 1
    schedulers: int = 1
    graders: int = 0
    mongodb_uri: str = None
    database: str = "broadway"
    api_flags: dict = field(default_factory=dict)
    scheduler_flags: dict = field(default_factory=dict)


def plan(wishes):
    """A Stack with nothing started yet. Writes the token files; raises flags.FlagError."""
    api_flags, scheduler_flags = dict(wishes.api_flags), dict(wishes.scheduler_flags)
    flags.share(api_flags, scheduler_flags)
    tokens = {name: _token(wishes.directory, name, api_flags, scheduler_flags) for name in flags.TOKENS}
    ports = iter(free_ports(1 + wishes.schedulers + 2 * wishes.replicas))
    members = []
    uri = wishes.mongodb_uri
    if uri is None:
        members.append(_database(wishes, next(ports)))
        # Each retryable write costs the embedded database a sort of the last 10,000 of them. Broadway repeats its
        # writes itself, with or without the driver's retries.
        uri = members[0].url + "/?replicaSet=secantus&retryWrites=false"
    common = {
        "mongodb-uri": uri,
        "mongodb-database": wishes.database,
        "internal-token-file": wishes.directory / "internal-token",
    }
    for index in range(wishes.schedulers):
        members.append(_scheduler(wishes, index, common, scheduler_flags, next(ports)))
    for index in range(wishes.replicas):
        members.append(_replica(wishes, index, common, api_flags, next(ports), next(ports)))
    urls = [member.url for member in members if member.kind == API]
    for index in range(wishes.graders):
        members.append(_grader(wishes, index, urls))
    return Stack(wishes.directory, uri, wishes.database, tokens["cluster-token"], tokens["internal-token"], members)


def _token(directory, name, *flag_sets):
    """The user's token, else the directory's existing one, else a new one; in the file that is passed on."""
    path = directory / name
    token = flags.take_token(name, *flag_sets)
    if token is None and path.exists():
        token = path.read_text(encoding="utf-8").strip()
    token = token or secrets.token_hex(24)
    write_private(path, token + "\n")
    return token


def _database(wishes, port):
    storage = wishes.directory / "database"
    storage.mkdir(exist_ok=True, mode=0o700)
    command = {
        "host": "127.0.0.1",
        "port": port,
        "storage-path": storage,
        "oplog-max-entries": OPLOG_ENTRIES,
        "noop-heartbeat-seconds": OPLOG_HEARTBEAT_S,
    }
    server = os.path.join(sys.prefix, "bin", "secantusd-py")
    argv = [sys.executable] + flags.command_line(server, command, {})
    # A directory of its own, so that it finds no unrelated secantusd.toml.
    return Member(DATABASE, DATABASE, argv, f"mongodb://127.0.0.1:{port}", cwd=str(wishes.directory))


def _scheduler(wishes, index, common, user, free_port):
    port = flags.numbered_port(user, "metrics-port", index, free_port)
    own = {**common, "metrics-bind-address": "127.0.0.1"}
    argv = flags.command_line(_binary(wishes, "broadway-scheduler"), own, {**user, "metrics-port": port})
    return Member(f"{SCHEDULER}-{index}", SCHEDULER, argv, f"http://127.0.0.1:{port}", cwd=os.getcwd())


def _replica(wishes, index, common, user, free_port, free_internal_port):
    port = flags.numbered_port(user, "port", index, free_port)
    internal_port = flags.numbered_port(user, "internal-port", index, free_internal_port)
    internal_url = f"http://127.0.0.1:{internal_port}"
    own = {
        **common,
        "cluster-token-file": wishes.directory / "cluster-token",
        "bind-address": "127.0.0.1",
        "internal-bind-address": "127.0.0.1",
        "internal-url": internal_url,
    }
    chosen = {**user, "port": port, "internal-port": internal_port}
    argv = flags.command_line(_binary(wishes, "broadway-api"), own, chosen)
    return Member(f"{API}-{index}", API, argv, f"http://127.0.0.1:{port}", cwd=os.getcwd(), internal_url=internal_url)


def _grader(wishes, index, urls):
    name = f"{GRADER}-{index}"
    argv = [sys.executable, SCRIPTS / "grader", "--runner", "process", "--concurrency", GRADER_CONCURRENCY]
    argv += ["--token-file", wishes.directory / "cluster-token", "--hostname", name]
    argv += ["--work-dir", wishes.directory / "jobs"]
    first = index % len(urls)
    for url in urls[first:] + urls[:first]:
        argv += ["--url", url]
    return Member(name, GRADER, [str(word) for word in argv], urls[first], cwd=str(wishes.directory))


def _binary(wishes, name):
    return BUILD / wishes.preset / name
