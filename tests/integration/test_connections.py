"""Connections as a means to lock out others: idle ones, half-sent requests, event streams, descriptors. Even if a
client holds as many connections as are allowed, known graders continue to work, and new ones can register."""

import contextlib
import json
import os
import resource
import socket
import time

import httpx
import pytest
from broadway import ROUTE, ClassicGrader
from course import COURSES, Staff
from event_stream import EventStream
from harness import run_stack
from pipelines import job_id_of, run_of
from processes import cpu_seconds
from raw import connect
from test_health import sample_values
from waiting import PATIENCE, holds_for, soon, wait_until

MOST = 256


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory):
    """One replica that keeps few connections."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    api = (f"max-connections={MOST}", f"course-config={config}")
    yield from run_stack(tmp_path_factory, "small", both=("heartbeat-interval=1",), api=api)


@pytest.fixture
def stack(small_stack):
    small_stack.drain()
    yield small_stack
    small_stack.stop_graders()
    small_stack.drain()


@contextlib.contextmanager
def held(links):
    """Closes the connections at the end."""
    try:
        yield links
    finally:
        for link in links:
            link.close()


def metric(stack_or_url, name):
    url = stack_or_url if isinstance(stack_or_url, str) else stack_or_url.described["api"][0]["internal_url"]
    return sample_values(httpx.get(f"{url}/metrics", trust_env=False).text)[name]


def timed(call, seconds=3):
    """Calls the function and checks that it returns soon: a locked-out request would wait for half a minute."""
    begun = time.monotonic()
    value = call()
    assert time.monotonic() - begun < soon(seconds)
    return value


def works(stack, grader):
    """A grader that has its connection, the same one on new connections, and a new one: all are served soon."""
    run = stack.api.submit_and_start(run_of(1))
    job = grader.take()
    timed(grader.beat)
    fresh = timed(lambda: grader.at(stack.urls[0]))
    assert timed(fresh.beat).status_code == 200
    assert timed(lambda: fresh.poll(wait=0)) is None
    timed(lambda: fresh.finish(job))
    fresh.close()
    newcomer = timed(lambda: ClassicGrader(stack.urls[0], stack.cluster_token))
    assert timed(newcomer.beat).status_code == 200
    newcomer.close()
    stack.api.wait_over(run)


def idle(url):
    return connect(url)


def half_sent(url):
    link = connect(url)
    link.send(f"POST {ROUTE}/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nworker")
    return link


def kept_alive(url):
    link = connect(url)
    link.send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
    assert link.read_answer().status == 404
    return link


def kept_alive_of_a_query_token(url):
    link = connect(url)
    token = COURSES["cs225"]["query_tokens"][0]
    path = f"{ROUTE}/grading_run_status/cs225/{'0' * 24}"
    link.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
    assert link.read_answer().status == 400
    return link


def wrong_socket(url):
    link = connect(url)
    link.send(
        f"GET {ROUTE}/worker_ws/w{time.monotonic_ns()} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    return link


@pytest.mark.parametrize("hold", [idle, half_sent, kept_alive, kept_alive_of_a_query_token, wrong_socket])
def test_held_connections_do_not_lock_out_graders(stack, hold):
    grader = stack.grader()
    before = metric(stack, "broadway_api_connections_evicted_total")
    with held([hold(stack.urls[0]) for _ in range(2 * MOST)]):
        works(stack, grader)
        assert metric(stack, "broadway_api_connections_evicted_total") > before
        kinds = [
            metric(stack, f'broadway_api_connections{{kind="{kind}"}}') for kind in ("unproven", "client", "worker")
        ]
        assert sum(kinds) <= MOST + 64
        assert kinds[0] <= MOST * 3 / 4 + 64


def test_an_idle_connection_of_a_worker_is_not_closed_to_make_room(stack):
    grader = stack.grader()
    beat = f"POST {ROUTE}/heartbeat?worker_id={grader.id} HTTP/1.1\r\nHost: x\r\n\r\n"
    with held([connect(stack.urls[0]) for _ in range(20)]) as links:
        for link in links:
            link.send(beat)
            assert link.read_answer().status == 200
        with held([idle(stack.urls[0]) for _ in range(2 * MOST)]):
            for link in links:
                link.send(beat)
                assert link.read_answer().status == 200


def test_one_worker_does_not_hold_all_connections(stack):
    grader = stack.grader()
    beat = f"POST {ROUTE}/heartbeat?worker_id={grader.id} HTTP/1.1\r\nHost: x\r\n\r\n"
    before = metric(stack, "broadway_api_connections_evicted_total")
    links = []
    with held(links):
        for _ in range(MOST + 20):
            links.append(connect(stack.urls[0]))
            links[-1].send(beat)
            assert links[-1].read_answer().status == 200
        works(stack, stack.grader())
        assert metric(stack, "broadway_api_connections_evicted_total") > before
        links[-1].send(beat)
        assert links[-1].read_answer().status == 200


def test_parked_polls_do_not_count_against_their_address(stack):
    graders = [stack.grader() for _ in range(MOST // 4)]
    request = "GET {}/grading_job?worker_id={}&wait=20 HTTP/1.1\r\nHost: x\r\n\r\n"
    polls = [connect(stack.urls[0]) for _ in graders]
    with held(polls):
        for link, grader in zip(polls, graders, strict=True):
            link.send(request.format(ROUTE, grader.id))
        parked = "broadway_api_parked_polls"
        wait_until(lambda: metric(stack, parked) == len(polls), 10, "all polls are parked")
        with held([idle(stack.urls[0]) for _ in range(2 * MOST)]):
            assert metric(stack, parked) == len(polls)
            assert timed(graders[0].beat).status_code == 200
            newcomer = timed(lambda: ClassicGrader(stack.urls[0], stack.cluster_token))
            assert timed(newcomer.beat).status_code == 200
            newcomer.close()


def test_event_streams_of_one_course_have_a_share(stack):
    staff = Staff(stack)
    grader = stack.grader()
    course = staff.course()
    job = job_id_of(course.run(1), 1, 0)
    path, token = f"{ROUTE}/stream/cs225/{job}", "query-of-cs225"
    try:
        streams = [EventStream(stack.urls[0], token, path) for _ in range(MOST // 8)]
        with held(streams):
            assert [stream.status for stream in streams] == [200] * len(streams)
            refused = EventStream(stack.urls[0], token, path)
            assert refused.status == 429 and refused.headers["retry-after"]
            refused.close()
            with held([idle(stack.urls[0]) for _ in range(2 * MOST)]):
                works(stack, grader)
        again = wait_until(lambda: stream_of(stack.urls[0], token, path), 5, "there is room again")
        again.close()
    finally:
        staff.drain()
        staff.close()


def stream_of(url, token, path):
    stream = EventStream(url, token, path)
    if stream.status == 200:
        return stream
    stream.close()
    return None


def test_one_address_has_a_limit_by_flag(stack, make_replica):
    replica = make_replica(stack, f"--max-connections={MOST}", "--max-connections-per-address=10").wait_ready()
    with held([idle(replica.url) for _ in range(40)]) as links:
        wait_until(lambda: sum(is_open(link) for link in links) <= 10, 5, "the oldest are closed")
        assert is_open(links[-1])
        grader = ClassicGrader(replica.url, stack.cluster_token)
        assert grader.beat().status_code == 200
        grader.close()


def is_open(link):
    link.socket.setblocking(False)
    try:
        return link.socket.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def test_with_too_few_descriptors_nothing_is_started(stack, make_replica):
    replica = make_replica(stack, prefix=("prlimit", "--nofile=256:256"))
    assert replica.wait(10) == 2
    assert "the limit of open files is 256, but at least" in replica.said()


def test_the_databases_connections_are_counted_as_configured(stack, make_replica):
    uri = f"{stack.described['mongodb_uri']}&maxPoolSize=1000"
    replica = make_replica(stack, f"--mongodb-uri={uri}", prefix=("prlimit", "--nofile=256:1200"))
    assert replica.wait(10) == 2
    assert "and 1032 for the database" in replica.said()


def test_few_descriptors_limit_the_connections(stack, make_replica):
    replica = make_replica(stack, prefix=("prlimit", "--nofile=256:600")).wait_ready()
    most = int(metric(replica.internal_url, "broadway_api_connections_max"))
    assert 64 <= most < 600
    assert f"connections={most}" in replica.said()
    grader = ClassicGrader(replica.url, stack.cluster_token)
    with held([idle(replica.url) for _ in range(700)]):
        before = cpu_seconds(replica.child.pid)
        for _ in range(10):
            assert timed(grader.beat).status_code == 200
            assert timed(lambda: replica.internal.request("GET", "/readyz")).status_code == 200
        assert timed(lambda: ClassicGrader(replica.url, stack.cluster_token)).beat().status_code == 200
        assert metric(replica.internal_url, "broadway_api_accept_pauses_total") == 0
        holds_for(lambda: cpu_seconds(replica.child.pid) - before < 0.5 * PATIENCE, 1, "it is at rest")
    grader.close()


def test_accepting_pauses_when_descriptors_run_out(stack, make_replica):
    replica = make_replica(stack).wait_ready()
    grader = ClassicGrader(replica.url, stack.cluster_token)
    pauses = "broadway_api_accept_pauses_total"
    lower_limit(replica.child.pid)
    with held([idle(replica.url) for _ in range(200)]):
        before = cpu_seconds(replica.child.pid)
        wait_until(lambda: metric(replica.internal_url, pauses) > 0, 5, "accepting has paused")
        for _ in range(20):
            assert grader.beat().status_code == 200
            time.sleep(0.05)  # one second in total, to measure the CPU time
        assert cpu_seconds(replica.child.pid) - before < 0.5 * PATIENCE, "it spins"
    wait_until(lambda: grader.at(replica.url).beat().status_code == 200, 5, "new connections are taken again")
    grader.close()


def lower_limit(pid):
    """Lowers the limit of descriptors, so that about twenty more can be opened."""
    highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 20, hard))
