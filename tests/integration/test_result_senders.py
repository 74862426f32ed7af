"""Large results at a replica that does not know their senders: a registered sender is found in the database before more
than a small part of the body is read; an unknown one is refused then."""

import json
import secrets
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from broadway import ROUTE
from course import COURSES
from course_names import unique
from harness import run_stack
from hostile import MIB, dial, head_of
from pipelines import run_of
from raw import connect, exchange
from test_hostile_bodies import held_at
from test_request_ids import logged
from waiting import PATIENCE, wait_until

JOB = f"{ROUTE}/grading_job/{'0' * 32}"
LARGE = 15_000_000
UNKNOWN_SENDERS = 5
TRIALS = 10
WAYS = ("query", "body", "chunks", "late")


@pytest.fixture
def fresh(stack, make_replica, tmp_path):
    """A replica that knows no grader, and has long time-outs for slow senders."""
    config = tmp_path / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    return make_replica(stack, f"--course-config={config}", "--request-timeout=120").wait_ready()


def result_of(worker, size, is_late=False):
    """The JSON of a result of about this many bytes, with its worker named first or last."""
    named, logs = f'"worker_id": "{worker}"', f'"result": 1, "logs": {{"stdout": "{"x" * size}"}}'
    return f"{{{logs}, {named}}}".encode() if is_late else f"{{{named}, {logs}}}".encode()


def parts_of(body, size=MIB):
    return (body[at : at + size] for at in range(0, len(body), size))


def send_result(replica, grader, job, way, size=LARGE):
    """Sends a large result whose worker is named in one of the WAYS."""
    path, query = f"{ROUTE}/grading_job/{job['job_id']}", {}
    body = result_of(grader.id, size, is_late=way == "late")
    if way == "query":
        query = {"worker_id": grader.id}
        body = json.dumps({"result": 1, "logs": {"stdout": "x" * size}}).encode()
    content = parts_of(body) if way == "chunks" else body
    return replica.api.request("POST", path, params=query, content=content, timeout=30 * PATIENCE)


@pytest.fixture
def crowd(fresh):
    """Five unknown senders from the graders' address: each begins a result of 15 MB that names its worker late, and
    pauses before its end."""
    links = []
    begun = b'{"result": "' + b"x" * (LARGE - 16)

    def begin():
        link = dial(fresh.url, timeout=20)
        links.append(link)
        try:
            link.sendall(head_of(JOB, LARGE + MIB) + begun)
        except OSError:
            pass  # it was refused for lack of memory

    threads = [threading.Thread(target=begin, daemon=True) for _ in range(UNKNOWN_SENDERS)]
    for thread in threads:
        thread.start()
    wait_until(lambda: held_at(fresh.internal_url, "unknown") > 3 * LARGE, 20, "they hold what there is for them")
    yield links
    for link in links:
        link.close()
    for thread in threads:
        thread.join(20)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "late"])
def test_unknown_senders_take_no_memory_from_registered_graders(stack, fresh, crowd, way):
    stack.api.submit_and_start(run_of(2))
    graders = [stack.grader() for _ in range(2)]
    jobs = [grader.take() for grader in graders]
    with ThreadPoolExecutor(2) as pool:
        sent = [pool.submit(send_result, fresh, grader, job, way) for grader, job in zip(graders, jobs, strict=True)]
    assert [(each.result().status_code, each.result().text) for each in sent] == [(200, "{}")] * 2
    assert held_at(fresh.internal_url, "unknown") > 2 * LARGE, "the others are still there"


def test_unknown_senders_take_no_memory_from_graders_of_courses(stack, fresh, crowd):
    """The cluster token identifies them before the body is read."""
    with connect(fresh.url) as link:
        token = f"Authorization: Bearer {stack.cluster_token}"
        link.send(head_of(f"{ROUTE}/grading_job/{unique()}", LARGE, token) + b'{"logs": "' + b"x" * MIB)
        wait_until(lambda: held_at(fresh.internal_url, "worker") > MIB / 2, 10, "its part is held as a worker's")


