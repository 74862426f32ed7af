"""The start of the two binaries: without a database, with a wrong one, with invalid settings; and the signals that must
not end them."""

import json
import os
import re
import signal
import socket
import time

import httpx
import pytest
from broadway import ROUTE
from course_names import bearer, unique
from harness import Process, free_port, run_stack
from old_server import OldServer
from pipelines import run_of
from processes import is_running
from test_command_line import BINARIES, run
from waiting import PATIENCE, holds_for, wait_until

NOWHERE = "mongodb://127.0.0.1:1/?replicaSet=rs0"
LOOK_S = 4  # the interval at which an unusable server is diagnosed
NEW_WIRE_VERSION = 21


@pytest.fixture(scope="module")
def paused(tmp_path_factory):
    """A stack whose database can be paused."""
    yield from run_stack(tmp_path_factory, "paused", both=("heartbeat-interval=1",))


@pytest.fixture
def standstill(paused):
    os.kill(paused.pid("database"), signal.SIGSTOP)
    yield paused
    os.kill(paused.pid("database"), signal.SIGCONT)


def port_flags(binary):
    """Flags with free ports."""
    names = ["--metrics-port"] if binary == "broadway-scheduler" else ["--port", "--internal-port"]
    return [f"{name}={free_port()}" for name in names]


def ports_are_open(replica):
    return all(api_answers(url) for url in (replica.internal_url + "/healthz", replica.url + ROUTE + "/"))


def api_answers(url):
    try:
        return httpx.get(url, timeout=2, trust_env=False)
    except httpx.TransportError:
        return None


def test_without_a_database_both_ports_answer_and_it_comes_up_by_itself(standstill, make_replica):
    without = ("BROADWAY_CLUSTER_TOKEN", "BROADWAY_INTERNAL_TOKEN")
    replica = make_replica(standstill, "--heartbeat-interval=1", database="later", without=without)
    wait_until(lambda: ports_are_open(replica), 5, "both ports are open")
    assert replica.internal.request("GET", "/healthz").status_code == 200
    ready = replica.internal.request("GET", "/readyz")
    assert ready.status_code == 503 and ready.json()["status"] == "starting"
    assert replica.internal.request("GET", "/metrics").status_code == 200
    for refused in (
        httpx.get(f"{replica.url}{ROUTE}/worker_register", params={"token": "any"}, timeout=10),
        httpx.post(f"{replica.url}{ROUTE}/worker/any", json={"hostname": "a"}, headers=bearer("any"), timeout=10),
        httpx.get(f"{replica.url}{ROUTE}/grading_run_status/any/any", headers=bearer("any"), timeout=10),
        httpx.post(f"{replica.internal_url}/internal/v1/callbacks", headers=bearer("any"), timeout=10),
    ):
        assert refused.status_code == 503, (refused.url, refused.text)
        assert "retry-after" in refused.headers
    begun = time.monotonic()
    poll = httpx.get(f"{replica.url}{ROUTE}/grading_job", params={"worker_id": "0" * 32, "wait": 1}, timeout=30)
    assert (poll.status_code, poll.content) == (498, b"") and 0.9 < time.monotonic() - begun < 15, "a poll is held"
    os.kill(standstill.pid("database"), signal.SIGCONT)
    replica.wait_ready()
    token = re.search(r"shown this once: (\w+)", replica.said()).group(1)
    assert replica.api.answers(200, "GET", f"{ROUTE}/worker_register", params={"token": token})


def test_a_websocket_is_not_opened_before_its_token_can_be_checked(standstill, make_replica):
    replica = make_replica(standstill, database="later-too", without=("BROADWAY_CLUSTER_TOKEN",))
    wait_until(lambda: ports_are_open(replica), 5, "both ports are open")
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        **bearer("any"),
    }
    answer = httpx.get(f"{replica.url}{ROUTE}/worker_ws/{unique('socket')}", headers=handshake, timeout=10)
    assert answer.status_code == 503 and "retry-after" in answer.headers


@pytest.mark.parametrize("binary", BINARIES)
def test_a_process_that_waits_for_its_database_can_be_stopped(binary, tmp_path):
    process = Process(binary, f"--mongodb-uri={NOWHERE}", *port_flags(binary), log=tmp_path / "log")
    wait_until(lambda: "waiting for the database" in process.said(), 10, "it waits")
    asked = time.monotonic()
    process.terminate()
    assert process.wait(8) == 0
    assert time.monotonic() - asked < 6 * PATIENCE


@pytest.mark.parametrize("content", ["{", '{"cs225": {"tokens": 5}}', '{"no/name": {}}'])
def test_an_invalid_course_config_is_fatal_before_anything_is_created(paused, tmp_path, content):
    path = tmp_path / "courses.json"
    path.write_text(content, encoding="utf-8")
    status, text = run(
        "broadway-api",
        f"--mongodb-uri={paused.described['mongodb_uri']}",
        "--mongodb-database=untouched",
        f"--course-config={path}",
        f"--port={free_port()}",
        f"--internal-port={free_port()}",
    )
    assert status == 2 and f"--course-config {path}: " in text
    assert "token" not in text.replace("tokens", "")
    assert "untouched" not in paused.database.client.list_database_names()
    status, text = run("broadway-api", env={"BROADWAY_COURSE_CONFIG": str(path)})
    assert status == 2 and f"BROADWAY_COURSE_CONFIG {path}: " in text


