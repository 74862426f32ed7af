"""The system under test: a private database, schedulers and replicas of the preset `fault`, each with its own links,
which can pass through a proxy, and failpoints, which can be set while it runs."""

import json
import os
import random
import re
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pymongo
from broadway_tools import processes
from broadway_tools.files import write_private
from broadway_tools.stack.ports import free_ports

from broadway_faults.caller import fetch
from broadway_faults.proxy import Loop, Proxy

DATABASE = "broadway"
READY_S = 30
COURSES = {name: {"tokens": [f"admin-of-{name}"], "query_tokens": []} for name in ("cs-a", "cs-b")}
TOKENS = {"cluster": "fault-cluster-token", "internal": "fault-internal-token"}
STATE = 0
SHOWN = re.compile(r"shown this once: (\S+)")


class ClusterError(Exception):
    """The system did not become ready, or not ready again."""


@dataclass
class Plan:
    """The cluster that a row needs. Times in seconds."""

    replicas: int = 2
    schedulers: int = 1
    heartbeat: float = 0.5
    leader_lease: float = 1.5
    job_timeout: float = 8
    max_attempts: int = 3
    poll_wait: float = 2
    links: tuple = ()  # "db:NAME", "callbacks:NAME", "public:NAME": the links through a proxy
    api: dict = field(default_factory=dict)  # more flags
    scheduler: dict = field(default_factory=dict)
    shimmed: tuple = ()  # names of members that run with the shim of the clocks
    binaries: dict = field(default_factory=dict)  # member name -> directory, if other than the cluster's
    test_commands: bool = False
    oplog_entries: int = 20000  # the embedded database is slow once it has to trim it
    has_courses: bool = False
    gives_tokens: bool = True  # False: the processes store and read tokens in the database


@dataclass
class Member:
    """One process: its command and environment, and its state."""

    name: str
    argv: list
    env: dict
    url: str = None
    internal_url: str = None
    pid: int = None
    identity: str = None

    def is_alive(self):
        return self.pid is not None and processes.is_alive(self.pid, self.identity)

    def is_stopped(self):
        fields = processes._stat(self.pid)
        return fields is not None and fields[STATE] in ("T", "t")


