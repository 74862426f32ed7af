"""scripts/stack, as the tests call it."""

import json
import subprocess

import httpx
from conftest import SCRIPTS


class Stack:
    """One directory for scripts/stack."""

    def __init__(self, directory):
        self.directory = directory

    def __call__(self, command, *arguments):
        """Runs a command on the stack and waits for its end."""
        return subprocess.run(
            [str(word) for word in (SCRIPTS / "stack", command, "--state", self.directory, *arguments)],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def succeed(self, command, *arguments):
        """Runs a command that must exit with 0; returns its output."""
        done = self(command, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def described(self):
        return json.loads((self.directory / "stack.json").read_text(encoding="utf-8"))

    def pids(self):
        """{name: pid}"""
        described = self.described
        found = {"database": described["database_pid"]}
        for kind in ("api", "scheduler"):
            found |= {f"{kind}-{index}": member["pid"] for index, member in enumerate(described[kind])}
        return found

    def is_in_contact(self, index):
        """True if the leader is in contact with the current process of this replica."""
        process = readyz(self.described["api"][index]["internal_url"])["process"]
        reports = [readyz(scheduler["url"]) for scheduler in self.described["scheduler"]]
        [leader] = [report for report in reports if report["role"] == "leader"]
        return [row["in_contact"] for row in leader["replicas"] if row["process"] == process] == [True]


def readyz(url):
    answer = httpx.get(f"{url}/readyz", trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()
