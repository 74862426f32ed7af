"""When a stack counts as ready, by what its members report; the members are fakes."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from broadway_tools import processes
from broadway_tools.stack import readiness
from broadway_tools.stack.record import API, SCHEDULER, Member, Stack


class Reporter(ThreadingHTTPServer):
    """A server that says `report` on /readyz; 503 if it is None."""

    daemon_threads = True

    def __init__(self, report):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.report = report
        self.asked = 0
        self.on_asked = lambda: None
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def end(self):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked += 1
        self.server.on_asked()
        body = json.dumps(self.server.report or {}).encode()
        self.send_response(200 if self.server.report else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def leading(process, url, in_contact=True):
    return {"role": "leader", "replicas": [{"id": url, "process": process, "in_contact": in_contact}]}


@pytest.fixture
def replica():
    server = Reporter({"process": "second"})
    yield server
    server.end()


@pytest.fixture
def scheduler(replica):
    server = Reporter(leading("second", replica.url))
    yield server
    server.end()


@pytest.fixture
def stack(tmp_path, replica, scheduler):
    """A replica and a scheduler; the test's own process stands for both."""
    own = {"argv": [], "cwd": "/", "pid": os.getpid(), "identity": processes.identity(os.getpid())}
    members = [
        Member("scheduler-0", SCHEDULER, url=scheduler.url, **own),
        Member("api-0", API, url="http://127.0.0.1:1", internal_url=replica.url, **own),
    ]
    return Stack(tmp_path, "mongodb://127.0.0.1:1", "broadway", "", "", members)


def assert_not_ready(stack, words):
    with pytest.raises(readiness.NotReady, match=words):
        readiness.wait_ready(stack, stack.members, timeout_s=0.3)


def test_ready_when_the_leader_is_in_contact_with_the_process(stack):
    readiness.wait_ready(stack, stack.members, timeout_s=5)


def test_contact_with_a_former_process_at_this_address_is_not_enough(stack, scheduler, replica):
    scheduler.report = leading("first", replica.url)
    assert_not_ready(stack, "scheduler-0 leads, but is not in contact with api-0")


def test_waits_until_the_leader_has_found_the_new_process(stack, scheduler, replica):
    scheduler.report = leading("first", replica.url)

    def find_it():
        if scheduler.asked > 6:
            scheduler.report = leading("second", replica.url)

    scheduler.on_asked = find_it
    readiness.wait_ready(stack, stack.members, timeout_s=10)
    assert scheduler.asked > 6


def test_a_record_without_contact_is_not_enough(stack, scheduler, replica):
    scheduler.report = leading("second", replica.url, in_contact=False)
    assert_not_ready(stack, "not in contact with api-0")


def test_a_standby_alone_is_not_enough(stack, scheduler):
    scheduler.report = {"role": "standby", "replicas": []}
    assert_not_ready(stack, "0 schedulers lead")


def test_a_replica_that_answers_503_is_not_ready(stack, replica):
    replica.report = None
    assert_not_ready(stack, "api-0 doesn't answer /readyz with 200")


def test_an_ended_process_is_not_waited_for(stack):
    stack.members[1].identity = "another process"
    with pytest.raises(readiness.NotReady, match="api-0 has exited"):
        readiness.wait_ready(stack, stack.members, timeout_s=60)


def test_a_process_killed_before_is_not_waited_for(stack, replica):
    stack.members[1].identity = "another process"
    replica.report = None
    readiness.wait_ready(stack, stack.members[:1], timeout_s=5)