class Cluster:
    """Everything under test, in one directory."""

    def __init__(self, directory, plan, binaries, shim):
        self.directory, self.plan, self.binaries, self.shim = Path(directory), plan, binaries, shim
        self.directory.mkdir(parents=True, exist_ok=True)
        self.loop = Loop()
        self.proxies = {}
        self.members = {}
        self._make_tokens()
        self._make_members()
        self.uri = f"mongodb://127.0.0.1:{self.db_port}/?directConnection=true"
        self.client = pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=5000, socketTimeoutMS=15000)

    # ---- Planning ----

    def _make_tokens(self):
        for name, token in TOKENS.items():
            write_private(self.directory / f"{name}-token", token + "\n")
        write_private(self.directory / "courses.json", json.dumps(COURSES))

    def _make_members(self):
        plan = self.plan
        ports = iter(free_ports(1 + plan.schedulers + 2 * plan.replicas))
        self.db_port = next(ports)
        self._add("database", self._database_argv(self.db_port), self._clock_env("database"))
        self.schedulers = [self._add_scheduler(f"scheduler-{n}", next(ports)) for n in range(plan.schedulers)]
        self.replicas = [self._add_replica(f"api-{n}", next(ports), next(ports)) for n in range(plan.replicas)]

    def _add(self, name, argv, env, **urls):
        self.members[name] = Member(name, [str(word) for word in argv], env, **urls)
        return self.members[name]

    def _database_argv(self, port):
        storage = self.directory / "database"
        storage.mkdir(exist_ok=True)
        server = os.path.join(sys.prefix, "bin", "secantusd-py")
        argv = [sys.executable, server, "--host", "127.0.0.1", "--port", port, "--storage-path", storage]
        argv += ["--oplog-max-entries", self.plan.oplog_entries, "--noop-heartbeat-seconds", 10]
        return argv + (["--enable-test-commands"] if self.plan.test_commands else [])

    def _binary(self, member, program):
        return self.plan.binaries.get(member, self.binaries) / program

    def _common_flags(self, name):
        link = f"db:{name}"
        port = self._proxied(link, self.db_port)
        return {
            "mongodb-uri": f"mongodb://127.0.0.1:{port}/?directConnection=true",
            "mongodb-database": DATABASE,
            "heartbeat-interval": self.plan.heartbeat,
            **self._token_flag("internal"),
        }

    def _token_flag(self, name):
        return {f"{name}-token-file": self.directory / f"{name}-token"} if self.plan.gives_tokens else {}

    @property
    def cluster_token(self):
        """The token for registrations; a generated one is read from the output of the replica that made it."""
        if self.plan.gives_tokens:
            return TOKENS["cluster"]
        return SHOWN.search("".join(self.log(member.name) for member in self.replicas)).group(1)

    def _proxied(self, link, port):
        """The port to use for `port`: that of a proxy if the plan has one on this link."""
        if link not in self.plan.links:
            return port
        self.proxies[link] = Proxy(self.loop, link, port)
        return self.proxies[link].port

    def _env(self, name):
        env = {
            "BROADWAY_FAILPOINT_FILE": str(self.directory / f"{name}.failpoints"),
            "MONGOC_DISABLE_SHM": "1",  # otherwise a killed process leaves a file behind
        }
        return {**env, **self._clock_env(name)}

    def _clock_env(self, name):
        if name not in self.plan.shimmed:
            return {}
        return {"LD_PRELOAD": str(self.shim), "FAULT_CLOCK_FILE": str(self.directory / f"{name}.clock")}

    def _add_scheduler(self, name, port):
        flags = {
            **self._common_flags(name),
            "metrics-port": port,
            "leader-lease": self.plan.leader_lease,
            "max-attempts": self.plan.max_attempts,
            "job-timeout": self.plan.job_timeout,
            **self.plan.scheduler,
        }
        argv = command_line(self._binary(name, "broadway-scheduler"), flags)
        return self._add(name, argv, self._env(name), url=f"http://127.0.0.1:{port}")

    def _add_replica(self, name, port, internal_port):
        called = self._proxied(f"callbacks:{name}", internal_port)
        public = self._proxied(f"public:{name}", port)
        flags = {
            **self._common_flags(name),
            **self._token_flag("cluster"),
            "port": port,
            "internal-port": internal_port,
            "internal-url": f"http://127.0.0.1:{called}",
            "poll-wait": self.plan.poll_wait,
            **({"course-config": self.directory / "courses.json"} if self.plan.has_courses else {}),
            **self.plan.api,
        }
        argv = command_line(self._binary(name, "broadway-api"), flags)
        internal = f"http://127.0.0.1:{internal_port}"
        return self._add(name, argv, self._env(name), url=f"http://127.0.0.1:{public}", internal_url=internal)

    # ---- Running ----

    def up(self):
        """Starts everything; returns when it is ready."""
        self.start("database")
        self.wait_database()
        for member in (*self.schedulers, *self.replicas):
            self.start(member.name)
        self.wait_ready()

    def start(self, name):
        """Starts a member (again)."""
        member = self.members[name]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BROADWAY_")}
        member.pid = processes.spawn(
            member.argv, self.directory / f"{name}.log", str(self.directory), {**kept, **member.env}
        )
        member.identity = processes.identity(member.pid)

    def wait_database(self, seconds=READY_S):
        def answers():
            try:
                return self.client.admin.command("ping")["ok"]
            except pymongo.errors.PyMongoError:
                return False

        wait_until(answers, seconds, "the database answers")

    def wait_ready(self, seconds=READY_S):
        """Waits until every running replica is ready, and one scheduler leads and is in contact with all of them."""
        wait_until(self.is_ready, seconds, "all is ready")

    def is_ready(self):
        alive = [member for member in self.replicas if member.is_alive()]
        leader = self.leading()
        if leader is None or any(fetch(m.internal_url, "GET", "/readyz", timeout_s=2).status != 200 for m in alive):
            return False
        known = {replica["id"]: replica for replica in leader.get("replicas", [])}
        return all(known.get(self._replica_id(m), {}).get("in_contact") for m in alive)

    @staticmethod
    def _replica_id(member):
        return next(word.partition("=")[2] for word in member.argv if word.startswith("--internal-url="))

    def readiness(self, member):
        """The readiness that a scheduler reports."""
        return fetch(member.url, "GET", "/readyz", timeout_s=2).json

    def leading(self):
        """The readiness of the leader; None if no scheduler leads and is ready."""
        for member in self.schedulers:
            if not member.is_alive() or member.is_stopped():
                continue
            said = self.readiness(member)
            is_leader = self.metric(member.name, "broadway_scheduler_is_leader") == 1
            if is_leader and said.get("role") == "leader" and said.get("status") == "ready":
                return {**said, "name": member.name}
        return None

    def leader_name(self, seconds=15):
        return wait_until(self.leading, seconds, "somebody leads")["name"]

    def standby_names(self, seconds=15):
        leader = self.leader_name(seconds)
        return [member.name for member in self.schedulers if member.name != leader]

    # ---- Faults ----

    def signal(self, name, number):
        member = self.members[name]
        if not member.is_alive():
            return
        os.kill(member.pid, number)
        if number == signal.SIGKILL:
            wait_until(lambda: not member.is_alive(), 10, f"{name} is gone")

    def set_failpoints(self, name, text):
        """Sets a member's failpoints, now and for its next start; "" for none."""
        write_private(self.directory / f"{name}.failpoints", text)

    def set_clock(self, name, **offsets):
        """Shifts the clocks of a member with the shim: realtime=, boottime= in seconds."""
        text = "".join(f"{clock} {seconds}\n" for clock, seconds in offsets.items())
        write_private(self.directory / f"{name}.clock", text)

    def metric(self, name, metric):
        """A metric of a member, or None."""
        member = self.members[name]
        answer = fetch(member.internal_url or member.url, "GET", "/metrics", timeout_s=3)
        for line in answer.text.splitlines():
            if line.startswith(metric + " ") or line.startswith(metric + "{"):
                return float(line.rpartition(" ")[2])
        return None

    def log(self, name):
        path = self.directory / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def heal(self):
        """Removes every fault and restarts members that do not run."""
        for proxy in self.proxies.values():
            proxy.heal()
        for name, member in self.members.items():
            if (self.directory / f"{name}.failpoints").exists():
                self.set_failpoints(name, "")
            if member.is_alive() and member.is_stopped():
                self.signal(name, signal.SIGCONT)
            if not member.is_alive():
                self.start(name)
                if name == "database":
                    self.wait_database()

    def down(self):
        """Stops everything immediately."""
        for member in reversed(list(self.members.values())):
            if member.is_alive():
                self.signal(member.name, signal.SIGKILL)
        for proxy in self.proxies.values():
            proxy.close()
        self.client.close()
        self.loop.close()


def command_line(program, flags):
    words = [program]
    for name, value in flags.items():
        words += [f"--{name}"] if value is True else [f"--{name}={value}"]
    return words


def wait_until(condition, seconds, what):
    """The first true value of `condition()`; ClusterError with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise ClusterError(f"after {seconds:g} s still not so: {what}")
        time.sleep(0.02)


def shuffled(names, seed):
    """The names in an order that depends on the seed."""
    names = list(names)
    random.Random(seed).shuffle(names)
    return names
