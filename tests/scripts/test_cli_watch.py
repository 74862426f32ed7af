"""`broadway run watch` in a terminal of 80x24 by tmux: one screen, through restarts and a change of leader."""

import os
import re
import shlex
import signal
import subprocess
import sys

import httpx
import pytest
from broadway import Client
from commands import CLIENT_TOKEN, Server
from conftest import SCRIPTS
from processes import wait_until
from stacks import readyz

STUDENTS = 2000
pytestmark = pytest.mark.timeout(300)
# What clears a screen or a line before it is written again: on a terminal that flickers.
ERASES = re.compile(rb"\x1b\[[0-3]?J|\x1b\[[0-2]?K")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("watch") / "stack")
    try:
        server.start("--replicas=2", "--schedulers=2")
        yield server
    finally:
        server.succeed("down")


class Terminal:
    """A tmux of its own with one window of 80x24, whose output is recorded."""

    def __init__(self, directory):
        self._socket = directory / "tmux"
        self.recording = directory / "recording"

    def tmux(self, *words):
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", "/dev/null", *words],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout

    def start(self, command, environment):
        assignments = [f"{name}={value}" for name, value in environment.items()]
        line = shlex.join(["env", *assignments, *map(str, command)])
        ended = self.recording.with_name("ended")
        # The recording begins before the command: it waits for a line.
        self.tmux("new-session", "-d", "-x", "80", "-y", "24", f"read _; {line}; echo $? >{ended}; read _")
        self.tmux("pipe-pane", f"cat >{self.recording}")
        self.tmux("send-keys", "Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p").rstrip("\n")

    def shows(self, words, seconds=90):
        """Waits until the words are on the screen; returns it."""
        return wait_until(lambda: screen if words in (screen := self.screen()) else "", f"{words} is shown", seconds)

    def exit_code(self, seconds=90):
        ended = self.recording.with_name("ended")
        return wait_until(lambda: ended.exists() and ended.read_text().strip(), "the command has ended", seconds)

    def close(self):
        self.tmux("kill-server")


@pytest.fixture
def terminal(tmp_path):
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


class Grader:
    """A grader of the classic protocol by plain requests; every third student fails."""

    def __init__(self, server):
        self._urls = server.urls
        self._http = httpx.Client(trust_env=False, timeout=30)
        self._id = self._ask("GET", "worker_register", params={"token": server.cluster_token}).json()["worker_id"]

    def _ask(self, method, path, **request):
        def answered():
            for url in self._urls:
                try:
                    answer = self._http.request(method, f"{url}/api/v1/{path}", **request)
                except httpx.TransportError:
                    continue
                if answer.status_code < 500 and answer.status_code != 498:
                    return answer
            return None

        return wait_until(answered, f"{path} is answered", 60)

    def grade(self, count):
        for _ in range(count):
            job = self._ask("GET", "grading_job", params={"worker_id": self._id, "wait": 5}).json()
            number = int(job["job_id"][-7:], 16)
            body = {"worker_id": self._id, "result": {"n": number}, "success": number % 3 != 0}
            assert self._ask("POST", f"grading_job/{job['job_id']}", json=body).status_code == 200


def watch(terminal, server, run):
    command = [sys.executable, SCRIPTS / "broadway", "run", "watch", run]
    terminal.start(
        command,
        {"BROADWAY_URL": ",".join(server.urls), "BROADWAY_TOKEN": CLIENT_TOKEN, "TERM": "xterm-256color"},
    )


def leader(server):
    reports = {member["pid"]: readyz(member["url"])["role"] for member in server.described["scheduler"]}
    return next(pid for pid, role in reports.items() if role == "leader")


def submit(client, students):
    stages = [{"image": "any"}]
    run = client.submit({"student_pipeline": stages, "students": [{"NETID": f"s{n}"} for n in range(students)]})
    client.start(run)
    return run


def test_one_screen_of_2000_jobs_through_restarts_and_a_change_of_leader(server, terminal):
    with Client(server.urls, CLIENT_TOKEN) as client:
        run = submit(client, STUDENTS)
        grader = Grader(server)
        watch(terminal, server, run)
        screen = terminal.shows(f"0/{STUDENTS}")
        assert run in screen and "2000 queued" in screen
        grader.grade(30)
        screen = terminal.shows(f"30/{STUDENTS}")
        assert "failed (10)" in screen and "NETID=s0" in screen and "student's fault" in screen
        assert len(screen.splitlines()) <= 24 and max(map(len, screen.splitlines())) <= 80

        os.kill(leader(server), signal.SIGKILL)
        for index in range(2):
            server.succeed("restart", f"api-{index}")
        grader.grade(30)
        terminal.shows(f"60/{STUDENTS}", 90)

        client.cancel(run)
        assert terminal.exit_code() == "1"
        assert f"cancelled: {STUDENTS}/{STUDENTS} done" in terminal.shows("cancelled: ")
    recorded = terminal.recording.read_bytes()
    inside = recorded[recorded.index(b"\x1b[?1049h") : recorded.index(b"\x1b[?1049l")]
    # The screen is cleared once, when it is opened; later frames are written over the earlier ones.
    assert inside.count(b"\x1b[H") > 5
    assert len(ERASES.findall(inside)) <= 1, ERASES.findall(inside)


def test_without_any_server_it_keeps_the_screen_and_says_so(server, terminal):
    with Client(server.urls, CLIENT_TOKEN) as client:
        run = submit(client, 3)
        watch(terminal, server, run)
        terminal.shows("0/3")
        pids = [replica["pid"] for replica in server.described["api"]]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            screen = terminal.shows("doesn't answer")
            assert "0/3" in screen
        finally:
            for index in range(2):
                server.succeed("restart", f"api-{index}")
        wait_until(lambda: "doesn't answer" not in terminal.screen(), "it has found them", 90)
        client.cancel(run)
        assert terminal.exit_code() == "1"


def test_ctrl_c_detaches(server, terminal):
    with Client(server.urls, CLIENT_TOKEN) as client:
        run = submit(client, 3)
        watch(terminal, server, run)
        terminal.shows("0/3")
        terminal.tmux("send-keys", "C-c")
        assert terminal.exit_code() == "130"
        assert "detached: the run goes on" in terminal.screen()
        assert client.status(run).state == "students"
        client.cancel(run)


def test_submit_wait_offers_to_cancel(server, terminal, tmp_path):
    definition = tmp_path / "run.json"
    definition.write_text('{"student_pipeline": [{"image": "any"}], "students": [{}]}')
    command = [sys.executable, SCRIPTS / "broadway", "run", "submit", definition, "--wait"]
    terminal.start(command, {"BROADWAY_URL": server.urls[0], "BROADWAY_TOKEN": CLIENT_TOKEN, "TERM": "xterm"})
    terminal.shows("0/1")
    terminal.tmux("send-keys", "C-c")
    terminal.shows("Cancel the run, or detach")
    terminal.tmux("send-keys", "c", "Enter")
    assert terminal.exit_code() == "1"
    run = re.search(r"^[0-9a-f]{24}$", terminal.screen(), re.MULTILINE)[0]
    with Client(server.urls, CLIENT_TOKEN) as client:
        assert client.status(run).state == "cancelled"
