"""A replica that is asked to leave at many moments, while its database stands still: nothing is freed that is in use,
and what was answered 200 is stored."""

import json
import os
import signal
import threading
import time

import httpx
import pytest
from broadway import ROUTE, Api
from course import Course, config_of
from course_names import bearer, unique
from harness import SANITIZER_REPORT, Process, free_port, last_lines, run_stack
from processes import cpu_seconds
from socket_grader import SocketGrader
from waiting import PATIENCE, wait_until

COURSES = {"cs225": {"tokens": ["admin-of-cs225"]}}
SOCKETS = 8
GRACE_S = 6
SLACK_S = 10  # the driver's own time-outs, while connections are closed
FLAGS = ("--heartbeat-interval=1", "--course-poll-wait=0", f"--grace={GRACE_S}")
LOGS = {"stdout": "some output\n" * 50, "stderr": "and more\n"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A stack of its own, since its database is stopped again and again."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    yield from run_stack(
        tmp_path_factory,
        "stop",
        both=("heartbeat-interval=1",),
        api=(f"course-config={config}", "course-poll-wait=0"),
        scheduler=("max-attempts=10",),
    )


class Database:
    """The stack's database, which can be made to stand still for a while."""

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
    """Graders by websocket and by HTTP that all hold a job, and clients that submit; each on a thread of its own once
    it is let loose. Keeps what was answered 200."""

    def __init__(self, stack, replica):
        self.stack, self.replica = stack, replica
        self.token = stack.cluster_token
        self.stored = []  # jobs whose result was answered 200
        self.registered = []
        self.threads = []
        self.sockets = [SocketGrader(replica.url, self.token) for _ in range(SOCKETS)]
        course = Course(replica.url)
        try:
            course.start(course.configure(config_of()), 2 * SOCKETS)
        finally:
            course.close()
        self.jobs = [socket.take(30)["grading_job_id"] for socket in self.sockets]
        self.http = [self.polling_grader() for _ in range(SOCKETS)]

    def polling_grader(self):
        """(name, job) of a grader that has registered and holds a job."""
        name = unique("worker")
        with httpx.Client(base_url=self.replica.url + ROUTE, timeout=30, headers=bearer(self.token)) as client:
            assert client.post(f"/worker/{name}", json={"hostname": "host"}).status_code == 200
            answer = wait_until(lambda: self.poll(client, name), 15, "a job")
        return name, answer.json()["data"]["grading_job_id"]

    @staticmethod
    def poll(client, name):
        answer = client.get(f"/grading_job/{name}")
        return answer if answer.status_code == 200 else None

    def let_loose(self):
        """Everyone sends at once."""
        for socket, job in zip(self.sockets, self.jobs, strict=True):
            self.start(socket.finish, job, logs=LOGS)
        for name, job in self.http:
            self.start(self.send_result, name, job)
        for _ in range(4):
            self.start(self.register_by_http)
            self.start(self.register_by_socket)
            self.start(self.submit)

    def send_result(self, name, job):
        body = {"grading_job_id": job, "success": True, "results": [{"score": 1}], "logs": LOGS}
        if self.post(f"/grading_job/{name}", body) == 200:
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
        self.post("/grading_run/cs225/absent", {"students_env": [{"netid": "a"}]}, token="admin-of-cs225")

    def post(self, path, body, token=None):
        headers = bearer(token or self.token)
        return httpx.post(self.replica.url + ROUTE + path, json=body, timeout=30, headers=headers).status_code

    def start(self, function, *arguments, **more):
        def run():
            try:
                function(*arguments, **more)
            except Exception:  # the replica ends: whatever is not answered is not promised
                pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)

    def join(self):
        for thread in self.threads:
            thread.join(40)

    def close(self):
        for socket in self.sockets:
            self.start(socket.abort)


def stop_under_load(stack, make_replica, before_stop_s, standstill_s):
    """The database stands still, everyone sends, SIGTERM comes, the database goes on. The seconds that the end took."""
    replica = make_replica(stack, *FLAGS).wait_ready()
    load = Load(stack, replica)
    with Database(stack) as database:
        load.let_loose()
        time.sleep(before_stop_s)  # the moment that is tried
        database.resume_after(standstill_s)
        took, _ = stop(replica)
    load.join()
    load.close()
    wait_until(lambda: answers(stack), 20, "the database answers again")
    kept = {row["_id"] for row in stack.database.db.job_results.find({"_id": {"$in": load.stored}}, {"_id": 1})}
    assert set(load.stored) <= kept
    workers = {row["_id"] for row in stack.database.db.workers.find({"_id": {"$in": load.registered}}, {"_id": 1})}
    assert set(load.registered) <= workers
    return took


def stop(replica):
    """Asks it to leave; (seconds that it took, CPU seconds that it used). It must end well."""
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
def test_a_stop_at_any_moment_frees_nothing_in_use_and_keeps_what_was_promised(
    alone, make_replica, before_stop_s, standstill_s
):
    took = stop_under_load(alone, make_replica, before_stop_s, standstill_s)
    assert took < (GRACE_S + SLACK_S) * PATIENCE


def test_a_stop_while_the_database_is_away_uses_no_cpu(alone, make_replica):
    """Results whose leases can't be read are tried again and again: at a stop no faster than before it."""
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
    """Starts one of either binary beside the stack, with flags of its own; it serves when it is returned."""
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


def test_a_second_signal_ends_a_process_at_once_whatever_it_waits_for(alone, make_leaver):
    """Also when it has become quiet and closes what is left, for which it needs the database."""
    process = make_leaver("--grace=60")
    with Database(alone):
        process.terminate()
        time.sleep(0.6)  # longer than it takes to be quiet, shorter than the driver's time-outs
        asked = time.monotonic()
        process.terminate()
        status = process.wait(10)
    assert time.monotonic() - asked < 1 * PATIENCE
    assert status == 128 + signal.SIGTERM, last_lines(process.log)


def test_the_grace_is_the_longest_that_a_stop_takes(alone, make_leaver):
    process = make_leaver("--grace=1")
    with Database(alone):
        asked = time.monotonic()
        process.terminate()
        status = process.wait(20)
        took = time.monotonic() - asked
    assert status == 0 and took < 1 + 1 * PATIENCE, last_lines(process.log)


def test_a_second_signal_ends_a_start_that_waits_for_its_database(alone, tmp_path):
    """It looks for the database, and does not look for signals meanwhile."""
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
