"""Stacks for the tests. Most tests share one stack with three replicas; each test leaves its queue empty."""

import json
import os

import harness
import pytest
from course import COURSES, Staff
from described import watch_answers
from harness import ROOT, Replica, run_stack

os.environ.setdefault("TSAN_OPTIONS", f"suppressions={ROOT / 'tests' / 'tsan.supp'}")


def pytest_addoption(parser):
    parser.addoption("--openapi-cases", type=int, default=400, help="how many requests test_openapi_cases.py makes")
    parser.addoption("--openapi-seed", type=int, default=1, help="the seed of these requests")


# Answers that the OpenAPI document does not describe.
undescribed = []
watch_answers(undescribed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """A test fails if a server gave an answer that docs/openapi.json does not describe."""
    yield
    complaints = [*undescribed]
    undescribed.clear()
    assert not complaints, "\n".join(complaints[:10])


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory):
    """Three replicas and a scheduler, with a heartbeat of one second."""
    yield from run_stack(tmp_path_factory, "shared", replicas=3, both=("heartbeat-interval=1",))


@pytest.fixture
def stack(shared_stack):
    """The shared stack; its queue is empty before and after the test."""
    shared_stack.drain()
    yield shared_stack
    shared_stack.stop_graders()
    shared_stack.drain()
    shared_stack.stop_graders()


@pytest.fixture(scope="session")
def shared_course_stack(tmp_path_factory):
    """Two replicas with the usual settings of the course protocol."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    api = ("course-poll-wait=0", "allow-privileged", f"course-config={config}")
    yield from run_stack(
        tmp_path_factory,
        "courses",
        replicas=2,
        both=("heartbeat-interval=1",),
        api=api,
        scheduler=("max-attempts=1",),
    )


@pytest.fixture
def staff(shared_course_stack):
    """Clients and graders of the course protocol; the queue is empty before and after."""
    staff = Staff(shared_course_stack)
    staff.drain()
    yield staff
    staff.drain()
    staff.close()


@pytest.fixture
def make_replica(request, tmp_path):
    """Starts further replicas for a stack; they end with the test."""
    started = []

    def make(stack, *flags, **options):
        log = tmp_path / f"replica-{len(started)}.log"
        started.append(Replica(stack, log, *flags, **options))
        return started[-1]

    yield make
    for replica in started:
        replica.end()
        report = harness.SANITIZER_REPORT.search(replica.said())
        assert report is None, replica.said()[-4000:]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the ends of all logs to the report of a failed test."""
    report = yield
    if report.failed:
        for stack in harness.running_stacks:
            for path in stack.log_paths():
                report.sections.append((f"end of {stack.directory.name}/{path.name}", harness.last_lines(path)))
    return report
