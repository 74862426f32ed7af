"""Troubles of a grader's machine fail no student: the job is returned, the grader stops, and comes back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from conftest import SCRIPTS
from engine import Engine
from fake_api import FakeApi
from podman import IMAGE
from processes import wait_until

SPEAKS = {"Broadway-Outcomes": "infrastructure"}


def sh(script, **more):
    return {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", script], "env": [], **more}


def until_released(script):
    """A stage that waits for `release` before its script."""
    return sh(f"until test -e released; do sleep 0.1; done; {script}")


def release(work):
    """Lets the stages go on whose jobs have their directories in `work`."""
    for directory in work.glob("*/job-*/job"):
        (directory / "released").touch()


@pytest.fixture
def faulty(tmp_path, podman):
    """A podman on PATH that fails when it is told to; `faulty.path` is the PATH."""
    engine = Engine(tmp_path / "bin", "podman", real=shutil.which("podman"))
    engine.path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return engine


class Port:
    """The health port of a grader."""

    def __init__(self, grader):
        self._grader = grader
        self._url = None

    def get(self, path):
        """(status, text)"""
        try:
            with urllib.request.urlopen(self._base() + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()

    def metric(self, line):
        """The value of a metric, with its labels."""
        lines = dict(text.rsplit(" ", 1) for text in self.get("/metrics")[1].splitlines() if not text.startswith("#"))
        return float(lines[line]) if line in lines else None

    def _base(self):
        while self._url is None:
            line = self._grader.process.stderr.readline()
            assert line, "it ended before it had a port"
            if "health and metrics: " in line:
                self._url = line.split("health and metrics: ")[1].strip()
        return self._url


def assert_returned(api, job, words):
    api.wait_for(lambda: api.returned, 30)
    given, body = api.returned[0]
    assert given == job and job not in api.results
    assert set(body) == {"worker_id", "outcome", "reason"} and body["outcome"] == "infrastructure"
    assert words in body["reason"] and "\n" not in body["reason"]
    return body


@pytest.mark.parametrize(
    ("command", "words", "kind"),
    [
        ("create", "writing blob: no space left on device", "disk"),
        ("start", "OCI runtime error: runc: cannot set up a cgroup", "engine"),
        ("image", "cannot connect to the database", "engine"),
    ],
)
def test_an_engine_that_fails_stops_the_grader_until_it_has_recovered(
    api, start_container_grader, faulty, command, words, kind
):
    api.limits = SPEAKS
    grader = start_container_grader("--health-port=0", "--wait=1", by="cli", path=faulty.path)
    port = Port(grader)
    wait_until(lambda: port.get("/readyz")[0] == 200, "it is ready")
    faulty.fail(command, words)
    job = api.put(sh("echo graded"))
    assert_returned(api, job, f"{kind}: ")
    status, text = port.get("/readyz")
    assert status == 503 and words.split(": ")[-1] in json.loads(text)["status"]
    assert port.get("/healthz")[0] == 200
    assert port.metric("broadway_grader_healthy") == 0
    assert port.metric(f'broadway_grader_faults_total{{kind="{kind}"}}') == 1
    assert port.metric('broadway_grader_jobs_total{outcome="infrastructure"}') == 1
    wait_until(lambda: api.open_polls == 0, "the poll is over")
    polls = api.requests.count("GET /api/v1/grading_job")
    time.sleep(2.5)  # more than two polls, and at least one probe
    assert api.requests.count("GET /api/v1/grading_job") == polls
    faulty.obey()
    assert api.result_of(job, 30)["logs"]["stdout"] == "graded\n"
    assert port.metric("broadway_grader_healthy") == 1 and len(api.returned) == 1
    assert len(api.registrations) == 1 and len(api.heartbeats) > 3


def test_a_grader_that_starts_before_its_engine_says_so_and_waits_for_it(api, start_container_grader, podman):
    api.take_faults()
    podman.stop_service()
    try:
        grader = start_container_grader("--health-port=0")
        port = Port(grader)
        status, text = port.get("/readyz")
        assert status == 503 and "no container engine answers: podman by its API" in text
        assert port.get("/healthz")[0] == 200 and port.metric("broadway_grader_healthy") == 0
        job = api.put(sh("echo graded"))
        api.wait_for(lambda: len(api.faults) > 1)  # heartbeats
        [registered] = api.registrations
        [said] = {registered["fault"], *api.faults}
        assert said.startswith("engine: no container engine answers: podman by its API")
        assert grader.process.poll() is None and api.requests.count("GET /api/v1/grading_job") == 0
    finally:
        podman.start_service()
    assert api.result_of(job, 30)["logs"]["stdout"] == "graded\n"
    assert port.metric("broadway_grader_healthy") == 1
    api.wait_for(lambda: api.faults[-1] == "")
    beats = len(api.heartbeats)
    api.wait_for(lambda: len(api.heartbeats) > beats + 1)
    assert api.faults.count("") == 1 and len(api.registrations) == 1


def test_an_api_of_an_earlier_version_gets_no_fault(api, start_container_grader, podman):
    """It refuses the argument of the registration, as the fake does."""
    podman.stop_service()
    try:
        start_container_grader()
        api.wait_for(lambda: len(api.heartbeats) > 1)
    finally:
        podman.start_service()
    assert api.result_of(api.put(sh("echo graded")), 30)["logs"]["stdout"] == "graded\n"
    assert api.faults == [] and ["fault" in one for one in api.registrations] == [False]


def test_the_stages_own_status_125_is_no_fault(api, start_container_grader, faulty):
    api.limits = SPEAKS
    start_container_grader(by="cli", path=faulty.path)
    body = api.result_of(api.put(sh("echo 'Error: no space left on device' >&2; exit 125")), 30)
    assert body["result"]["stages"][0]["exit_code"] == 125 and api.returned == []


def test_an_api_that_knows_only_the_old_words_sees_the_grader_fall_silent(
    api, start_container_grader, faulty, tmp_path
):
    """Its job is then handed to another. The other job of this grader is finished and reported first."""
    start_container_grader("--concurrency=2", by="cli", path=faulty.path)
    other = api.put(until_released("echo other"))
    api.wait_for(lambda: other in api.handed_out)
    wait_until(lambda: faulty.calls("start"), "the other job runs", 20)
    faulty.fail("create", "no space left on device")
    job = api.put(sh("echo lost"))
    wait_until(lambda: len(faulty.calls("create")) > 1, "the fault is there", 20)
    release(tmp_path / "work")
    assert api.result_of(other, 30)["success"] is True
    faulty.obey()
    [first] = {worker for _, worker in api.heartbeats}
    api.wait_for(lambda: len(api.registrations) == 2, 30)
    silent_since = max(when for when, worker in api.heartbeats if worker == first)
    assert time.monotonic() - silent_since > 3, "two and a half heartbeat intervals of silence, and a second"
    last = api.put(sh("echo again"))
    assert api.result_of(last, 30)["logs"]["stdout"] == "again\n"
    assert job not in api.results and api.returned == []


def test_with_one_grader_broken_another_grades_the_whole_class(api, start_container_grader, faulty, podman, tmp_path):
    api.limits = SPEAKS
    start_container_grader("--concurrency=2", by="cli", path=faulty.path)
    faulty.fail("create", "no space left on device")
    jobs = [api.put(sh(f"echo {number}")) for number in range(20)]
    api.wait_for(lambda: len(api.returned) >= 2, 30)
    start_container_grader("--concurrency=2")
    outputs = [api.result_of(job, 60)["logs"]["stdout"] for job in jobs]
    assert outputs == [f"{number}\n" for number in range(20)]
    assert len(api.returned) == 2, "one job for each of its slots"


def test_an_engine_that_goes_away_during_a_stage_fails_nobody(api, start_container_grader, podman):
    api.limits = SPEAKS
    start_container_grader("--concurrency=2")
    job = api.put(sh("echo begun; sleep 3; echo ended"))
    wait_until(lambda: podman.containers("status=running"), "the stage runs", 20)
    podman.stop_service()
    try:
        assert_returned(api, job, "engine: ")
    finally:
        podman.start_service()
    assert api.result_of(job, 60)["logs"]["stdout"] == "begun\nended\n"
    wait_until(lambda: podman.containers() == [], "the first container is removed too", 20)


def test_an_image_that_is_refused_stops_no_other_jobs(api, start_container_grader):
    api.limits = SPEAKS
    start_container_grader("--pull=never")
    job = api.put({**sh("true"), "image": "localhost/not-here:1"})
    assert_returned(api, job, "image: ")
    with api.changed:
        api.queue.clear()
    assert api.result_of(api.put(sh("echo other")), 10)["success"] is True


def test_a_registry_that_is_not_reached_stops_the_grader(api, start_container_grader, faulty):
    api.limits = SPEAKS
    start_container_grader(by="cli", path=faulty.path)
    faulty.fail("pull", "pinging container registry: dial tcp: i/o timeout")
    job = api.put({**sh("echo pulled"), "image": "localhost/late:2"})
    assert_returned(api, job, "registry: the image localhost/late:2 can't be pulled")
    assert api.open_polls == 0
    faulty.replace("pull", ["tag", IMAGE, "localhost/late:2"])
    assert api.result_of(job, 30)["logs"]["stdout"] == "pulled\n"


def test_a_pull_is_not_a_part_of_the_stages_time_and_serves_all_slots(api, start_container_grader, faulty):
    start_container_grader("--concurrency=3", by="cli", path=faulty.path)
    faulty.replace("pull", ["tag", IMAGE, "localhost/late:1"], delay=12)
    jobs = [api.put({**sh("echo ran"), "image": "localhost/late:1", "timeout": 10}) for _ in range(3)]
    for job in jobs:
        body = api.result_of(job, 40)
        assert body["success"] is True and body["result"]["stages"][0]["seconds"] < 10
    assert len(faulty.calls("pull")) == 1


def test_a_pull_over_its_limit_is_a_fault(api, start_container_grader, faulty):
    api.limits = SPEAKS
    start_container_grader("--pull-timeout=1", by="cli", path=faulty.path)
    faulty.replace("pull", ["tag", IMAGE, "localhost/late:3"], delay=30)
    job = api.put({**sh("true"), "image": "localhost/late:3"})
    assert_returned(api, job, "was not pulled within 1 s")


def test_a_job_whose_image_takes_too_long_is_returned_and_the_pull_goes_on(api, start_container_grader, faulty):
    api.limits = SPEAKS
    # Three seconds in place of half a minute.
    program = (
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from broadway_tools.grader import command, job;"
        " job.PULL_GRACE_S = 3; command.main()"
    )
    start_container_grader(by="cli", path=faulty.path, program=(sys.executable, "-c", program))
    faulty.replace("pull", ["tag", IMAGE, "localhost/late:4"], delay=15)
    job = api.put({**sh("echo ran"), "image": "localhost/late:4", "timeout": 7})
    assert_returned(api, job, "pull: the image localhost/late:4 is still being pulled")
    assert api.result_of(job, 60)["logs"]["stdout"] == "ran\n"
    assert len(faulty.calls("pull")) == 1


def test_a_directory_that_goes_away_is_made_again(api, start_container_grader, tmp_path):
    api.limits = SPEAKS
    start_container_grader()
    api.wait_for(lambda: api.open_polls == 1, 20)
    [own] = (tmp_path / "work").iterdir()
    shutil.rmtree(own)
    job = api.put(sh("echo graded"))
    assert_returned(api, job, "directory: ")
    assert api.result_of(job, 30)["logs"]["stdout"] == "graded\n"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 32 MB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def test_a_stage_that_fails_while_the_disk_is_full_fails_nobody(api, start_container_grader, small_disk):
    api.limits = SPEAKS
    start_container_grader(f"--work-dir={small_disk}", "--min-free=8m")
    api.wait_for(lambda: api.open_polls == 1, 20)
    (small_disk / "another's").write_bytes(b"x" * 28_000_000)
    job = api.put(sh("head -c 8000000 /dev/zero >file && echo written"))
    assert_returned(api, job, "disk: ")
    time.sleep(1.5)
    assert api.open_polls == 0
    (small_disk / "another's").unlink()
    assert api.result_of(job, 30)["logs"]["stdout"] == "written\n"


@pytest.mark.parametrize("then", ["exit 1", "head -c 300000 /dev/zero | tr '\\0' x; exit 1", "exit 0"])
def test_a_stage_that_fills_the_disk_itself_fails_and_the_grader_goes_on(api, start_container_grader, small_disk, then):
    api.limits = SPEAKS
    grader = start_container_grader(f"--work-dir={small_disk}", "--min-free=8m")
    body = api.result_of(api.put(sh(f"dd if=/dev/zero of=big bs=1M count=10240; {then}")), 30)
    report = body["result"]["stages"][0]
    assert body["success"] is (then == "exit 0")
    if not body["success"]:
        assert "its output filled the disk of the grader: the 3" in report["error"]
    assert api.result_of(api.put(sh("ls; echo graded")), 30)["logs"]["stdout"] == "graded\n"
    assert api.returned == []
    grader.stop()
    assert "MiB are needed if each slot's job writes as much as it may (--disk 4096 MiB)" in grader.stderr


def test_a_disk_that_is_full_from_the_start_takes_no_jobs(api, start_grader):
    grader = start_grader("--min-free=1000000g", "--health-port=0")
    port = Port(grader)
    wait_until(lambda: "must be" in port.get("/readyz")[1], "it says what is wrong")
    assert api.handed_out == [] and api.registrations == []
    assert grader.stop() == 0


def test_a_defect_of_the_grader_is_no_failure_of_the_student(api, start_grader):
    """A hand-out that it can't read stands for a defect."""
    api.limits = SPEAKS
    start_grader()
    job = api.put({"entrypoint": ["true"]})
    assert_returned(api, job, "grader: KeyError")


