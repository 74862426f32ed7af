"""`status`: the duration of the GET of a run, while it is graded and afterwards."""

import statistics
import time

from pymongo import MongoClient

from broadway_bench.setting import rss_bytes, system

STUDENTS = (50, 1000, 10000)
GRADERS = 256
AGAIN = 10


def status(wanted):
    """Through a replica that does not know the run: first, and again."""
    figures = {}
    for students in STUDENTS:
        figures.update(_one(wanted, students))
    return figures


def _one(wanted, students):
    with system(wanted, replicas=2) as running:
        generator = running.generator
        generator.ask("describe", students, 0)
        generator.ask("submit", 1, 1, 0)
        running.park(GRADERS)
        generator.begin("jobs", students, 1, 120)
        url = f"{running.api(1).url}/api/v1/grading_run/{_run_id(running)}"
        during = [_get(running, url) for _ in range(3)]
        generator.answer()
        running.wait(lambda: '"finished"' in running.http.get(f"{url}?students=false").text)
        return _after(running, students, url, during)


def _after(running, students, url, during):
    replica = running.stack.of_kind("api")[0]
    url = url.replace(running.api(1).url, replica.url)
    first = _get(running, url)
    again = [_get(running, url) for _ in range(AGAIN)]
    before = rss_bytes(replica.pid)
    for _ in range(AGAIN):
        _get(running, url)
    name = f"{students} students"
    return {
        f"{name}: during, ms": statistics.median(during),
        f"{name}: after, first, ms": first,
        f"{name}: after, again, ms": statistics.median(again),
        f"{name}: replica grows by, MiB": (rss_bytes(replica.pid) - before) / 2**20,
        **{f"{name}: {fault}": value for fault, value in running.faults().items()},
    }


def _run_id(running):
    """The one run there is, by its definition in the database."""
    with MongoClient(running.stack.mongodb_uri) as client:
        return str(client[running.stack.database]["grading_runs"].find_one({})["_id"])


def _get(running, url):
    begun = time.monotonic()
    answer = running.http.get(url)
    answer.raise_for_status()
    return (time.monotonic() - begun) * 1000
