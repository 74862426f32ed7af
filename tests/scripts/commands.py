"""The commands of `broadway` in this process, and a real stack with a course for them."""

import json
from dataclasses import dataclass

import click
from broadway.cli.main import cli, guarded
from stacks import Stack

COURSE = "cs225"
CLIENT_TOKEN, COURSE_TOKEN = "of-the-clients", "of-its-staff"
COURSES = {COURSE: {"tokens": [COURSE_TOKEN]}}
UNKNOWN_RUN = "f" * 24
UNKNOWN_JOB = f"{UNKNOWN_RUN}10000000"


@dataclass
class Done:
    """How a command has ended."""

    code: int
    out: str
    err: str

    def succeed(self):
        """Its output; fails the test unless it has exited with 0."""
        assert self.code == 0, (self.code, self.out, self.err)
        return self.out

    def says(self, code, *words):
        """Its last line on stderr, which has these words; nothing is on stdout, nor a traceback anywhere."""
        assert self.code == code and self.out == "" and "Traceback" not in self.err, (self.code, self.out, self.err)
        sentence = self.err.splitlines()[-1]
        assert sentence.startswith("broadway: ") and all(word in sentence for word in words), self.err
        return sentence


class Commands:
    """Runs commands with an environment of their own."""

    def __init__(self, capfdbinary, monkeypatch, directory):
        self._captured = capfdbinary
        for name in ("URL", "TOKEN", "CLUSTER_TOKEN", "COURSE", "PROFILE"):
            monkeypatch.delenv(f"BROADWAY_{name}", raising=False)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(directory))
        monkeypatch.chdir(directory)
        self.setenv = monkeypatch.setenv
        self.directory = directory

    def __call__(self, *arguments):
        """Runs a command to its end."""
        self._captured.readouterr()
        try:
            code = guarded(cli, "broadway", [str(word) for word in arguments])
        except SystemExit as ended:
            code = ended.code
        out, err = self._captured.readouterr()
        return Done(code or 0, out.decode(), err.decode())

    def write(self, name, content):
        """A file in the directory in which the commands run."""
        path = self.directory / name
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def use(self, server, course=False):
        """Later commands are for this server, as a client or as the course."""
        self.setenv("BROADWAY_URL", " ".join(server.urls))
        self.setenv("BROADWAY_TOKEN", COURSE_TOKEN if course else CLIENT_TOKEN)
        self.setenv("BROADWAY_COURSE", COURSE if course else "")
        self.setenv("BROADWAY_CLUSTER_TOKEN", server.cluster_token)


class Server(Stack):
    """A stack whose clients need a token."""

    def start(self, *arguments):
        """Starts it. On a loopback address clients would need no token."""
        courses = self.directory.parent / "courses.json"
        courses.write_text(json.dumps(COURSES))
        flags = {"client-token": CLIENT_TOKEN, "course-config": courses, "bind-address": "0.0.0.0"}
        self.succeed("up", *(f"--api-flag={name}={value}" for name, value in flags.items()), *arguments)

    @property
    def urls(self):
        return [replica["url"] for replica in self.described["api"]]

    @property
    def cluster_token(self):
        return self.described["cluster_token"]


def leaves(command=cli, path=()):
    """Yields (path, command) of each command that is no group."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    for name, child in sorted(command.commands.items()):
        yield from leaves(child, (*path, name))
