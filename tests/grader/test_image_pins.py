"""Pins of images with a real stack and real containers: a tag that is moved while a run is graded."""

import json

import pytest
from broadway import ROUTE
from pipelines import STUDENT, job_id_of
from podman import IMAGE
from waiting import wait_until

NAME = IMAGE.rpartition(":")[0]
WHICH = ["/bin/sh", "-c", 'echo "${WHICH:-first}"']


@pytest.fixture
def images(podman):
    """(a function that moves a tag to one of two images, their digests)"""
    container = podman.run("create", IMAGE, "/bin/true").strip()
    podman.run("commit", "--quiet", "--change=ENV WHICH=second", container, "localhost/second:1")
    podman.run("rm", container)
    ids = [podman.run("image", "inspect", "--format={{.Id}}", name).strip() for name in (IMAGE, "localhost/second:1")]
    digests = [podman.run("image", "inspect", "--format={{.Digest}}", one).strip() for one in ids]
    yield lambda tag, number: podman.run("tag", ids[number], tag), digests
    podman.run("tag", ids[0], IMAGE)


def grade(stack, run, job):
    """What the job's stage printed and reported, when it has ended; and the job."""
    path = f"{ROUTE}/grading_job/{job_id_of(run, STUDENT, job)}"
    wait_until(lambda: stack.api.request("GET", path).json()["outcome"] is not None, 60, "the job has ended")
    shown = stack.api.request("GET", path).json()
    assert shown["outcome"] == "succeeded", json.dumps(shown)
    return shown["result"]["stages"][0], shown


def submit(stack, tag, students):
    stage = {"image": tag, "entrypoint": WHICH, "env": {}}
    return stack.api.submit_and_start(
        {"student_pipeline": [stage], "students": [{"N": str(n)} for n in range(students)]}
    )


def held(start_grader, podman, engine, *flags):
    """A grader that ends after one job."""
    engine = [f"--engine-socket={podman.socket}"] if engine == "api" else ["--engine-arg=--annotation=a=b"]
    return start_grader("--runner=podman", *engine, "--max-jobs=1", *flags, env=podman.env)


@pytest.mark.parametrize("engine", ["api", "cli"])
def test_the_second_job_runs_the_image_of_the_first_though_the_tag_was_moved(
    stack, start_grader, podman, images, engine
):
    move, digests = images
    tag = f"localhost/moved-{engine}:1"
    move(tag, 0)
    run = submit(stack, tag, 2)
    assert held(start_grader, podman, engine).wait(60) == 0
    first, _ = grade(stack, run, 0)
    assert first["image_digest"] == digests[0]
    move(tag, 1)
    assert held(start_grader, podman, engine).wait(60) == 0
    second, shown = grade(stack, run, 1)
    assert second["image_digest"] == digests[0] and "drift" not in shown
    assert [stage["stdout"] for stage in (first, second)] == ["first\n", "first\n"]
    assert podman.containers() == []


@pytest.mark.parametrize("engine", ["api", "cli"])
def test_a_grader_that_only_has_another_image_runs_it_and_its_job_is_flagged(
    stack, start_grader, podman, images, engine
):
    """The image was made on the machine of the first grader: no registry has it."""
    move, digests = images
    tag = f"localhost/other-{engine}:1"
    move(tag, 1)
    run = submit(stack, tag, 2)
    other = stack.grader()
    pinned = "sha256:" + "ab" * 32
    other.finish(other.take(), {"stages": [{"image": tag, "image_digest": pinned}]})
    assert held(start_grader, podman, engine).wait(60) == 0
    ran, shown = grade(stack, run, 1)
    assert (ran["image_digest"], ran["stdout"]) == (digests[1], "second\n")
    assert shown["drift"] == [{"image": tag, "pinned": pinned, "reported": digests[1]}]
    assert shown["receipt"]["receipt"]["drift"] is not None
