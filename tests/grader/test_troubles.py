"""Graders whose machines fail, with the real API: no student's job fails."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from engine import Engine
from podman import IMAGE
from waiting import wait_until

STUDENTS, SLOTS = 200, 4
# What a grader leaves is removed within this time after the run.
CLEAN_S = 30
# A container starts within this time on a machine that has nothing else to do: the deadlines of the class are for that.
START_S = 0.7


@pytest.fixture
def slowness(podman):
    """The factor by which this machine is slower now than the deadlines expect."""
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        podman.run("run", "--rm", "--network=none", IMAGE, "/bin/true")
        seconds.append(time.monotonic() - began)
    return max(1, max(seconds) / START_S)


def outcomes(stack, run):
    jobs = stack.api.status(run)["student_statuses"]
    return [job["outcome"] for job in jobs], [job["attempts"] for job in jobs]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 32 MB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.timeout(3600)  # the deadlines are those below
def test_a_class_is_graded_although_a_grader_is_killed_an_engine_breaks_and_a_disk_is_full(
    stack, start_grader, podman, small_disk, tmp_path, slowness
):
    engine = Engine(tmp_path / "bin", "podman", real=shutil.which("podman"))
    path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    by_api = ["--runner=podman", f"--engine-socket={podman.socket}", f"--concurrency={SLOTS}"]
    by_cli = ["--runner=podman", "--engine-arg=--annotation=a=b", "--concurrency=2"]
    healthy = [start_grader(*by_api, env=podman.env) for _ in range(2)]
    killed = start_grader(*by_api, env=podman.env)
    broken = start_grader(*by_cli, env={**podman.env, **path})
    full = start_grader(*by_api, f"--work-dir={small_disk}", "--min-free=8m", env=podman.env)

    def done():
        return outcomes(stack, run)[0].count("succeeded")

    def is_finished():
        return stack.api.status(run, students="false")["state"] == "finished"

    script = 'echo "$WHO" >file && cat file'
    stage = {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", script], "env": {"WHO": ""}}
    stage["timeout"] = round(20 * slowness)
    definition = {"student_pipeline": [stage], "students": [{"WHO": f"s{number}"} for number in range(STUDENTS)]}
    run = stack.api.submit(definition)
    stack.api.start(run)
    wait_until(lambda: done() >= STUDENTS // 10, 60 * slowness, "a part is graded")
    killed.send_signal(signal.SIGKILL)
    (small_disk / "filler").write_bytes(b"x" * 30_000_000)
    wait_until(lambda: engine.calls("start"), 30 * slowness, "the grader with the command line has had a job")
    engine.fail("*", "no space left on device")
    wait_until(is_finished, 150 * slowness, "the run is over")
    ended, attempts = outcomes(stack, run)
    assert ended == ["succeeded"] * STUDENTS
    assert max(attempts) <= 2 and sum(attempts) <= STUDENTS + SLOTS, "one for each slot of the killed grader"
    for grader in (broken, full):
        assert "no more jobs are taken until this machine has recovered: disk" in grader.log.read_text()
    engine.obey()
    (small_disk / "filler").unlink()
    end([broken, full], CLEAN_S * slowness)
    wait_until(lambda: podman.containers() == [], CLEAN_S * slowness, "nothing is left, not even of the killed grader")
    assert len([*(tmp_path / "work").iterdir()]) == len(healthy), "each has its directory, the killed one has none"
    end(healthy, CLEAN_S * slowness)
    assert [*(tmp_path / "work").iterdir(), *small_disk.iterdir(), *(tmp_path / "state").glob("*.lock")] == []


@pytest.mark.parametrize("protocol", ["classic", "course-http", "course-ws"])
def test_a_grader_says_what_is_wrong_with_its_engine_until_it_is_over(
    stack, course, start_grader, podman, tmp_path, protocol
):
    engine = Engine(tmp_path / "bin", "podman", real=shutil.which("podman"))
    engine.fail("*", "cannot connect to the database")
    env = {**podman.env, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    host = f"broken-{protocol}"
    by_cli = ["--runner=podman", "--engine-arg=--annotation=a=b"]
    grader = start_grader(*by_cli, f"--protocol={protocol}", f"--hostname={host}", env=env)

    def faults():
        return [row["fault"] for row in stack.database.db.workers.find({"hostname": host, "alive": True})]

    def says(words):
        return all(words in fault for fault in faults() or [""])

    wait_until(lambda: says("cannot connect to the database"), 30, "it registers with the fault")
    engine.obey()
    wait_until(lambda: faults() == [""], 60, "its heartbeat ends the fault")
    engine.fail("*", "no space left on device")
    stage = {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", "echo graded"]}
    if protocol == "classic":
        run = stack.api.submit_and_start({"student_pipeline": [stage], "students": [{}]})
    else:
        run = course.run(1, {"student_pipeline": [stage]})
    wait_until(lambda: says("disk: "), 30, "it says that its engine has no space")
    engine.obey()
    wait_until(lambda: faults() == [""], 60, "its next heartbeat ends the fault")
    if protocol == "classic":
        wait_until(lambda: outcomes(stack, run)[0] == ["succeeded"], 60, "the job succeeds")
    else:
        wait_until(lambda: course.state(run) == "grading run is complete", 60, "the run is complete")
    end([grader], 30)


def end(graders, seconds):
    """Lets them finish."""
    for grader in graders:
        grader.send_signal(signal.SIGTERM)
    for grader in graders:
        assert grader.wait(seconds) == 0


@pytest.mark.parametrize("protocol", ["course-http", "course-ws"])
def test_in_the_course_protocol_a_job_that_cannot_run_here_is_handed_out_again(
    course, start_grader, protocol, tmp_path
):
    grader = start_grader("--runner=process", f"--protocol={protocol}", f"--hostname=of-{protocol}")

    def is_there():
        return [row for row in course.workers() if row["alive"] and row["hostname"] == f"of-{protocol}"]

    wait_until(is_there, 20, "the grader is there")
    [own] = (tmp_path / "work").iterdir()
    shutil.rmtree(own)
    run = course.run(3, {"student_pipeline": [{"image": "any", "entrypoint": ["/bin/sh", "-c", "echo graded"]}]})
    wait_until(
        lambda: "directory of jobs can't be used" in grader.log.read_text(), 20, "the first grader has the fault"
    )
    start_grader("--runner=process", f"--protocol={protocol}", "--hostname=another")
    wait_until(lambda: course.state(run) == "grading run is complete", 60, "the run is complete")
    states = course.status(run)["student_jobs_state"]
    assert set(states.values()) == {"grading job was successful"}
    assert {course.log(job)["stdout"] for job in states} == {"graded\n"}
    wait_until(lambda: "jobs are taken again" in grader.log.read_text(), 20, "the first grader has recovered")