# What dead graders leave


def labelled(podman, name):
    return [one["Id"] for one in podman.containers(f"label=broadway.job={name}")]


def test_what_a_killed_grader_left_is_swept_and_a_neighbours_is_not(
    api, start_container_grader, graders, podman, tmp_path
):
    with FakeApi() as other_api:
        victim = start_container_grader()
        lost = api.put(sh("sleep 600"), job_id="1" * 32)
        wait_until(lambda: labelled(podman, f"{lost}-1"), "the victim's container runs", 20)
        neighbour = start_container_grader(f"--url={other_api.url}")  # a second URL; only one of them answers
        api.wait_for(lambda: api.open_polls == 1, 20)
        kept = api.put(until_released("echo kept"), job_id="2" * 32)
        wait_until(lambda: labelled(podman, f"{kept}-1"), "the neighbour's container runs", 20)
        directories = set((tmp_path / "work").iterdir())
        os.kill(victim.process.pid, signal.SIGKILL)
        victim.leave()
        third = start_container_grader()
        wait_until(lambda: not labelled(podman, f"{lost}-1"), "the victim's container is gone", 20)
        wait_until(lambda: len(directories - set((tmp_path / "work").iterdir())) == 1, "so is its directory", 20)
        assert labelled(podman, f"{kept}-1"), "the neighbour's container is not"
        release(tmp_path / "work")
        assert api.result_of(kept, 30)["logs"]["stdout"] == "kept\n"
        assert (neighbour.stop(), third.stop()) == (0, 0)
    assert list((tmp_path / "work").iterdir()) == [] and list((tmp_path / "state").glob("*.lock")) == []
    assert podman.containers() == []


