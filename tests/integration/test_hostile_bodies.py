"""Malicious bodies, JSON and websocket messages: known graders are not affected, and memory is bounded and returns to
normal."""

import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from broadway import ROUTE
from course import COURSES
from course_names import bearer, unique
from harness import run_stack
from hostile import (
    MIB,
    PART,
    Attack,
    Fleet,
    RawSocket,
    Watch,
    bomb,
    close_code,
    dial,
    drip,
    flood,
    head_of,
    post,
    status_of,
    upgrade,
)
from pipelines import run_of
from raw import exchange
from socket_grader import SocketGrader
from waiting import PATIENCE, is_instrumented, soon, wait_until

JOB = f"{ROUTE}/grading_job/{'0' * 32}"
LARGE = 16 * MIB - 1
TIMEOUT_S = 5
HEARTBEAT_S = 2  # an interval
BUDGET = 480 * MIB  # of all pools
SLACK = 96 * MIB  # for the allocator, the definitions' cache, the rest of the process
# Sent and unread bytes of a connection on loopback: the two buffers at their largest.
IN_KERNEL = sum(int(Path(f"/proc/sys/net/ipv4/tcp_{side}mem").read_text().split()[2]) for side in "rw")
LEFT = 32 * MIB  # after bodies that were not kept
SHARE = 64 * MIB  # of bodies, for one address
FOUR_ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 6))
CLIENT_TOKEN = "canary-client-token-52b0"


