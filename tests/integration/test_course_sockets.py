"""Graders with a websocket."""

import contextlib
import json
import socket as tcp
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import websocket
from broadway import Api
from course import config_of, stage
from course_names import bearer, unique
from pipelines import CONFINED, job_id_of
from processes import resident_bytes
from socket_grader import LOOP, SocketGrader
from test_health import sample_values
from waiting import PATIENCE, holds_for, is_instrumented, soon, wait_until
from websockets.exceptions import ConnectionClosed

COMPLETE = "grading run is complete"
STUDENTS = "students grading jobs have been scheduled"
RESULT = {"grading_job_id": "x", "success": True, "results": [], "logs": {}}


# Coming in


@pytest.mark.parametrize(
    "headers, reason",
    [
        ({}, "invalid token format"),
        ({"Authorization": "Bearer a b"}, "invalid token format"),
        ({"Authorization": "Token x"}, "invalid token format"),
        (bearer("fake"), "invalid token"),
    ],
)
def test_a_bad_token_closes_with_1008_after_the_handshake(staff, headers, reason):
    begun = time.monotonic()
    link = staff.socket(headers=headers)
    with contextlib.suppress(ConnectionClosed):
        link.send({"type": "register", "args": {"hostname": "x"}})
    assert link.closed() == (1008, reason)
    assert time.monotonic() - begun < soon(2)


def test_the_server_closes_tcp_first_after_a_refusal(staff):
    link = staff.socket(headers={})
    begun = time.monotonic()
    link.close()
    assert time.monotonic() - begun < soon(1)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upgrade": "websocket"},
        {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
        {"Upgrade": "h2c", "Connection": "Upgrade"},
    ],
)
def test_a_request_without_a_proper_upgrade_is_400(staff, headers):
    grader = staff.grader(register=False)
    answer = grader.http.get("/worker_ws/x", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["status"] == "fail" and "message" in answer.json()["data"]


@pytest.mark.parametrize("version", [{}, {"Sec-WebSocket-Version": "12"}])
def test_another_websocket_version_is_426_with_the_supported_one(staff, version):
    grader = staff.grader(register=False)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "a" * 24, **version}
    answer = grader.http.get("/worker_ws/x", headers=headers)
    assert answer.status_code == 426
    assert answer.headers["Sec-WebSocket-Version"] == "13" and answer.headers["Upgrade"] == "websocket"
    assert answer.json()["status"] == "fail" and "13" in answer.json()["data"]["message"]


def test_registering_succeeds_once_per_id(staff):
    grader = staff.socket_grader()
    other = staff.socket(name=grader.name)
    other.send({"type": "register", "args": {"hostname": "x"}})
    assert other.receive() == {"success": False}
    assert other.closed()[0] == 1002
    grader.ping()


def test_an_id_is_taken_across_replicas_and_protocols(staff):
    grader = staff.socket_grader(replica=0)
    other = staff.socket(name=grader.name, replica=1)
    other.send({"type": "register", "args": {"hostname": "x"}})
    assert other.receive() == {"success": False}
    answer = staff.grader(name=grader.name, register=False).register()
    assert answer.status_code == 400 and "already exists" in answer.text
    polling = staff.grader()
    other = staff.socket(name=polling.name)
    other.send({"type": "register", "args": {"hostname": "x"}})
    assert other.receive() == {"success": False}


def test_an_id_is_free_at_once_after_its_socket_has_closed(staff):
    name = unique("socket")
    for _ in range(20):
        begun = time.monotonic()
        staff.socket_grader(name=name).close()
        assert time.monotonic() - begun < soon(2)


def test_an_id_whose_socket_broke_is_free_at_every_replica_soon(staff):
    name = unique("socket")
    for n in range(6):
        staff.socket_grader(name=name, replica=n % 2).abort()


def test_closing_takes_no_longer_than_a_round_trip(staff):
    grader = staff.socket_grader()
    begun = time.monotonic()
    grader.close()
    assert time.monotonic() - begun < soon(1)
    assert grader.socket.close_code == 1000


# Messages


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        "[]",
        "5",
        "{}",
        {"type": "register"},
        {"type": "register", "args": {}},
        {"type": "register", "args": {"hostname": 5}},
        {"type": "register", "args": {"hostname": "x", "more": 1}},
        {"type": "register", "args": {"hostname": "x"}, "more": 1},
        {"type": "other", "args": {}},
        {"type": "job_result", "args": {}},
        {"type": "job_result", "args": {**RESULT, "results": {}}},
        {"type": "job_result", "args": {**RESULT, "more": 1}},
    ],
)
@pytest.mark.parametrize("registered", [False, True])
def test_anything_else_closes_with_1011(staff, message, registered):
    link = staff.socket_grader() if registered else staff.socket()
    link.send(message)
    assert link.closed() == (1011, "internal error")


