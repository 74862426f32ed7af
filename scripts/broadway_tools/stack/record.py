"""The files in a stack's directory: stack.json for users, processes.json for the stack commands."""

import json
import os
from dataclasses import asdict, dataclass

from broadway_tools import processes
from broadway_tools.files import write_private

DATABASE, API, SCHEDULER, GRADER = "database", "api", "scheduler", "grader"


@dataclass
class Member:
    """One process of a stack. The same fields are used to start, find and restart it."""

    name: str
    kind: str
    argv: list
    url: str
    cwd: str
    internal_url: str = None
    pid: int = None
    identity: str = None

    def is_alive(self):
        """Whether the started process still runs; false for a zombie."""
        return processes.is_alive(self.pid, self.identity)

    def start(self, directory):
        """Starts it, detached. BROADWAY_* of the caller's environment is the caller's, not this process's.

        The driver's counters would be a file in shared memory, which stays behind when the process is killed.
        """
        env = {name: value for name, value in os.environ.items() if not name.startswith("BROADWAY_")}
        env["MONGOC_DISABLE_SHM"] = "1"
        self.pid = processes.spawn(self.argv, self.log(directory), self.cwd, env)
        self.identity = processes.identity(self.pid)

    def log(self, directory):
        """Its log file."""
        return directory / f"{self.name}.log"


@dataclass
class Stack:
    """A recorded stack. `members` are in the order of their start: database, schedulers, replicas, graders."""

    directory: object
    mongodb_uri: str
    database: str
    cluster_token: str
    internal_token: str
    members: list

    def of_kind(self, kind):
        """The members of one kind, in the order of their numbers."""
        return [member for member in self.members if member.kind == kind]

    def is_running(self):
        """Whether any member runs."""
        return any(member.is_alive() for member in self.members)

    def save(self):
        """Writes both files, each atomically."""
        public = {
            "mongodb_uri": self.mongodb_uri,
            "database": self.database,
            "cluster_token": self.cluster_token,
            "internal_token": self.internal_token,
            "database_pid": next((member.pid for member in self.of_kind(DATABASE)), None),
            "api": [
                {"url": member.url, "internal_url": member.internal_url, "pid": member.pid}
                for member in self.of_kind(API)
            ],
            "scheduler": [{"url": member.url, "pid": member.pid} for member in self.of_kind(SCHEDULER)],
        }
        private = [asdict(member) for member in self.members]
        write_private(self.directory / "processes.json", json.dumps(private, indent=2) + "\n")
        write_private(self.directory / "stack.json", json.dumps(public, indent=2) + "\n")

    def forget(self):
        """Removes both files; data and logs are kept."""
        for name in ("stack.json", "processes.json"):
            (self.directory / name).unlink(missing_ok=True)


def load(directory):
    """The stack that is recorded in this directory, or None."""
    try:
        public = json.loads((directory / "stack.json").read_text(encoding="utf-8"))
        private = json.loads((directory / "processes.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Stack(
        directory=directory,
        mongodb_uri=public["mongodb_uri"],
        database=public["database"],
        cluster_token=public["cluster_token"],
        internal_token=public["internal_token"],
        members=[Member(**fields) for fields in private],
    )
