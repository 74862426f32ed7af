"""Real processes for tests: whole stacks by scripts/stack, and single processes."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from broadway import Api, ClassicGrader
from database import Database
from processes import is_running
from waiting import PATIENCE, PRESET, wait_until

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
BUILD = ROOT / "build" / PRESET
SANITIZER_REPORT = re.compile(
    r"ERROR: (Address|Leak|Thread|Memory)Sanitizer|: runtime error: |WARNING: ThreadSanitizer"
)

running_stacks = []


def clean_environment(**more):
    """The environment for processes of tests: without BROADWAY_* variables, and so that a killed process leaves nothing
    in shared memory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BROADWAY_")}
    return {**kept, "MONGOC_DISABLE_SHM": "1", **more}


def last_lines(path, count=40, width=400):
    """The end of a log as text."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line[:width] for line in lines[-count:])


def free_port():
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Stack:
    """One scripts/stack: up, down, killing and restarting its members."""

    def __init__(self, directory, replicas=1, schedulers=1, both=(), api=(), scheduler=(), mongodb_uri=None):
        self.directory = Path(directory)
        self.arguments = [f"--replicas={replicas}", f"--schedulers={schedulers}", f"--preset={PRESET}"]
        self.arguments += [f"--api-flag={flag}" for flag in (*both, *api)]
        self.arguments += [f"--scheduler-flag={flag}" for flag in (*both, *scheduler)]
        self.arguments += [f"--mongodb-uri={mongodb_uri}"] if mongodb_uri else []
        self.described = None
        self.apis = []
        self.database = None
        self.graders = []

    def up(self):
        """Starts everything and returns when it is ready."""
        self._run("up", *self.arguments)
        running_stacks.append(self)
        self._read_description()
        self.apis = [Api(replica["url"]) for replica in self.described["api"]]
        self.database = Database(self.described["mongodb_uri"], self.described["database"])
        return self

    def down(self):
        """Stops everything; then no log may hold a secret or the report of a sanitizer."""
        self.stop_graders()
        for api in self.apis:
            api.close()
        if self.database is not None:
            self.database.close()
        self._run("down")
        if self in running_stacks:
            running_stacks.remove(self)
        self.check_logs()

    def restart(self, name):
        """Starts the member `name` ("database", "api-0", "scheduler-0") again."""
        self._run("restart", name)
        self._read_description()

    def kill(self, name, number=signal.SIGKILL):
        """Sends a signal to a member; after SIGKILL, returns when it is gone."""
        pid = self.pid(name)
        os.kill(pid, number)
        if number == signal.SIGKILL:
            wait_until(lambda: not is_running(pid), 5, f"{name} is gone")

    def pid(self, name):
        """The pid of a member by its name."""
        if name == "database":
            return self.described["database_pid"]
        kind, _, index = name.partition("-")
        return self.described[kind][int(index)]["pid"]

    @property
    def api(self):
        """The first replica."""
        return self.apis[0]

    @property
    def cluster_token(self):
        return self.described["cluster_token"]

    @property
    def urls(self):
        """The URLs of all replicas, in order."""
        return [replica["url"] for replica in self.described["api"]]

    def grader(self, replica=0, **registration):
        """A registered grader of the classic protocol; closed with the test."""
        grader = ClassicGrader(self.urls[replica], self.cluster_token, **registration)
        self.graders.append(grader)
        return grader

    def stop_graders(self):
        """Closes all graders of this stack."""
        while self.graders:
            self.graders.pop().close()

    def drain(self):
        """Cancels all active runs, so that the next test starts with an empty queue."""
        deadline = time.monotonic() + 20 * PATIENCE
        broom = None
        while self.database.active_runs():
            assert time.monotonic() < deadline, "runs of an earlier test can't be brought to their end"
            broom = broom or self.grader(files="true")
            for lease in self.database.live_leases():
                ClassicGrader.known(self.urls[0], lease["worker"]).finish(lease["_id"][:32], "swept up")
            job = broom.poll(wait=0)
            if job is not None:
                broom.finish(job, "swept up")

    def log_paths(self):
        """The logs of all members."""
        return sorted(self.directory.glob("*.log"))

    def log_text(self):
        """The text of all members' logs so far."""
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in self.log_paths())

    def check_logs(self):
        """Raises if a log holds a token or the report of a sanitizer."""
        text = self.log_text()
        for name in ("cluster_token", "internal_token"):
            assert self.described[name] not in text, f"the {name} stands in a log of {self.directory}"
        report = SANITIZER_REPORT.search(text)
        assert report is None, f"a sanitizer has spoken:\n{text[report.start() : report.start() + 4000]}"

    def _read_description(self):
        self.described = json.loads((self.directory / "stack.json").read_text(encoding="utf-8"))

    def _run(self, command, *arguments):
        argv = [str(SCRIPTS / "stack"), command, *arguments, "--state", str(self.directory)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=170, check=False, env=clean_environment())
        if done.returncode != 0:
            logs = "\n".join(f"== {path.name}\n{last_lines(path, 15)}" for path in self.log_paths())
            raise RuntimeError(f"{' '.join(argv)}\nexit {done.returncode}\n{done.stdout}{done.stderr}\n{logs}")


def run_stack(tmp_path_factory, name, **options):
    """Starts a stack and stops it at the end, for fixtures of any scope."""
    stack = Stack(tmp_path_factory.mktemp(name), **options).up()
    try:
        yield stack
    finally:
        stack.down()


class Process:
    """A single binary as a child process, with its exit status and output; `prefix` is a command that runs it, such as
    prlimit."""

    def __init__(self, name, *flags, log, env=None, prefix=()):
        self.log = Path(log)
        with open(self.log, "ab") as output:
            self.child = subprocess.Popen(
                [*prefix, str(BUILD / name), *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean_environment(**(env or {})),
            )

    def wait(self, seconds):
        """Its exit status within `seconds`."""
        return self.child.wait(seconds * PATIENCE)

    def terminate(self):
        self.child.send_signal(signal.SIGTERM)

    def said(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end(self):
        """Kills the process if it still runs."""
        if self.child.poll() is None:
            self.terminate()
            try:
                self.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
                raise


class Replica(Process):
    """One more broadway-api for a stack, with its own flags, on the stack's database server. Its environment has the
    stack's tokens, except the variables in `without`."""

    def __init__(self, stack, log, *flags, database=None, env=None, without=(), prefix=()):
        self.port, self.internal_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.internal_url = f"http://127.0.0.1:{self.internal_port}"
        tokens = {
            "BROADWAY_CLUSTER_TOKEN": stack.cluster_token,
            "BROADWAY_INTERNAL_TOKEN": stack.described["internal_token"],
        }
        super().__init__(
            "broadway-api",
            f"--mongodb-uri={stack.described['mongodb_uri']}",
            f"--mongodb-database={database or stack.described['database']}",
            f"--port={self.port}",
            f"--internal-port={self.internal_port}",
            *flags,
            log=log,
            env={name: value for name, value in {**tokens, **(env or {})}.items() if name not in without},
            prefix=prefix,
        )
        self.api = Api(self.url)
        self.internal = Api(self.internal_url)

    def wait_ready(self):
        """Waits until /readyz answers 200; returns itself."""
        wait_until(self.is_ready, 15, "the replica is ready")
        return self

    def end(self):
        self.api.close()
        self.internal.close()
        super().end()

    def is_ready(self):
        """Whether /readyz answers 200 now."""
        assert self.child.poll() is None, f"broadway-api ended at its start:\n{last_lines(self.log)}"
        return self.internal.answers(200, "GET", "/readyz")
