"""The image of the reference grader, as scripts/images builds it, runs jobs in a pod with a read-only root."""

import os
import re
import subprocess

import pytest
from fake_api import FakeApi
from harness import ROOT
from podman import IMAGE
from waiting import wait_until

pytestmark = pytest.mark.timeout(900)  # the first build makes a Debian
DOCKERFILE = ROOT / "deploy" / "grader" / "Dockerfile"
# Those of a container that asks for none, as far as they are about files.
USUAL_CAPABILITIES = ("+chown", "+dac_override", "+fowner", "+fsetid", "+kill")
POD = ["unshare", "--mount", "--pid", "--fork", "--kill-child", ROOT / "tests" / "grader" / "pod"]


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """The root file system of the image."""
    directory = tmp_path_factory.mktemp("image")
    argv = ["--only=grader", "--engine=buildah", "--local-base", f"--rootfs={directory}"]
    built = subprocess.run(
        [ROOT / "scripts" / "images", *argv],
        env={**os.environ, "BROADWAY_IMAGES": str(ROOT / "build" / "images")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-4000:]
    return directory / "grader"


@pytest.fixture
def pod(image, podman, tmp_path):
    """A function that runs a command in a pod, whose podman has the test's image: the process."""
    archive = tmp_path / "volumes" / "tmp" / "image.tar"
    archive.parent.mkdir(parents=True)
    podman.run("save", "--output", str(archive), IMAGE)
    started = []

    def start(*command):
        argv = [*POD, image, tmp_path, *command]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return started[-1]

    loaded = start("podman", "load", "--input", "/tmp/image.tar")
    said, _ = loaded.communicate(timeout=60)
    assert loaded.returncode == 0, said
    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def entrypoint():
    """That of the image."""
    return re.findall(r'"((?:[^"\\]|\\.)*)"', re.search(r"^ENTRYPOINT \[(.*)\]$", DOCKERFILE.read_text(), re.M)[1])


def test_the_image_runs_jobs_with_and_without_a_network(pod):
    with FakeApi() as api:
        flags = ["--url", api.url, "--token=secret", "--runner=podman", "--work-dir=/jobs", "--max-jobs=3"]
        grader = pod(*entrypoint(), *flags)
        plain = {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", "pwd; ip -o link | wc -l"], "env": ["A=1"]}
        jobs = [api.put({**plain, "networking": networking}) for networking in (False, True)]
        jobs.append(api.put({**plain, "entrypoint": ["/bin/sh", "-c", "exit 125"], "memory": "64m"}))
        said, _ = grader.communicate(timeout=120)
        assert grader.returncode == 0, said
        bodies = [api.results[job] for job in jobs]
    assert [body["result"]["stages"][0]["exit_code"] for body in bodies] == [0, 0, 125], said
    assert [body["logs"]["stdout"] for body in bodies[:2]] == ["/job\n1\n", "/job\n2\n"]


def test_the_image_takes_jobs_by_websocket(pod, stack, course):
    flags = ["--protocol=course-ws", "--runner=podman", "--work-dir=/jobs", "--hostname=pod", "--max-jobs=1"]
    urls = [f"--url={url}" for url in stack.urls]
    grader = pod(*entrypoint(), *urls, f"--token={stack.cluster_token}", *flags)
    stage = {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", "echo graded"]}
    run = course.run(1, {"student_pipeline": [stage]})
    wait_until(lambda: course.state(run) == "grading run is complete", 60, "the run is complete")
    [job] = course.status(run)["student_jobs_state"]
    assert course.log(job)["stdout"] == "graded\n"
    said, _ = grader.communicate(timeout=60)
    assert grader.returncode == 0 and "registered as pod-" in said


def test_the_image_uses_the_engine_outside_by_its_socket_without_privileges(image, podman, tmp_path):
    """With the capabilities of a usual container, and nothing of the machine but the socket and one directory."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    environment = {**os.environ, "POD_MOUNTS": f"{podman.socket} {jobs}"}
    usual = ["setpriv", "--inh-caps=-all", f"--bounding-set=-all,{','.join(USUAL_CAPABILITIES)}"]
    flags = [
        "--runner=podman",
        f"--engine-socket={podman.socket}",
        f"--work-dir={jobs}",
        f"--state-dir={jobs / 'state'}",
    ]
    with FakeApi() as api:
        api.take_files()
        argv = [*POD, image, tmp_path, *usual, *entrypoint()]
        argv += ["--url", api.url, "--token=secret", "--max-jobs=2", *flags]
        files = [{"path": "input/a", **api.keep(b"given\n")}]
        stage = {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", "cat input/a; id -u; mkdir -m 700 own; echo >own/x"]}
        outcomes = [api.put({**stage, "env": []}, files=files), api.put({**stage, "env": [], "entrypoint": ["/no"]})]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
        bodies = [api.results.get(job) for job in outcomes]
    assert done.returncode == 0, done.stdout + done.stderr
    assert bodies[0]["logs"]["stdout"] == "given\n0\n" and bodies[0]["success"] is True
    assert "could not be started" in bodies[1]["result"]["stages"][0]["error"]
    assert [path.name for path in jobs.iterdir()] == ["state"] and podman.containers() == []


def test_what_the_image_copies_is_sent_to_the_builder():
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().split()
    sent = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    for source in re.findall(r"^COPY (.*) \S+$", DOCKERFILE.read_text(), re.M):
        for path in source.split():
            is_there = (ROOT / path).exists() or path == "build/grader-python"  # which scripts/images makes
            assert is_there and any(path.startswith(one) for one in sent), path