@pytest.fixture(scope="module")
def attacked_stack(tmp_path_factory):
    """One replica with a short heartbeat interval."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    api = (f"request-timeout={TIMEOUT_S}", "max-log-bytes=65536", f"course-config={config}")
    yield from run_stack(tmp_path_factory, "attacked", both=(f"heartbeat-interval={HEARTBEAT_S}",), api=api)


@pytest.fixture
def silent_fleet(attacked_stack):
    """Graders that send only what the test requests."""
    fleet = Fleet(attacked_stack)
    yield fleet
    fleet.end()
    attacked_stack.drain()
    attacked_stack.stop_graders()


@pytest.fixture
def fleet(silent_fleet):
    silent_fleet.begin_beating()
    return silent_fleet


@pytest.fixture
def watch(attacked_stack, fleet):
    with Watch(attacked_stack.pid("api-0")) as watch:
        yield watch


def check_memory(watch, bound):
    if not is_instrumented():
        assert watch.growth < bound, f"{watch.growth / MIB:.0f} MiB"
        watch.wait_returned(SLACK)


COURSE_ADMIN = f"Authorization: Bearer {COURSES['cs225']['tokens'][0]}"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"{ROUTE}/heartbeat", ()),
        (JOB, ()),
        (f"{ROUTE}/grading_run", ()),
        (f"{ROUTE}/grading_run/cs225/hw1", (COURSE_ADMIN,)),
        (f"{ROUTE}/grading_config/cs225/hw1", (COURSE_ADMIN,)),
        (f"{ROUTE}/grading_job/nobody", ("Authorization: Bearer wrong",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_seventeen_slow_large_bodies_do_not_lock_out_graders(attacked_stack, fleet, watch, path, headers):
    act = drip(attacked_stack.urls[0], path, LARGE, *headers)
    with Attack(17, act):
        fleet.work(TIMEOUT_S + 1)
    fleet.check()
    check_memory(watch, BUDGET + SLACK)
    if not is_instrumented():
        watch.wait_returned(LEFT)


def test_a_slow_tail_of_a_large_body_is_ended(attacked_stack):
    with dial(attacked_stack.urls[0]) as link:
        link.sendall(head_of(JOB, LARGE) + b"x" * (LARGE - 65536))
        link.settimeout(1)

        def is_answered():
            link.send(b"x" * 1200)
            try:
                return status_of(link)
            except TimeoutError:
                return None

        assert wait_until(is_answered, TIMEOUT_S + 5, "the request is ended") == 408


def test_many_endless_small_bodies_do_not_block_heartbeats(attacked_stack, fleet):
    act = drip(attacked_stack.urls[0], f"{ROUTE}/grading_run", 128 * 1024 - 1, at_once=100_000)
    with Attack(300, act):
        fleet.work(TIMEOUT_S)
    fleet.check(2)


@pytest.mark.parametrize("size", [2 * MIB, LARGE], ids=["2 MB", "16 MB"])
def test_json_bombs_are_refused_before_parsing(attacked_stack, fleet, watch, size):
    url = attacked_stack.urls[0]
    cluster = f"Authorization: Bearer {attacked_stack.cluster_token}"
    for path, key, headers in (
        (f"{ROUTE}/heartbeat", "worker_id", ()),
        (f"{ROUTE}/worker_register", "token", ()),
        (f"{ROUTE}/worker/{unique()}", "hostname", (cluster,)),
        (JOB, "worker_id", ()),
        (JOB, "result", ()),
        (f"{ROUTE}/grading_run", "students", ()),
        (f"{ROUTE}/grading_job/{unique()}", "results", (cluster,)),
    ):
        with Attack(4, post(url, path, bomb(size, key), *headers)) as attack:
            fleet.work(1)
        assert attack.statuses and set(attack.statuses) <= {400, 401, 405, 413, 503, None}, (path, attack.statuses)
    fleet.check()
    check_memory(watch, BUDGET + SLACK)


@pytest.mark.parametrize("path", [JOB, f"{ROUTE}/grading_run"])
def test_sixteen_clients_with_json_bombs_do_not_slow_results(attacked_stack, fleet, watch, path):
    with Attack(16, post(attacked_stack.urls[0], path, bomb(3 * MIB))):
        fleet.work(5)
    fleet.check()
    check_memory(watch, BUDGET + SLACK)


def test_a_json_bomb_in_a_form_is_refused(attacked_stack, fleet, watch):
    text = bomb(3 * MIB, "stdout").decode()
    body = f"worker_id={fleet.graders[0].id}&result=x&logs={text}".encode()
    with Attack(8, post(attacked_stack.urls[0], JOB, body)) as attack:
        fleet.work(2)
    assert set(attack.statuses) <= {400, 413, 503, None}
    fleet.check()
    check_memory(watch, BUDGET + SLACK)


def test_each_route_has_its_own_body_limit(attacked_stack):
    run = secrets.token_hex(12)
    for path, length, limit in (
        (f"{ROUTE}/heartbeat", 5000, 4096),
        (f"{ROUTE}/grading_run/{run}", 5000, 4096),
        (f"{ROUTE}/grading_run/{run}/cancel", 5000, 4096),
        (f"{ROUTE}/grading_run", 16 * MIB + 1, 16 * MIB),
    ):
        answer = exchange(attacked_stack.urls[0], head_of(path, length))
        assert answer.status == 413 and answer.error == f"the body is larger than {limit} bytes"


def test_json_of_a_heartbeat_has_few_values(attacked_stack):
    answer = attacked_stack.api.request("POST", f"{ROUTE}/heartbeat", json={"worker_id": [{}] * 100})
    assert answer.status_code == 413 and answer.json()["error"] == "the body has 103 keys and values, the limit is 64"


def test_a_result_is_taken_while_unknown_bodies_fill_their_pool(attacked_stack, fleet):
    act = drip(attacked_stack.urls[0], JOB, LARGE, begin=b'{"result": "', sources=FOUR_ADDRESSES)
    with Attack(24, act):
        wait_until(lambda: held(attacked_stack, "unknown") > 150 * MIB, 20, "the pool is filled")
        for number in range(len(fleet.graders)):
            fleet.deliver(number, 500_000)
    fleet.check()
    wait_until(lambda: held(attacked_stack, "unknown") == 0, 10, "all of it is given back")


def test_a_worker_named_after_its_result_is_accepted(attacked_stack, fleet):
    body = json.dumps({"result": "x" * MIB, "worker_id": fleet.graders[0].id})
    path = f"{ROUTE}/grading_job/{fleet.jobs[0]['job_id']}"
    assert attacked_stack.api.request("POST", path, content=body).status_code == 200
    fleet.jobs[0] = fleet.graders[0].take()


def large(run, size=MIB):
    """A submission with a long body of short values."""
    return json.dumps(run).encode() + b" " * size


def test_two_addresses_do_not_fill_the_shared_memory(attacked_stack, fleet):
    act = drip(attacked_stack.urls[0], f"{ROUTE}/grading_run", LARGE, sources=FOUR_ADDRESSES[:2])
    with Attack(24, act):
        wait_until(lambda: held(attacked_stack, "unknown") > 1.5 * SHARE, 20, "the shares of two are filled")
        for _ in range(5):
            run = large(run_of(1))
            answer = fleet.time("submission", attacked_stack.api.request, "POST", f"{ROUTE}/grading_run", content=run)
            assert answer.status_code == 200, answer.text
        assert held(attacked_stack, "unknown") < 2.5 * SHARE
    fleet.check()


def test_a_wrong_token_does_not_count_as_a_client(attacked_stack, make_replica):
    """On loopback no token is needed; a wrong one must not grant the memory and connections of clients with a token."""
    replica = make_replica(attacked_stack, f"--client-token={CLIENT_TOKEN}", f"--heartbeat-interval={HEARTBEAT_S}")
    replica.wait_ready()
    grader = attacked_stack.grader().at(replica.url)
    right = {"Authorization": f"Bearer {CLIENT_TOKEN}"}
    act = drip(replica.url, f"{ROUTE}/grading_run", LARGE, "Authorization: Bearer wrong")
    with Attack(24, act):
        wait_until(lambda: held_at(replica.internal_url, "unknown") > SHARE / 2, 20, "a share is filled")
        for _ in range(3):
            assert grader.beat().status_code == 200
            run = large(run_of(1))
            answer = replica.api.request("POST", f"{ROUTE}/grading_run", content=run, headers=right)
            assert answer.status_code == 200, answer.text
            path = f"{ROUTE}/grading_run/{answer.json()['id']}"
            assert replica.api.request("POST", path, headers=right).status_code == 200
            grader.finish(grader.take(), "x" * MIB)
        assert held_at(replica.internal_url, "unknown") < 1.5 * SHARE
        assert held_at(replica.internal_url, "client") < 2 * MIB
        kinds = exchange(replica.internal_url, METRICS).body.decode()
        clients = next(
            line for line in kinds.splitlines() if line.startswith('broadway_api_connections{kind="client"}')
        )
        assert float(clients.split()[-1]) <= 2
    grader.close()


METRICS = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def held(stack, pool):
    """The bytes that a pool of the first replica holds, from its metrics."""
    return held_at(stack.described["api"][0]["internal_url"], pool)


def held_at(internal_url, pool):
    text = exchange(internal_url, METRICS).body.decode()
    line = next(
        line for line in text.splitlines() if line.startswith(f'broadway_api_memory_held_bytes{{pool="{pool}"}}')
    )
    return float(line.split()[-1])


def test_a_heartbeat_refused_for_memory_counts_as_a_heartbeat(attacked_stack, silent_fleet):
    """These graders send nothing else for five intervals."""

    def beat_too_long():
        for grader in silent_fleet.graders:
            path = f"{ROUTE}/heartbeat?worker_id={grader.id}"
            assert exchange(attacked_stack.urls[0], head_of(path, 5000)).status == 413
        return False

    with pytest.raises(AssertionError, match="still not so"):
        wait_until(beat_too_long, 5 * HEARTBEAT_S / PATIENCE, "five intervals are over")
    silent_fleet.check()


def test_a_result_refused_for_memory_counts_as_a_heartbeat(attacked_stack, silent_fleet):
    """The result is for a job that the sender never had; otherwise the job would fail."""

    def send_too_much():
        for grader in silent_fleet.graders:
            path = f"{JOB}?worker_id={grader.id}"
            assert exchange(attacked_stack.urls[0], head_of(path, 65 * MIB)).status == 413
        return False

    with pytest.raises(AssertionError, match="still not so"):
        wait_until(send_too_much, 5 * HEARTBEAT_S / PATIENCE, "five intervals are over")
    silent_fleet.check()


# ---- Websockets


@pytest.fixture
def raw_sockets(attacked_stack):
    made = []

    def make(count):
        token = attacked_stack.cluster_token
        made.extend(RawSocket(attacked_stack.urls[0], token, unique("raw")) for _ in range(count))
        return made

    yield make
    for raw_socket in made:
        raw_socket.close()


@pytest.fixture
def socket_graders(attacked_stack):
    made = []

    def make(count):
        token = attacked_stack.cluster_token
        made.extend(SocketGrader(attacked_stack.urls[0], token) for _ in range(count))
        return made

    yield make
    for grader in made:
        grader.close()


def test_eighty_unfinished_messages_hold_a_bounded_amount(attacked_stack, fleet, watch, raw_sockets, socket_graders):
    (other,) = socket_graders(1)
    sockets = raw_sockets(80)
    senders = [threading.Thread(target=each.send_unfinished, args=(LARGE, 15 * MIB)) for each in sockets]
    for sender in senders:
        sender.start()
    fleet.work(TIMEOUT_S)
    other.ping()
    for sender in senders:
        sender.join()
    fleet.check()
    for each in sockets:
        each.close()
    if not is_instrumented():
        assert watch.growth < 128 * MIB + SLACK, f"{watch.growth / MIB:.0f} MiB"
        watch.wait_returned(SLACK)
    wait_until(lambda: held(attacked_stack, "websocket") == 0, TIMEOUT_S, "all of it is given back")


def pings(length):
    """A block of pings, each with this many bytes."""
    frame = RawSocket.frame(length, opcode=9) + b"x" * length
    return frame * (PART // len(frame))


def test_floods_of_pings_delay_no_grader_and_hold_no_memory(attacked_stack, fleet, watch, raw_sockets, socket_graders):
    """Two clients send pings faster than they are answered, and read the pongs."""
    (other,) = socket_graders(1)
    with ThreadPoolExecutor(2) as pool:
        floods = [pool.submit(flood, each.link, pings(0), 4) for each in raw_sockets(2)]
        while not all(each.done() for each in floods):
            fleet.time("a websocket's ping", other.ping)
    assert all(each.result() > PART for each in floods)
    fleet.check()
    assert len(fleet.waits["a websocket's ping"]) > 2
    check_memory(watch, LEFT)


def test_a_client_that_does_not_read_its_pongs_is_dropped(attacked_stack, fleet, watch, raw_sockets):
    (raw_socket,) = raw_sockets(1)
    seconds = 20 * PATIENCE
    begun = time.monotonic()
    flood(raw_socket.link, pings(100), seconds, reads=False)
    assert time.monotonic() - begun < seconds, "its connection was not ended"
    check_memory(watch, LEFT)


def test_little_is_read_from_a_refused_websocket(attacked_stack):
    with upgrade(attacked_stack.urls[0], "wrong", unique("raw")) as link:
        link.sendall(RawSocket.frame(8 << 30))
        assert flood(link, b"x" * PART, 3, reads=False) < MIB + IN_KERNEL
        assert close_code(link, 5) == (1008, "invalid token")
        wait_until(lambda: has_no_socket(attacked_stack), 10, "it is gone")


def test_only_a_part_of_an_oversized_message_is_read(attacked_stack, raw_sockets):
    (raw_socket,) = raw_sockets(1)
    raw_socket.link.sendall(raw_socket.frame(8 << 30))
    assert flood(raw_socket.link, b"x" * PART, 3, reads=False) < 4 * 16 * MIB + IN_KERNEL
    assert raw_socket.close_code(5) == (1009, f"the message is larger than {16 * MIB} bytes")
    wait_until(lambda: has_no_socket(attacked_stack), 10, "it is gone")


def has_no_socket(stack):
    answer = exchange(stack.described["api"][0]["internal_url"], METRICS)
    return "\nbroadway_api_websockets 0\n" in answer.body.decode()


def test_a_slow_message_is_ended(attacked_stack, raw_sockets):
    (raw_socket,) = raw_sockets(1)
    raw_socket.link.sendall(raw_socket.frame(LARGE))

    def is_closed():
        raw_socket.link.sendall(b"x" * 100)
        try:
            return raw_socket.close_code(0.3 / PATIENCE)
        except TimeoutError:
            return None

    closed = wait_until(is_closed, 2 * TIMEOUT_S, "the websocket is closed")
    assert closed == (1008, "the message was not received within the time limit")


def test_the_limit_applies_to_all_fragments_of_a_message(attacked_stack, raw_sockets):
    (raw_socket,) = raw_sockets(1)
    raw_socket.send(b"x" * 15 * MIB, is_final=False)
    raw_socket.send(b"x" * 2 * MIB, opcode=0)
    assert raw_socket.close_code(5) == (1009, f"the message is larger than {16 * MIB} bytes")


def test_a_declared_length_takes_no_memory(attacked_stack, watch, raw_sockets):
    for raw_socket in raw_sockets(80):
        raw_socket.send_unfinished(LARGE, 100)
    wait_until(
        lambda: held(attacked_stack, "websocket") + held(attacked_stack, "first") < 2 * MIB,
        soon(5),
        "nothing is held but what has come",
    )


def test_large_results_of_many_websockets_all_arrive(attacked_stack, socket_graders):
    """Together they exceed the memory: some wait, none is refused."""
    staff = bearer(COURSES["cs225"]["tokens"][0])
    count, assignment = 16, unique()
    config = {"student_pipeline": [{"image": "alpine:3.20"}]}
    path = f"{ROUTE}/grading_config/cs225/{assignment}"
    assert attacked_stack.api.request("POST", path, json=config, headers=staff).status_code == 200
    graders = socket_graders(count)
    run = {"students_env": [{"netid": f"s{number}"} for number in range(count)]}
    path = f"{ROUTE}/grading_run/cs225/{assignment}"
    started = attacked_stack.api.request("POST", path, json=run, headers=staff)
    assert started.status_code == 200, started.text
    jobs = [grader.take() for grader in graders]
    logs = {"stdout": "x" * 7 * MIB}
    with ThreadPoolExecutor(count) as pool:
        sent = [
            pool.submit(grader.finish, job, logs=logs, seconds=60) for grader, job in zip(graders, jobs, strict=True)
        ]
    for each in sent:
        each.result()
    results = attacked_stack.database.db.job_results
    ids = [job["grading_job_id"] for job in jobs]
    wait_until(lambda: results.count_documents({"_id": {"$in": ids}}) == count, 30, "all results are stored")


def test_a_small_run_is_submitted_during_slow_large_submissions(attacked_stack, fleet):
    act = drip(attacked_stack.urls[0], f"{ROUTE}/grading_run", LARGE, sources=FOUR_ADDRESSES)
    with Attack(24, act):
        wait_until(lambda: held(attacked_stack, "unknown") > 150 * MIB, 20, "the pool is filled")
        for _ in range(5):
            fleet.time("submission", attacked_stack.api.submit, run_of(100))
    fleet.check()