@pytest.mark.parametrize("way", WAYS)
def test_a_large_result_of_a_grader_unknown_to_the_replica_is_accepted(stack, fresh, way):
    stack.api.submit_and_start(run_of(1))
    grader = stack.grader()
    assert send_result(fresh, grader, grader.take(), way).status_code == 200


@pytest.mark.parametrize("way", ["query", "body", "byte by byte"])
def test_a_registered_grader_counts_as_a_worker_once_the_body_names_it(stack, fresh, way):
    grader = stack.grader()
    body = result_of(grader.id, 2 * MIB)
    path = f"{JOB}?worker_id={grader.id}" if way == "query" else JOB
    if way == "query":
        body = b'{"result": "' + b"x" * 2 * MIB
    with connect(fresh.url) as link:
        link.send(head_of(path, LARGE))
        if way == "byte by byte":
            for at in range(60):
                link.send(body[at : at + 1])
            body = body[60:]
        link.send(body)
        wait_until(lambda: held_at(fresh.internal_url, "worker") > MIB, 10, "what has come is held as a worker's")
        assert held_at(fresh.internal_url, "unknown") == 0


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def beginning_of(name, worker, id):
    """The beginning of a large result, which names its worker."""
    chunks = f"POST {JOB} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nX-Request-Id: {id}\r\n\r\n"
    named = result_of(worker, 3000)[:2000]
    head = head_of(JOB, LARGE, f"X-Request-Id: {id}")
    return {
        "query": head_of(f"{JOB}?worker_id={worker}", LARGE, f"X-Request-Id: {id}"),
        "query, in chunks": chunks.replace(JOB, f"{JOB}?worker_id={worker}").encode(),
        "body": head + named,
        "body, behind 50 KB": head + b'{"result": "' + b"x" * 50_000 + b'", ' + named[1:],
        "body, in chunks": chunks.encode() + chunk(named),
    }[name]


BEGINNINGS = ("query", "query, in chunks", "body", "body, behind 50 KB", "body, in chunks")


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_large_result_of_an_unknown_worker_is_refused_before_it_is_read(fresh, name):
    """Immediately, although the rest is not sent; with the same sentence as for a small one, and with all headers of an
    answer."""
    worker, id = secrets.token_hex(16), f"nobody-{BEGINNINGS.index(name)}"
    small = fresh.api.request("POST", JOB, json={"worker_id": worker, "result": 1})
    with connect(fresh.url, timeout=5 * PATIENCE) as link:
        link.send(beginning_of(name, worker, id))
        answer = link.read_answer()
        assert (answer.status, answer.error) == (small.status_code, small.json()["error"])
        assert answer.status == 400 and answer.error == f"worker '{worker}' is not known: register first"
        assert answer.headers["x-request-id"] == json.loads(answer.body)["request_id"] == id
        assert answer.headers["connection"].lower() == "close"
        link.send(b"x" * MIB)  # these bytes are read and dropped
        assert link.is_closed_by_peer()
    line = logged(fresh, id)
    assert (line["status"], line["reason"]) == ("400", answer.error.replace(worker, "..."))
    wait_until(lambda: held_at(fresh.internal_url, "unknown") == 0, 5, "nothing is held")


def test_a_client_that_sends_the_whole_body_anyway_sees_the_refusal(fresh):
    for _ in range(3):
        body = result_of(secrets.token_hex(16), LARGE)
        answer = exchange(fresh.url, head_of(JOB, len(body)) + body, timeout=10 * PATIENCE)
        assert answer.status == 400 and "is not known: register first" in answer.error
    assert fresh.api.request("GET", f"{ROUTE}/grading_run/{'0' * 24}").status_code == 400