def test_registering_twice_closes_with_1011(staff):
    link = staff.socket_grader()
    link.send({"type": "register", "args": {"hostname": "x"}})
    assert link.closed() == (1011, "internal error")


def test_a_result_before_registering_closes_with_1002_and_a_reason(staff):
    link = staff.socket()
    link.send({"type": "job_result", "args": RESULT})
    code, reason = link.closed()
    assert code == 1002 and reason


@pytest.mark.parametrize("job", ["x", "0" * 32])
def test_a_result_for_an_unknown_job_closes_with_1002_and_a_reason(staff, job):
    link = staff.socket_grader()
    link.finish(job)
    assert link.closed() == (1002, "job with the given ID not found")


def test_binary_messages_are_taken_as_text(staff):
    link = staff.socket()
    link.send(json.dumps({"type": "register", "args": {"hostname": "x"}}).encode())
    assert link.receive() == {"success": True}


def test_a_ping_gets_its_pong_and_an_unsolicited_pong_nothing(staff):
    link = staff.socket_grader()
    link.ping()
    link.pong()
    link.ping()


def test_compression_is_declined_in_silence(staff):
    link = staff.socket_grader()
    assert link.socket.extensions == []


def test_a_message_over_the_limit_closes_with_1009(staff):
    link = staff.socket()
    link.send("x" * 100_000)
    assert link.closed()[0] == 1009
    link = staff.socket_grader()
    link.send("x" * (17 * 1024 * 1024))
    assert link.closed()[0] == 1009


def test_a_frame_that_claims_8_gib_costs_nothing(staff):
    before = resident_bytes(staff.stack.pid("api-0"))
    link = staff.socket()
    transport = link.socket.transport
    head = b"\x81\xff" + struct.pack(">Q", 8 << 30) + b"\0\0\0\0" + b"x"
    LOOP.loop.call_soon_threadsafe(transport.write, head)
    assert link.closed()[0] == 1009
    assert resident_bytes(staff.stack.pid("api-0")) - before < 16 * 1024 * 1024


def test_a_register_frame_in_the_handshakes_packet_is_handled(staff):
    host, port = staff.stack.urls[0][7:].split(":")
    payload = json.dumps({"type": "register", "args": {"hostname": "x"}}).encode()
    frame = bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload
    head = f"GET /api/v1/worker_ws/{unique()} HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\n"
    head += "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    head += f"Sec-WebSocket-Key: {'A' * 22}==\r\nAuthorization: Bearer {staff.stack.cluster_token}\r\n\r\n"
    with tcp.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(head.encode() + frame)
        data = b""
        while b'{"success": true}' not in data:
            data += link.recv(4096)
    assert data.startswith(b"HTTP/1.1 101 ")


# Jobs


def test_jobs_are_pushed_one_at_a_time_without_envelope(staff):
    course, grader = staff.course(), staff.socket_grader()
    run = course.run(2, {"student_pipeline": [stage(logs=True, **CONFINED), stage(logs=False)]})
    job = grader.take()
    own = {"GRADING_RUN_ID": run, "GRADING_JOB_ID": job["grading_job_id"], "netid": "student0"}
    assert job["stages"] == [stage(**CONFINED, env=own), stage(logs=False, env=own)]
    assert grader.receives_nothing(0.5)
    grader.finish(job)
    second = grader.take()
    assert second["grading_job_id"] == job_id_of(run, 1, 1)
    grader.finish(second)
    assert course.state(run) == COMPLETE


def test_a_status_after_an_unacknowledged_result_shows_it(staff):
    course, grader = staff.course(), staff.socket_grader()
    for _ in range(50):
        run = course.run(1)
        grader.finish(grader.take(), results=[{"score": 1}], logs={"stdout": "out", "stderr": "err"})
        status = course.status(run)
        assert status["state"] == COMPLETE
        (job,) = status["student_jobs_state"]
        assert status["student_jobs_state"][job] == "grading job was successful"
        assert course.log(job) == {"stderr": "err", "stdout": "out"}


def test_two_jobs_of_one_grader_are_shown_in_sequence(staff):
    course, grader = staff.course(), staff.socket_grader()
    run = course.run(2)
    jobs = [job_id_of(run, 1, n) for n in range(2)]
    running, scheduled = "grading job is running", "grading job has been scheduled"
    first = grader.take()
    assert course.status(run)["student_jobs_state"] == {jobs[0]: running, jobs[1]: scheduled}
    grader.finish(first)
    second = grader.take()
    assert course.status(run)["student_jobs_state"] == {jobs[0]: "grading job was successful", jobs[1]: running}
    grader.finish(second, success=False)
    assert course.status(run)["student_jobs_state"][jobs[1]] == "grading job failed"
    assert course.state(run) == COMPLETE