def test_a_second_signal_leaves_no_container(api, start_container_grader, podman, tmp_path):
    grader = start_container_grader("--concurrency=2")
    job = api.put(sh("trap '' TERM; while :; do sleep 1; done"))
    wait_until(lambda: podman.containers("status=running"), "the stage runs", 20)
    api.wait_for(lambda: api.open_polls == 1)
    grader.signal()
    api.wait_for(lambda: api.open_polls == 0)
    grader.signal()
    assert grader.leave(60) == 1
    assert job not in api.results and podman.containers() == []
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("by", ["api", "cli"])
def test_a_second_signal_while_a_container_is_created_leaves_none(api, start_container_grader, podman, tmp_path, by):
    for pause_s in (0, 0.1, 0.2, 0.3, 0.4):  # before, while, and after
        handed_out = len(api.handed_out)
        grader = start_container_grader("--concurrency=2", by=by)
        job = api.put(sh("trap '' TERM; while :; do sleep 1; done"))
        api.wait_for(lambda before=handed_out: len(api.handed_out) > before and api.open_polls == 1, 20)
        time.sleep(pause_s)
        grader.signal()
        api.wait_for(lambda: api.open_polls == 0)
        grader.signal()
        assert grader.leave(60) == 1
        assert job not in api.results and podman.containers() == []
        assert list((tmp_path / "work").iterdir()) == []


def test_no_file_is_left_where_the_grader_was_started(api, start_container_grader, tmp_path, monkeypatch):
    """The monitor of a container writes a file into its directory when memory is out."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    start_container_grader(by="cli")
    script = "sleep 0.5; head -c 200000000 /dev/zero | tail -c 200000000 | wc -c; sleep 1"  # time to read the counts
    job = api.put(sh(script, memory="30m"))
    assert api.result_of(job, 30)["result"]["stages"][0]["oom_killed"] is True
    assert list((tmp_path / "here").iterdir()) == []
