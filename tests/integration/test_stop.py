"""A replica that is stopped at many moments while its database is paused: nothing in use is freed, and everything
answered with 200 is stored."""

import contextlib
import json
import os
import signal
import socket
import threading
import time

import httpx
import pytest
from broadway import ROUTE, Api, ClassicGrader
from bson import ObjectId
from course import Course, config_of
from course_names import bearer, unique
from event_stream import EventStream
from harness import SANITIZER_REPORT, Process, free_port, last_lines, run_stack
from hostile import dial
from pipelines import run_of
from processes import cpu_seconds
from socket_grader import SocketGrader
from waiting import PATIENCE, wait_until

COURSES = {"cs225": {"tokens": ["admin-of-cs225"]}}
SOCKETS = 8
GRACE_S = 6
SLACK_S = 10  # the driver's own time-outs, while connections are closed
FLAGS = ("--heartbeat-interval=1", "--course-poll-wait=0", f"--grace={int(GRACE_S * PATIENCE)}")
ADMIN = COURSES["cs225"]["tokens"][0]
READERS = 4
LOGS = {"stdout": "some output\n" * 50, "stderr": "and more\n"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A separate stack, since its database is paused repeatedly."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    yield from run_stack(
        tmp_path_factory,
        "stop",
        both=("heartbeat-interval=1",),
        api=(f"course-config={config}", "course-poll-wait=0"),
        scheduler=("max-attempts=10",),
    )


@pytest.fixture(scope="module")
def long_run(alone):
    """A classic run whose status with results is longer than the kernel's socket buffers."""
    jobs = 8
    run = alone.api.submit_and_start(run_of(jobs))
    grader = alone.grader()
    for _ in range(jobs):
        grader.finish(grader.take(), "x" * 1_500_000)
    assert alone.api.wait_over(run)["state"] == "finished"
    return run


class Database:
    """The stack's database, which can be paused for a while."""

    def __init__(self, stack):
        self.pid = stack.pid("database")

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)
        return self

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def resume_after(self, seconds):
        threading.Timer(seconds, self.resume).start()

    def __exit__(self, *_):
        self.resume()