def test_two_graders_work_side_by_side(staff):
    course, graders = staff.course(), [staff.socket_grader(replica=n) for n in range(2)]
    run = course.run(2)
    jobs = [grader.take() for grader in graders]
    assert set(course.status(run)["student_jobs_state"].values()) == {"grading job is running"}
    for grader, job in zip(graders, jobs, strict=True):
        grader.finish(job)
    wait_until(lambda: course.state(run) == COMPLETE, 5, "the run is complete")


def test_the_end_of_a_socket_fails_its_job_at_once_with_one_attempt(staff):
    course = staff.course()
    for end in ("close", "abort"):
        grader = staff.socket_grader()
        run = course.run(1)
        job = grader.take()["grading_job_id"]
        getattr(grader, end)()
        assert course.status(run) == {
            "state": COMPLETE,
            "pre_processing_job_state": None,
            "post_processing_job_state": None,
            "student_jobs_state": {job: "grading job failed"},
            "owners": {job: "infrastructure"},
        }
        assert "grader lost" in course.log(job)["stderr"]


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_result_sent_just_before_the_socket_ended_counts(staff, size):
    course = staff.course()
    for _ in range(20):
        grader = staff.socket_grader()
        run = course.run(1)
        grader.finish(grader.take(), results=[{"text": "x" * size}])
        grader.close()
        assert list(course.status(run)["student_jobs_state"].values()) == ["grading job was successful"]


def test_both_kinds_of_graders_share_one_queue(staff):
    course = staff.course()
    polling, pushed = staff.grader(replica=1), staff.socket_grader()
    run = course.run(2)
    job, other = polling.take(), pushed.take()
    assert {job["grading_job_id"], other["grading_job_id"]} == {job_id_of(run, 1, n) for n in range(2)}
    pushed.finish(other)
    polling.finish(job)
    wait_until(lambda: course.state(run) == COMPLETE, 5, "the run is complete")


def test_a_socket_waits_from_its_registration_on_and_precedes_later_polls(staff):
    course, pushed, polling = staff.course(), staff.socket_grader(), staff.grader()
    course.run(1)
    assert polling.poll() is None
    pushed.finish(pushed.take())


def test_a_repeated_or_late_result_does_not_cost_the_connection(staff):
    course, grader = staff.course(), staff.socket_grader()
    course.run(2)
    first = grader.take()
    grader.finish(first)
    second = grader.take()
    grader.finish(first)  # the same again
    grader.finish(first, success=False)  # another one, too late
    grader.ping()
    assert grader.receives_nothing(0.3)
    grader.finish(second)
    run = course.run(1)
    grader.finish(grader.take())
    assert course.state(run) == COMPLETE


def test_a_grader_waits_for_work_again_after_any_outcome_of_its_result(staff):
    course, grader, other = staff.course(), staff.socket_grader(), staff.grader()
    run = course.run(1)
    waiting = next(iter(course.status(run)["student_jobs_state"]))
    grader.take()
    grader.finish(waiting)
    run = course.run(1)
    other_job = grader.take()
    other.finish_response(other_job)  # refused: it never had it
    grader.finish(other_job)
    assert course.state(run) == COMPLETE


def test_a_job_with_a_large_result_completes(staff):
    course, grader = staff.course(), staff.socket_grader()
    run = course.run(1)
    grader.finish(grader.take(), results=[{"text": "x" * 3_000_000}], logs={"stdout": "y" * 200_000})
    wait_until(lambda: course.state(run) == COMPLETE, 10, "the run is complete")


# Life


def test_a_grader_whose_library_answers_pings_is_not_lost_while_it_works(staff):
    course, grader = staff.course(), staff.socket_grader()
    run = course.run(1)
    job = grader.take()
    holds_for(lambda: course.state(run) == STUDENTS, 6, "the job stays with its grader")
    grader.finish(job)
    assert course.state(run) == COMPLETE


def test_the_worker_list_shows_the_state_of_sockets(staff):
    course, host = staff.course(), unique("host")
    grader = staff.socket_grader(hostname=host)

    def row():
        return next(row for row in course.workers() if row["hostname"] == host)

    assert row() == {"hostname": host, "jobs_processed": 0, "busy": False, "alive": True, "protocol": "course"}
    course.run(1)
    job = grader.take()
    assert row() == {"hostname": host, "jobs_processed": 1, "busy": True, "alive": True, "protocol": "course"}
    grader.finish(job)
    assert row()["busy"] is False
    grader.close()
    assert row() == {"hostname": host, "jobs_processed": 1, "busy": False, "alive": False, "protocol": "course"}