OLD = [
    ("4.4.1", 9, False),
    ("4.2.0", 8, False),
    ("4.2.24", 8, True),
    ("3.6.23", 6, False),
    ("3.4.24", 5, False),
    ("2.6.12", 2, False),
]
OLDEST_OF_THE_DRIVER = 6  # it sends nothing to an older server: the release is derived from the wire version


@pytest.mark.parametrize(("version", "wire_version", "knows_hello"), OLD)
@pytest.mark.parametrize("binary", BINARIES)
def test_a_server_that_is_too_old_is_refused_with_both_versions(binary, version, wire_version, knows_hello):
    server = OldServer(version, wire_version, knows_hello)
    status, text = run(binary, f"--mongodb-uri={server.uri}", *port_flags(binary))
    server.close()
    assert status == 1, text
    told = version if wire_version >= OLDEST_OF_THE_DRIVER else version.rpartition(".")[0]
    assert f"MongoDB {told} is too old: Broadway needs 4.4.2 or newer" in text
    assert not server.commands & {"insert", "update", "create", "createindexes"}, "nothing was written"


@pytest.mark.parametrize("binary", BINARIES)
def test_a_wrong_replica_set_name_is_reported(paused, binary, tmp_path):
    uri = paused.described["mongodb_uri"]
    own = re.search(r"replicaSet=(\w+)", uri).group(1)
    process = Process(
        binary, f"--mongodb-uri={uri.replace(own, 'misnamed')}", *port_flags(binary), log=tmp_path / "log"
    )
    try:
        said = wait_until(lambda: re.search(r".*replica set.*", process.said()), 25, "it says so").group(0)
        assert "'misnamed'" in said and f"'{own}'" in said
    finally:
        process.end()


@pytest.mark.parametrize("binary", BINARIES)
def test_a_wrong_replica_set_name_is_reported_for_a_late_server(binary, tmp_path):
    port = free_port()
    uri = f"mongodb://127.0.0.1:{port}/?replicaSet=misnamed"
    process = Process(binary, f"--mongodb-uri={uri}", *port_flags(binary), log=tmp_path / "log")
    server = None
    try:
        wait_until(lambda: "waiting for the database" in process.said(), 10, "it waits")
        holds_for(lambda: "replica set" not in process.said(), LOOK_S + 2, "a look finds nobody")
        server = OldServer("7.0.0", NEW_WIRE_VERSION, True, port)
        wait_until(lambda: "'misnamed', but the server at" in process.said(), 25, "it says so")
        assert "belongs to 'old'" in process.said()
        holds_for(lambda: process.said().count("belongs to") == 1, LOOK_S + 2, "it says so once")
    finally:
        process.end()
        if server is not None:
            server.close()


def test_ignored_signals_do_not_end_a_process(stack):
    numbers = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)
    numbers += (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF)
    pids = [stack.pid(name) for name in ("scheduler-0", "api-0")]
    for pid in pids:
        for number in numbers:
            os.kill(pid, number)
    wait_until(lambda: "there is nothing to reload" in stack.log_text(), 5, "the scheduler says so")
    holds_for(lambda: all(is_running(pid) for pid in pids), 0.5, "they run")
    grader = stack.grader()
    stack.api.submit_and_start(run_of(1))
    grader.finish(grader.take())


@pytest.mark.parametrize("binary", BINARIES)
def test_both_binaries_report_a_port_in_use_alike(paused, binary):
    port = paused.urls[0].rpartition(":")[2]
    flag = "metrics-port" if binary == "broadway-scheduler" else "port"
    status, text = run(binary, f"--mongodb-uri={NOWHERE}", f"--{flag}={port}")
    assert status == 2
    assert f"--{flag} {port}: can't be opened on 127.0.0.1: Address already in use" in text
    status, text = run(binary, env={f"BROADWAY_{flag.upper().replace('-', '_')}": port})
    assert status == 2 and f"BROADWAY_{flag.upper().replace('-', '_')} {port}: can't be opened" in text


def test_one_port_for_both_listeners_is_reported_in_the_same_words():
    port = free_port()
    status, text = run("broadway-api", f"--mongodb-uri={NOWHERE}", f"--port={port}", f"--internal-port={port}")
    assert status == 2
    assert f"--port {port}: can't be opened on 127.0.0.1: Address already in use" in text


def variables_of(binary):
    """All variables in --help, and those of the files of secrets."""
    text = run(binary, "--help")[1]
    names = set(re.findall(r"BROADWAY_[A-Z_]+", text))
    return names | {
        f"BROADWAY_{flag.upper().replace('-', '_')}_FILE" for flag in re.findall(r"--([a-z-]+)-file\b(?!-)", text)
    }


