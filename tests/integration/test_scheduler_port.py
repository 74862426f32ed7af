"""The scheduler's port: every input is answered by HTTP, and held connections do not block it."""

import json
import re
import threading
import time

import pytest
from broadway import Api, ClassicGrader
from course_names import unique
from harness import Process, Replica, free_port
from pipelines import run_of
from processes import descriptors, is_running
from raw import connect, exchange, get
from waiting import PATIENCE, is_instrumented, wait_until

PATHS = ["/healthz", "/readyz", "/metrics"]
AT_ONCE = 8
IDLE = 300
MADE = re.compile("[0-9a-f]{12}-[0-9]+")
ANSWER_S = 1


@pytest.fixture
def scheduler(stack):
    return stack.described["scheduler"][0]


def in_time(seconds):
    return seconds < ANSWER_S * (5 if is_instrumented() else 1)


def answered_in_time(scheduler):
    """Requests each path on a new connection."""
    for path in PATHS:
        begun = time.monotonic()
        assert exchange(scheduler["url"], get(path)).status == 200
        assert in_time(time.monotonic() - begun)
    return True


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/healthz", "Content-Length: abc"), 200),
        (get("/healthz", "Content-Length: 3", "Content-Length: 4") + "abcd", 200),
        (get("/healthz", "Content-Length: 100000") + "x" * 100000, 200),
        (get("/x?" + "&" * 500, "Content-Length: 1") + "x", 404),
        (get("/healthz?" + "a&" * 2000), 200),
        (get("/healthz", *[f"X{n}: y" for n in range(400)]), 200),
        (get("/healthz", "X: " + "p" * 9000), 431),
        (get("/" + "p" * 8123), 404),
        (get("/" + "p" * 20000), 414),
        ("GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        (get("/healthz", "X: y\0"), 400),
        ("\0" * 20000, 414),
    ],
    ids=range(13),
)
def test_every_input_gets_one_complete_answer(scheduler, data, status):
    with connect(scheduler["url"]) as link:
        link.send(data)
        answer = link.read_answer()
        assert answer.status == status
        assert json.loads(answer.body)
        assert answer.headers["connection"] == "close" and link.is_closed_by_peer()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/healthz", "{id}"), 200),
        (get("/readyz", "{id}"), 200),
        (get("/metrics", "{id}"), 200),
        (get("/nowhere?token=canary-77", "{id}"), 404),
        (get("/healthz", "{id}").replace("GET", "POST"), 405),
        (get("/healthz", "{id}", "Host: y"), 400),
        (get("/healthz", "{id}").replace("HTTP/1.1", "HTTP/2.0"), 505),
        (get("/healthz", "{id}", "X: " + "p" * 9000), 431),
        ("GET /healthz HTTP/1.1\r\n{id}\r\nHost:", 408),
    ],
    ids=["healthz", "readyz", "metrics", "nowhere", "method", "host", "version", "large", "stalled"],
)
@pytest.mark.parametrize("is_sound", [True, False])
def test_every_answer_has_the_requests_id_and_a_refusal_is_logged_with_its_reason(
    stack, scheduler, data, status, is_sound
):
    sent = unique("mine") if is_sound else "not a sound one"
    answer = exchange(scheduler["url"], data.replace("{id}", f"x-request-id:  {sent} "), timeout=20 * PATIENCE)
    id = answer.headers["x-request-id"]
    assert answer.status == status
    assert id == sent if is_sound else MADE.fullmatch(id)
    if status == 200:
        assert "request_id" not in answer.body.decode()
        return
    assert json.loads(answer.body)["request_id"] == id
    line = next(line for line in stack.log_text().splitlines() if f"request_id={id} " in line)
    assert f" status={status} " in line and f' reason="{answer.error}"' in line
    assert "canary-77" not in stack.log_text()


def test_idle_connections_do_not_block_it(scheduler):
    before = descriptors(scheduler["pid"])
    links = [connect(scheduler["url"]) for _ in range(IDLE)]
    try:
        assert answered_in_time(scheduler)
        assert descriptors(scheduler["pid"]) < before + IDLE
    finally:
        for link in links:
            link.close()
    wait_until(lambda: descriptors(scheduler["pid"]) <= before + 3, 10, "the connections are closed")


def test_slow_connections_do_not_block_it(scheduler):
    stop = threading.Event()
    links = [connect(scheduler["url"]) for _ in range(IDLE)]

    # A few new connections at a time: the client of this process must get to send its request, since one that
    # sends nothing is closed to make room.
    def drip():
        while not stop.wait(0.05):
            renewed = 0
            for number, link in enumerate(links):
                try:
                    link.socket.sendall(b"G")
                except OSError:
                    if renewed == AT_ONCE:
                        continue
                    renewed += 1
                    links[number].close()
                    links[number] = connect(scheduler["url"])

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert answered_in_time(scheduler)
    finally:
        stop.set()
        dripping.join()
        for link in links:
            link.close()
    assert is_running(scheduler["pid"])


def test_a_request_that_stays_unfinished_is_408(scheduler):
    with connect(scheduler["url"], timeout=20 * PATIENCE) as link:
        link.send("GET /healthz HTTP/1.1\r\nHost:")
        assert link.read_answer().status == 408
        assert link.is_closed_by_peer()


def test_head_is_get_without_its_body(scheduler):
    api = Api(scheduler["url"])
    for path in PATHS:
        head = api.request("HEAD", path)
        assert head.status_code == 200 and head.content == b"" and int(head.headers["content-length"]) > 0
    api.close()


class Scheduler(Process):
    """One more scheduler on the stack's database server, with a limit of open files."""

    def __init__(self, stack, directory, limit, database, *flags):
        self.url = f"http://127.0.0.1:{free_port()}"
        super().__init__(
            "broadway-scheduler",
            f"--mongodb-uri={stack.described['mongodb_uri']}",
            f"--mongodb-database={database}",
            f"--metrics-port={self.url.rpartition(':')[2]}",
            "--heartbeat-interval=1",
            *flags,
            log=directory / "scheduler.log",
            env={"BROADWAY_INTERNAL_TOKEN": stack.described["internal_token"]},
            prefix=("prlimit", f"--nofile={limit}"),
        )


def test_with_few_descriptors_idle_connections_starve_neither_callbacks_nor_the_database(stack, tmp_path):
    database = "few_descriptors"
    scheduler = Scheduler(stack, tmp_path, "64:128", database)
    replica = Replica(stack, tmp_path / "replica.log", "--heartbeat-interval=1", database=database)
    links = []
    try:
        wait_until(lambda: "leading" in scheduler.said(), 20, "it leads")
        links += [connect(scheduler.url) for _ in range(IDLE)]
        replica.wait_ready()
        grader = ClassicGrader(replica.url, stack.cluster_token)
        for _ in range(3):
            run = replica.api.submit_and_start(run_of(2))
            for _ in range(2):
                grader.finish(grader.take())
            replica.api.wait_over(run)
            links += [connect(scheduler.url) for _ in range(20)]
        grader.close()
        assert exchange(scheduler.url, get("/healthz")).status == 200
        assert "the limit of open files allows fewer connections" in scheduler.said()
        assert descriptors(scheduler.child.pid) < 128
    finally:
        for link in links:
            link.close()
        replica.end()
        scheduler.end()


def test_with_too_few_descriptors_it_does_not_start(stack, tmp_path):
    scheduler = Scheduler(stack, tmp_path, "64:64", "too_few_descriptors")
    assert scheduler.wait(10) == 2
    assert 'event="start failed" reason="the limit of open files is 64, but at least' in scheduler.said()