def test_the_worker_list_shows_the_tags_of_a_socket(staff):
    course, host = staff.course(), unique("host")
    grader = staff.socket()
    assert "tags" in grader.socket.response_headers["Broadway-Registration"]
    grader.send({"type": "register", "args": {"hostname": host, "tags": "gpu,lab-2"}})
    assert grader.receive() == {"success": True}
    assert [row["tags"] for row in course.workers() if row["hostname"] == host] == [["gpu", "lab-2"]]


def test_a_replica_that_shuts_down_closes_its_sockets_with_1001(staff, make_replica):
    replica = make_replica(staff.stack, "--heartbeat-interval=1").wait_ready()
    graders = [SocketGrader(replica.url, staff.stack.cluster_token) for _ in range(5)]
    replica.terminate()
    for grader in graders:
        assert grader.closed()[0] == 1001
    assert replica.wait(10) == 0


def test_sockets_of_a_killed_replica_lose_their_jobs(staff, make_replica):
    replica = make_replica(staff.stack, "--heartbeat-interval=1").wait_ready()
    grader = SocketGrader(replica.url, staff.stack.cluster_token)
    course = staff.course()
    scheduler = Api(staff.stack.described["scheduler"][0]["url"])

    def delivered():
        return sample_values(scheduler.request("GET", "/metrics").text)["broadway_scheduler_hand_outs_total"]

    before = delivered()
    run = course.run(1)
    grader.take()
    # Until the replica has reported the delivery, the end of the lease would not count as a failed attempt.
    wait_until(lambda: delivered() > before, 5, "the scheduler knows that the job was delivered")
    scheduler.close()
    replica.child.kill()
    with pytest.raises(ConnectionClosed):
        grader.receive()
    wait_until(lambda: course.state(run) == COMPLETE, 15, "the job is given up")


def test_config_of_a_run_with_all_steps_through_a_socket(staff):
    course, grader = staff.course(), staff.socket_grader()
    run = course.run(3, config_of(pre=True, post=True))
    for _ in range(5):
        grader.finish(grader.take())
    assert course.state(run) == COMPLETE


def test_the_client_of_another_library_completes_a_job(staff):
    """The library without an event loop, which closes TCP by itself."""
    course, name = staff.course(), unique("plain")
    address = f"ws{staff.stack.urls[0][4:]}/api/v1/worker_ws/{name}"
    header = [f"Authorization: Bearer {staff.stack.cluster_token}"]
    link = websocket.create_connection(address, header=header, timeout=10)
    try:
        link.send(json.dumps({"type": "register", "args": {"hostname": "plain"}}))
        assert json.loads(link.recv()) == {"success": True}
        link.ping(b"beat")
        assert link.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"beat")
        run = course.run(1)
        job = json.loads(link.recv())
        assert job["grading_job_id"] == job_id_of(run, 1, 0)
        result = {**RESULT, "grading_job_id": job["grading_job_id"]}
        link.send(json.dumps({"type": "job_result", "args": result}))
        assert course.state(run) == COMPLETE
    finally:
        link.close()


@contextlib.contextmanager
def beating(graders):
    """Sends heartbeats of the graders until the block ends."""
    is_over = threading.Event()

    def beat():
        while not is_over.wait(0.4):
            for grader in graders:
                grader.beat()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_many_registrations_again_do_not_delay_others(staff):
    """Their ids have websockets at the other replica, which may be about to end: the check is repeated for two seconds,
    without a thread that heartbeats and results need."""
    count = 60 if is_instrumented() else 240
    names = [unique("taken") for _ in range(count)]
    polling = [staff.grader(replica=0, concurrency=1) for _ in range(12)]
    elsewhere = [staff.grader(replica=1, name=grader.name, register=False) for grader in polling]
    staff.course().run(len(polling))
    jobs = [grader.take() for grader in polling]
    with ThreadPoolExecutor(24) as pool, beating(polling):
        first = list(pool.map(lambda name: staff.socket_grader(replica=0, name=name), names))
        again = list(pool.map(lambda name: staff.socket(replica=1, name=name), names))
        list(pool.map(lambda socket: socket.send({"type": "register", "args": {"hostname": "host"}}), again))
        taken = []
        for grader, job in zip(elsewhere, jobs, strict=True):
            begun = time.monotonic()
            assert grader.beat().status_code == 200
            taken.append(time.monotonic() - begun)
            begun = time.monotonic()
            grader.finish(job)  # this replica must read from the database whether the job was handed out
            taken.append(time.monotonic() - begun)
        assert all(pool.map(lambda socket: socket.receive(30) == {"success": False}, again))
        list(pool.map(lambda socket: socket.abort(), first))
    assert max(taken) < 1 * PATIENCE, taken