@pytest.mark.parametrize("binary", BINARIES)
def test_an_unknown_variable_is_warned_of_by_its_name_and_a_known_one_is_not(paused, binary):
    own, all_names = variables_of(binary), set().union(*map(variables_of, BINARIES))
    known = (all_names - own) | {"BROADWAY_URL", "BROADWAY_TOKEN", "BROADWAY_PRESET", "BROADWAY_FAILPOINT"}
    port = paused.urls[0].rpartition(":")[2]
    flag = "--metrics-port" if binary == "broadway-scheduler" else "--port"
    wrong = {
        "BROADWAY_LOG_LEVLE": "canary",
        "BROADWAY_NOTHING_LIKE_IT": "canary",
        "BROADWAY_PORT_FILE": "canary",
        "BROADWAY_LOG_LEVEL_FILE": "canary",
        "BROADWAY_FOOBARQUUX": "canary_SERVICE_canary",
    }
    of_kubernetes = {"BROADWAY_API_SERVICE_HOST": "10.0.0.1", "BROADWAY_API_PORT_1470_TCP_ADDR": "10.0.0.1"}
    env = dict.fromkeys(known, "1") | wrong | of_kubernetes
    status, text = run(binary, f"{flag}={port}", env=env)
    assert status == 2
    warned = [line for line in text.splitlines() if "is not known" in line]
    assert len(warned) == len(wrong) and "canary" not in text
    assert all(any(name in line for line in warned) for name in wrong)
    assert any("BROADWAY_LOG_LEVLE" in line and "BROADWAY_LOG_LEVEL" in line for line in warned)
    assert any("BROADWAY_NOTHING_LIKE_IT" in line and "nearest" not in line for line in warned)


def last_event(text):
    """The last line of a log, all of whose lines must be JSON."""
    return [json.loads(line) for line in text.splitlines()][-1]


@pytest.mark.parametrize("binary", BINARIES)
def test_a_failed_start_logs_its_reason_in_the_last_line(paused, binary):
    port = paused.urls[0].rpartition(":")[2]
    flag = "metrics-port" if binary == "broadway-scheduler" else "port"
    status, text = run(binary, f"--mongodb-uri={NOWHERE}", f"--{flag}={port}", "--log-format=json")
    last = last_event(text)
    assert (status, last["level"], last["event"]) == (2, "error", "start failed")
    assert last["reason"] == f"--{flag} {port}: can't be opened on 127.0.0.1: Address already in use"
    status, text = run(binary, f"--mongodb-uri={NOWHERE}", f"--{flag}={port}")
    assert all(re.match(r"time=\S+ level=\w+ event=", line) for line in text.splitlines())
    assert f' level=error event="start failed" reason="--{flag} {port}: ' in text.splitlines()[-1]
    server = OldServer("4.2.24", 8, True)
    status, text = run(binary, f"--mongodb-uri={server.uri}", *port_flags(binary), "--log-format=json")
    server.close()
    assert status == 1 and last_event(text)["event"] == "start failed"
    assert last_event(text)["reason"].startswith("MongoDB 4.2.24 is too old")


@pytest.mark.parametrize("binary", BINARIES)
def test_a_wrong_uri_is_logged_in_the_last_line(binary):
    status, text = run(binary, "--mongodb-uri=mongodb://127.0.0.1:1/?retrywrits=true", "--log-format=json")
    assert status == 2 and last_event(text)["reason"].startswith("--mongodb-uri: ")


def test_warnings_name_the_variable_with_the_value(paused, make_replica):
    tokens = {"BROADWAY_SECOND_CLIENT_TOKEN": "brief", "BROADWAY_SECOND_INTERNAL_TOKEN": "brief"}
    env = {"BROADWAY_POLL_WAIT": "19.5", "BROADWAY_MAX_CONNECTIONS": "30000", **tokens}
    prefix = ("prlimit", "--nofile=900:900")
    replica = make_replica(paused, "--second-cluster-token=brief", env=env, prefix=prefix).wait_ready()
    said = replica.said()
    assert "source=BROADWAY_POLL_WAIT" in said and "source=BROADWAY_MAX_CONNECTIONS" in said
    short = [line for line in said.splitlines() if "a token is short" in line]
    sources = {re.search(r"source=(\S+)", line).group(1) for line in short}
    assert sources >= {*tokens, "--second-cluster-token"} and "brief" not in said


def test_a_wrong_host_in_the_environment_is_named_by_its_variable():
    status, text = run("broadway-api", env={"BROADWAY_ALLOWED_HOST": "grading:80"})
    assert status == 2 and "broadway-api: BROADWAY_ALLOWED_HOST: must be names" in text


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_the_schedulers_port_may_be_on_ipv6(tmp_path):
    port = free_port()
    flags = ("--metrics-bind-address=::1", f"--metrics-port={port}")
    process = Process("broadway-scheduler", f"--mongodb-uri={NOWHERE}", *flags, log=tmp_path / "log")
    try:
        answer = wait_until(lambda: api_answers(f"http://[::1]:{port}/healthz"), 5, "it answers")
        assert answer.status_code == 200
    finally:
        process.end()