def test_a_worker_id_inside_a_result_names_no_worker(stack, fresh):
    """Neither within a string, nor deeper in the JSON, nor in a form."""
    stack.api.submit_and_start(run_of(2))
    grader, nobody = stack.grader(), secrets.token_hex(16)
    text = f'"worker_id": "{nobody}", worker_id={nobody}'
    message = {"result": [text, {"worker_id": nobody}], "logs": {"stdout": "x" * MIB}, "worker_id": grader.id}
    path = f"{ROUTE}/grading_job/"
    answer = fresh.api.request("POST", path + grader.take()["job_id"], json=message)
    assert answer.status_code == 200, answer.text
    form = {"result": text, "logs": json.dumps({"stdout": "x" * MIB}), "worker_id": grader.id}
    answer = fresh.api.request("POST", path + grader.take()["job_id"], data=form)
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def slow_stack(tmp_path_factory):
    """A stack whose database can be paused."""
    yield from run_stack(tmp_path_factory, "slow", both=("heartbeat-interval=1",))


def answer_within(link, seconds):
    """The status of the answer that has come by then; None: there is none yet."""
    link.socket.settimeout(seconds)
    try:
        return link.read_answer().status
    except TimeoutError:
        return None


def test_time_in_the_database_does_not_count_as_the_senders(slow_stack, make_replica):
    """A failed probe of the database ends the wait for it, rightly: a trial in which that came first shows nothing."""
    replica = make_replica(slow_stack, "--request-timeout=1").wait_ready()
    for _ in range(TRIALS):
        slow_stack.kill("database", signal.SIGSTOP)
        try:
            link = connect(replica.url)
            link.send(beginning_of("query", secrets.token_hex(16), "slow-1"))
            early = answer_within(link, 1.5)
            is_noticed = not replica.is_ready()
        finally:
            slow_stack.kill("database", signal.SIGCONT)
        with link:
            if early is None:
                assert answer_within(link, 10 * PATIENCE) == 400
                return
        assert is_noticed, f"answered {early} while the database was asked"
        replica.wait_ready()
    raise AssertionError(f"in {TRIALS} trials the replica missed the database within 1.5 s")


def test_while_the_database_is_unavailable_the_sender_counts_as_unknown(slow_stack, make_replica):
    """The rest is read, as far as memory allows, and the sender is checked at the end of the body."""
    replica = make_replica(slow_stack).wait_ready()
    slow_stack.api.submit_and_start(run_of(1))
    grader = slow_stack.grader()
    job = grader.take()
    body = result_of(grader.id, 4 * MIB)
    slow_stack.kill("database", signal.SIGSTOP)
    try:
        link = connect(replica.url, timeout=20)
        link.send(head_of(f"{ROUTE}/grading_job/{job['job_id']}", len(body)) + body[:-1])
        wait_until(lambda: held_at(replica.internal_url, "unknown") > MIB, 20, "the rest is read")
    finally:
        slow_stack.kill("database", signal.SIGCONT)
    with link:
        wait_until(lambda: grader.at(replica.url).beat().status_code == 200, 20, "the database is there again")
        link.send(body[-1:])
        assert link.read_answer().status == 200
    slow_stack.stop_graders()


@pytest.mark.parametrize("is_on_record", [True, False], ids=["on record", "nobody"])
def test_only_a_registered_worker_gets_100_continue(stack, fresh, is_on_record):
    worker = stack.grader().id if is_on_record else secrets.token_hex(16)
    body = b'{"result": "' + b"x" * MIB
    with connect(fresh.url) as link:
        link.send(head_of(f"{JOB}?worker_id={worker}", LARGE, "Expect: 100-continue"))
        link.receive("no answer came")
        assert link.received.startswith(b"HTTP/1.1 100 " if is_on_record else b"HTTP/1.1 400 ")
        if is_on_record:
            link.send(body)
            wait_until(lambda: held_at(fresh.internal_url, "worker") > MIB / 2, 10, "it is held as a worker's")
