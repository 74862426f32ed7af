"""Metrics: the page of all of them, and what those of the queue, the database, the logs and the results count."""

import os
import re
import signal

import pytest
from broadway import Api
from broadway_tools.metrics_page import PAGE, families, page
from harness import BUILD, run_stack
from pipelines import run_of
from test_health import sample_values
from waiting import wait_until

LOGS = {"stdout": "twelve bytes", "stderr": "four"}


def test_the_page_is_what_the_programs_print():
    assert PAGE.read_text(encoding="utf-8") == page(BUILD), "run scripts/metrics_page"


def test_a_metric_that_is_not_on_the_page_would_be_found():
    printed = '# HELP x_total Counts.\n# TYPE x_total counter\nx_total{kind="a"} 0\nx_total{kind="b"} 0\n'
    assert families(printed) == {"x_total": {"type": "counter", "help": "Counts", "labels": {"kind": ["a", "b"]}}}


class Readings:
    """The metrics of one replica and of the scheduler, and how much they have grown since `start`."""

    def __init__(self, stack):
        self._ports = [Api(stack.described["api"][0]["internal_url"]), Api(stack.described["scheduler"][0]["url"])]
        self._before = self.read()

    def read(self):
        values = {}
        for port in self._ports:
            values |= sample_values(port.request("GET", "/metrics").text)
        return values

    def grown(self, sample):
        return self.read()[sample] - self._before[sample]

    def close(self):
        for port in self._ports:
            port.close()


@pytest.fixture
def readings(stack):
    readings = Readings(stack)
    yield readings
    readings.close()


def test_waits_hand_outs_logs_and_results_are_counted(stack, readings):
    stack.api.submit_and_start(run_of(2))
    grader = stack.grader()
    first = grader.take()
    grader.finish(first, logs=LOGS)
    second = grader.take()
    grader.finish(second, success=False)
    results = 'broadway_scheduler_results_total{outcome="%s"}'
    wait_until(lambda: readings.grown(results % "failed") == 1, 10, "both results are seen")
    assert readings.grown(results % "succeeded") == 1
    assert readings.grown('broadway_scheduler_queue_wait_seconds_count{protocol="classic"}') == 2
    assert readings.grown('broadway_scheduler_hand_out_seconds_count{protocol="classic"}') == 2
    assert readings.grown('broadway_scheduler_hand_out_seconds_count{protocol="course"}') == 0
    assert 0 < readings.grown('broadway_scheduler_hand_out_seconds_sum{protocol="classic"}') < 60
    assert readings.grown('broadway_api_log_bytes_total{kind="whole"}') == 16


def test_a_repeated_attempt_waits_in_no_queue_again(stack, readings):
    stack.api.submit_and_start(run_of(1))
    lost = stack.grader(hostname="lost")
    lost.take()
    heir = stack.grader()
    heir.finish(heir.take())
    assert readings.grown('broadway_scheduler_hand_out_seconds_count{protocol="classic"}') == 2
    assert readings.grown('broadway_scheduler_queue_wait_seconds_count{protocol="classic"}') == 1


def test_commands_of_the_database_are_counted_by_kind(stack, readings):
    run = stack.api.submit(run_of(1))
    stack.api.status(run)
    for operation in ("insert", "find"):
        name = f'broadway_api_database_operation_seconds_%s{{operation="{operation}"}}'
        assert readings.grown(name % "count") >= 1 and readings.grown(name % "sum") > 0
        assert readings.grown(f'broadway_api_database_operations_failed_total{{operation="{operation}"}}') == 0
    stack.api.start(run)
    stack.api.cancel(run)
    assert readings.grown('broadway_api_database_operation_seconds_count{operation="update"}') >= 2


def test_a_duplicate_key_is_no_failed_command(stack, readings):
    grader = stack.grader()
    stack.api.submit_and_start(run_of(1))
    job = grader.take()
    grader.finish(job)
    grader.finish(job)
    failed = [name for name in readings.read() if re.match("broadway_(api|scheduler)_database_operations_failed", name)]
    assert len(failed) == 10 and all(readings.grown(name) == 0 for name in failed)


@pytest.fixture
def own_stack(tmp_path_factory):
    yield from run_stack(tmp_path_factory, "hung", both=("heartbeat-interval=1",))


def test_commands_of_a_database_that_hangs_are_counted_as_failed(own_stack):
    readings = Readings(own_stack)

    def failed():
        return sum(readings.grown(name) for name in readings.read() if "operations_failed_total" in name)

    database = own_stack.pid("database")
    os.kill(database, signal.SIGSTOP)
    try:
        wait_until(lambda: failed() > 0, 40, "a command failed")
    finally:
        os.kill(database, signal.SIGCONT)
        readings.close()