class Load:
    """Websocket, HTTP and classic graders that all hold a job, clients that submit runs and read a long status, and an
    open event stream; each on its own thread after `let_loose`. Records everything that was answered with 200."""

    def __init__(self, stack, replica, long_run):
        self.stack, self.replica = stack, replica
        self.token = stack.cluster_token
        self.stored = []  # jobs whose result was answered 200
        self.registered = []
        self.submitted = []  # runs
        self.threads = []
        self.sockets = [SocketGrader(replica.url, self.token) for _ in range(SOCKETS)]
        course = Course(replica.url)
        try:
            self.assignment = course.configure(config_of())
            run = course.start(self.assignment, 2 * SOCKETS)
        finally:
            course.close()
        self.jobs = [each.take(30)["grading_job_id"] for each in self.sockets]
        self.http = [self.polling_grader() for _ in range(SOCKETS)]
        self.classic = [self.classic_grader() for _ in range(2)]
        self.stream = EventStream(replica.url, ADMIN, f"{ROUTE}/stream/cs225/run/{run}")
        self.long_path = f"{ROUTE}/grading_run/{long_run}?results=true"
        self.readers = [self.open_long_answer() for _ in range(READERS)]

    def polling_grader(self):
        """Registers a grader that takes a job; returns (name, job)."""
        name = unique("worker")
        with httpx.Client(base_url=self.replica.url + ROUTE, timeout=30, headers=bearer(self.token)) as client:
            assert client.post(f"/worker/{name}", json={"hostname": "host"}).status_code == 200
            answer = wait_until(lambda: self.poll(client, name), 15, "a job")
        return name, answer.json()["data"]["grading_job_id"]

    def classic_grader(self):
        """(grader, job)."""
        self.stack.api.submit_and_start(run_of(1))
        grader = ClassicGrader(self.replica.url, self.token)
        return grader, grader.take(15)["job_id"]

    def open_long_answer(self):
        """A connection on which a long status has begun and is blocked, since it is not read."""
        link = dial(self.replica.url, timeout=30)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        link.sendall(f"GET {self.long_path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert link.recv(1) == b"H"
        return link

    @staticmethod
    def poll(client, name):
        answer = client.get(f"/grading_job/{name}")
        return answer if answer.status_code == 200 else None

    def let_loose(self):
        """Starts all threads at once."""
        for each, job in zip(self.sockets, self.jobs, strict=True):
            self.start(each.finish, job, logs=LOGS)
        for name, job in self.http:
            self.start(self.send_result, name, job)
        for grader, job in self.classic:
            self.start(self.send_classic_result, grader, job)
        for number in range(4):
            self.start(self.register_by_http)
            self.start(self.register_by_socket)
            self.start(self.submit)
            self.start(self.submit_classic, number % 2 * 5000)
        for link in self.readers:
            self.start(self.read_long_answer, link)
        self.start(lambda: self.read_long_answer(self.open_long_answer()))
        self.start(self.stream.rest, 30)

    def send_result(self, name, job):
        body = {"grading_job_id": job, "success": True, "results": [{"score": 1}], "logs": LOGS}
        if self.post(f"/grading_job/{name}", body) == 200:
            self.stored.append(job)

    def send_classic_result(self, grader, job):
        if grader.finish_response(job, {"score": 1}, logs=LOGS).status_code == 200:
            self.stored.append(job)

    def register_by_http(self):
        name = unique("late")
        if self.post(f"/worker/{name}", {"hostname": "host"}) == 200:
            self.registered.append(name)

    def register_by_socket(self):
        name = unique("late-socket")
        SocketGrader(self.replica.url, self.token, name)
        self.registered.append(name)

    def submit(self):
        body = {"students_env": [{"netid": "a"}]}
        answer = self.post_for_answer(f"/grading_run/cs225/{self.assignment}", body, ADMIN)
        if answer.status_code == 200:
            self.submitted.append(answer.json()["data"]["grading_run_id"])

    def submit_classic(self, padding):
        """With a long text the definition is stored separately, before its run."""
        answer = self.post_for_answer("/grading_run", run_of(1, env={"PADDING": "x" * padding}), ADMIN)
        if answer.status_code == 200:
            self.submitted.append(answer.json()["id"])

    @staticmethod
    def read_long_answer(link):
        with link:
            while link.recv(65536):
                pass

    def post_for_answer(self, path, body, token):
        return httpx.post(self.replica.url + ROUTE + path, json=body, timeout=30, headers=bearer(token))

    def post(self, path, body):
        return self.post_for_answer(path, body, self.token).status_code

    def start(self, function, *arguments, **more):
        def run():
            try:
                function(*arguments, **more)
            except Exception:  # the replica ends: a request without an answer is not acknowledged
                pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)

    def join(self):
        for thread in self.threads:
            thread.join(40)

    def close(self):
        self.stream.close()
        for grader, _ in self.classic:
            grader.close()
        for each in self.sockets:
            self.start(each.abort)


def stop_under_load(stack, make_replica, long_run, before_stop_s, standstill_s):
    """Pauses the database, starts the load, sends SIGTERM, and resumes the database. Returns how long the shutdown
    took, in seconds."""
    replica = make_replica(stack, *FLAGS).wait_ready()
    load = Load(stack, replica, long_run)
    with Database(stack) as database:
        load.let_loose()
        time.sleep(before_stop_s)  # the tested moment
        database.resume_after(standstill_s)
        took, _ = stop(replica)
    load.join()
    load.close()
    wait_until(lambda: answers(stack), 20, "the database answers again")
    check_kept(stack.database.db.job_results, load.stored)
    check_kept(stack.database.db.workers, load.registered)
    check_kept(stack.database.db.grading_runs, [ObjectId(run) for run in load.submitted])
    return took


def check_kept(collection, ids):
    """Checks that each acknowledged request has its document."""
    kept = {row["_id"] for row in collection.find({"_id": {"$in": ids}}, {"_id": 1})}
    assert set(ids) <= kept


def stop(replica):
    """Sends SIGTERM; returns (seconds until the end, CPU seconds used). The exit status must be 0."""
    asked, used = time.monotonic(), cpu_seconds(replica.child.pid)
    replica.terminate()
    wait_until(lambda: has_ended(replica), GRACE_S + SLACK_S, "it ends")
    took, used = time.monotonic() - asked, cpu_seconds(replica.child.pid) - used
    assert replica.child.wait() == 0, last_lines(replica.log)
    report = SANITIZER_REPORT.search(replica.said())
    assert report is None, replica.said()[report.start() : report.start() + 6000]
    return took, used


def has_ended(replica):
    status = os.waitid(os.P_PID, replica.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return status is not None


def answers(stack):
    try:
        return stack.database.db.command("ping")
    except Exception:
        return None


@pytest.mark.parametrize(
    ("before_stop_s", "standstill_s"), [(0, 0), (0, 0.4), (0.02, 0.1), (0.02, 1.5), (0.2, 0.7), (0.2, 4)]
)
def test_a_stop_at_any_moment_frees_nothing_in_use_and_loses_nothing_acknowledged(
    alone, make_replica, long_run, before_stop_s, standstill_s
):
    took = stop_under_load(alone, make_replica, long_run, before_stop_s, standstill_s)
    assert took < (GRACE_S + SLACK_S) * PATIENCE


@pytest.mark.parametrize("standstill_s", [0, 2])
@pytest.mark.parametrize("before_stop_s", [0, 0.03, 0.1, 0.3])
def test_a_stop_during_the_start_exits_cleanly(alone, make_replica, before_stop_s, standstill_s):
    """Its database may be paused before the start; clients and graders connect as soon as a port is open."""
    with Database(alone) if standstill_s else contextlib.nullcontext() as database:
        replica = make_replica(alone, *FLAGS)
        with calling(alone, replica):
            wait_until(lambda: takes_signals_itself(replica.child.pid), 10, "it takes signals by itself")
            time.sleep(before_stop_s)  # the tested moment
            if standstill_s:
                database.resume_after(standstill_s)
            took, _ = stop(replica)
    wait_until(lambda: answers(alone), 20, "the database answers again")
    assert took < (GRACE_S + SLACK_S) * PATIENCE


@contextlib.contextmanager
def calling(stack, replica):
    """Runs clients and graders until the end of the block."""
    over = threading.Event()
    callers = [threading.Thread(target=call, args=(stack, replica, which, over), daemon=True) for which in range(4)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        over.set()
        for caller in callers:
            caller.join(40)


def call(stack, replica, which, over):
    """Sends a registration by websocket and by HTTP, a submission and a status request, and ignores their outcome."""
    headers = bearer(stack.cluster_token)
    while not over.is_set():
        with contextlib.suppress(Exception):
            if which == 0:
                SocketGrader(replica.url, stack.cluster_token).abort()
            elif which == 1:
                httpx.post(f"{replica.url}{ROUTE}/worker/{unique('early')}", json={"hostname": "host"}, headers=headers)
            elif which == 2:
                httpx.post(f"{replica.url}{ROUTE}/grading_run", json=run_of(1))
            else:
                httpx.get(f"{replica.internal_url}/readyz")
        time.sleep(0.005)  # leaves CPU time to the process


def takes_signals_itself(pid):
    """True if the process has blocked SIGTERM and waits for it. That mask is not visible while it waits, but SIGUSR1
    is, which it ignores from the next moment on."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        ignored = next(line for line in status if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1)


def test_a_stop_while_the_database_is_unavailable_uses_no_cpu(alone, make_replica):
    """Results whose leases can't be read are retried, during a shutdown no faster than before."""
    replica = make_replica(alone, *FLAGS).wait_ready()
    sockets = [SocketGrader(replica.url, alone.cluster_token) for _ in range(SOCKETS)]
    with Database(alone):
        wait_until(lambda: replica.internal.answers(503, "GET", "/readyz"), 10, "it knows that the database is away")
        for socket in sockets:
            socket.finish(os.urandom(12).hex() + "10000000")
        took, used = stop(replica)
    assert took < (GRACE_S + SLACK_S) * PATIENCE
    assert used < 0.5 * PATIENCE
    for socket in sockets:
        socket.abort()


@pytest.fixture(params=["broadway-api", "broadway-scheduler"])
def make_leaver(request, alone, make_replica, tmp_path):
    """Starts one of the binaries for the stack with the given flags, and returns when it serves."""
    if request.param == "broadway-api":
        yield lambda *flags: make_replica(alone, *flags).wait_ready()
        return
    started = []

    def make(*flags):
        port = free_port()
        uri = f"--mongodb-uri={alone.described['mongodb_uri']}"
        database = f"--mongodb-database={alone.described['database']}"
        started.append(
            Process(request.param, uri, database, f"--metrics-port={port}", *flags, log=tmp_path / "scheduler.log")
        )
        api = Api(f"http://127.0.0.1:{port}")
        wait_until(lambda: api.answers(200, "GET", "/readyz"), 15, "it is ready")
        api.close()
        return started[-1]

    yield make
    for process in started:
        process.end()


def test_a_second_signal_ends_any_waiting_process_at_once(alone, make_leaver):
    """Also when it has completed its requests and closes its connections, for which it needs the database."""
    process = make_leaver("--grace=60")
    with Database(alone):
        process.terminate()
        time.sleep(0.6)  # longer than completing the requests, shorter than the driver's time-outs
        asked = time.monotonic()
        process.terminate()
        status = process.wait(10)
    assert time.monotonic() - asked < 1 * PATIENCE
    assert status == 128 + signal.SIGTERM, last_lines(process.log)


def test_a_stop_takes_at_most_the_grace_period(alone, make_leaver):
    process = make_leaver("--grace=1")
    with Database(alone):
        asked = time.monotonic()
        process.terminate()
        status = process.wait(20)
        took = time.monotonic() - asked
    assert status == 0 and took < 1 + 1 * PATIENCE, last_lines(process.log)


def test_a_second_signal_ends_a_start_that_waits_for_its_database(alone, tmp_path):
    """While it searches for the database it does not check for signals."""
    with Database(alone):
        flags = (f"--port={free_port()}", f"--internal-port={free_port()}", "--grace=60")
        uri = f"--mongodb-uri={alone.described['mongodb_uri']}"
        process = Process("broadway-api", uri, *flags, log=tmp_path / "log")
        wait_until(lambda: "waiting for the database" in process.said(), 20, "it waits")
        process.terminate()
        time.sleep(0.6)  # as above
        asked = time.monotonic()
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM
        assert time.monotonic() - asked < 1 * PATIENCE


@pytest.mark.parametrize("name", ["broadway-api", "broadway-scheduler"])
def test_an_unread_log_does_not_delay_a_stop(alone, tmp_path, name):
    """Every thread that writes a line blocks, including the signals' thread; the grace period ends nevertheless."""
    log = tmp_path / "log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    port = free_port()
    flags = {
        "broadway-api": (f"--port={free_port()}", f"--internal-port={port}"),
        "broadway-scheduler": (f"--metrics-port={port}",),
    }[name]
    database = (f"--mongodb-uri={alone.described['mongodb_uri']}", "--mongodb-database=unread")
    process = Process(name, *database, *flags, "--grace=1", log=log)
    api = Api(f"http://127.0.0.1:{port}")
    wait_until(lambda: api.answers(200, "GET", "/readyz"), 15, "it is ready")
    api.close()
    filler = os.open(log, os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(filler, b"x")
    asked = time.monotonic()
    process.terminate()
    status = process.wait(20)
    assert time.monotonic() - asked < 2 + 1 * PATIENCE
    assert status == 0
    os.close(filler)
    os.close(reader)
