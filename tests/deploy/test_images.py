"""The images: built without a daemon, small, reproducible, with working binaries."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from broadway import Api
from crowd import Crowd
from harness import Stack, clean_environment, free_port
from manifests import ROOT
from pipelines import run_of
from processes import is_running
from tools import run, tools
from waiting import wait_until

pytestmark = [pytest.mark.images, pytest.mark.timeout(3600)]
USER = 10001
OVER_BASE_MB = 40
JOBS = 200


@pytest.fixture(scope="module")
def built(request, tmp_path_factory):
    """(directory with the root file systems, output of scripts/images)."""
    assert os.geteuid() == 0, "chroot needs root"
    if earlier := request.config.getoption("--images-from"):
        return Path(earlier), sayings((Path(earlier) / "images.log").read_text(encoding="utf-8"))
    tools("buildah", "debootstrap")
    directory = tmp_path_factory.mktemp("images")
    argv = [ROOT / "scripts/images", "--engine", "buildah", "--local-base", "--twice", "--rootfs", directory]
    status, said = run(argv, stdin=subprocess.DEVNULL)
    assert status == 0, said[-4000:]
    return directory, sayings(said)


def sayings(text):
    """The lines of scripts/images, without those of the builders."""
    return "\n".join(line for line in text.splitlines() if line.startswith("images: "))


# Read-only, as in Kubernetes with readOnlyRootFilesystem.
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec chroot "$@"'


class Inside:
    """A binary that runs inside its image's read-only root file system, as the image's user."""

    def __init__(self, root, binary, log, *flags, env=None):
        self.log = log
        with open(log, "wb") as output:
            self.child = subprocess.Popen(
                [*in_read_only(root), f"/usr/bin/{binary}", *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean_environment(**(env or {})),
            )

    def end(self):
        """SIGTERM; its exit status."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        return self.child.wait(30)


def in_read_only(root):
    """The prefix of a command."""
    return [
        *("unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, root),
        *(f"--userspec={USER}:{USER}", "--groups=", root),
    ]


def test_the_root_of_the_tested_binaries_is_read_only(built):
    status, said = run([*in_read_only(built[0] / "api"), "/bin/touch", "/tmp/file"])
    assert status != 0 and "Read-only file system" in said, said


def test_images_are_small_and_reproducible(built, capsys):
    _, said = built
    sizes = re.findall(r"broadway-(\w+):\S+: [\d.]+ MB, ([\d.]+) MB over its base", said)
    assert {name for name, _ in sizes} == {"api", "scheduler"}
    with capsys.disabled():
        print("\n" + said)
    assert all(float(size) < OVER_BASE_MB for _, size in sizes), said
    for target in ("api", "scheduler"):
        assert f"two builds of {target} are the same" in said


@pytest.mark.parametrize("target", ["api", "scheduler"])
def test_images_contain_only_what_runs(built, target):
    root = built[0] / target
    binaries = sorted(path.name for path in (root / "usr/bin").glob("broadway-*"))
    assert binaries == [f"broadway-{target}"]
    for tool in ("gcc", "cc", "ld", "make", "cmake", "git", "curl", "wget", "python3"):
        assert not (root / "usr/bin" / tool).exists(), tool
    assert (root / "bin/sleep").exists(), "the preStop hook needs it"
    status, said = run(["chroot", f"--userspec={USER}:{USER}", root, f"/usr/bin/broadway-{target}", "--version"])
    assert status == 0 and re.search(r"\d+\.\d+\.\d+ \([0-9a-f]{12}(-dirty)?\)", said), said


def test_passwords_beyond_ascii_are_supported(built):
    """The image has only the ICU data for this; the driver reports an error if they are missing."""
    log = built[0] / "password.log"
    with pytest.raises(subprocess.TimeoutExpired):
        uri = "mongodb://someone:p%C3%A4ss%E2%85%A8@127.0.0.1:1/?replicaSet=rs0"
        flags = [f"--mongodb-uri={uri}", f"--port={free_port()}", f"--internal-port={free_port()}"]
        inside = Inside(built[0] / "api", "broadway-api", log, *flags)
        try:
            inside.child.wait(3)
        finally:
            inside.child.kill()
            inside.child.wait()
    assert "SASLPrep" not in log.read_text(encoding="utf-8")


def test_the_images_binaries_complete_a_run_of_200_jobs(built, tmp_path, capsys):
    root, _ = built
    stack = Stack(tmp_path / "stack").up()
    started = []
    try:
        for name in ("api-0", "scheduler-0"):  # replaced by the images' binaries
            stack.kill(name, signal.SIGTERM)
            wait_until(lambda name=name: not is_running(stack.pid(name)), 15, f"{name} has left")
        public, internal, metrics = free_port(), free_port(), free_port()
        common = [f"--mongodb-uri={stack.described['mongodb_uri']}"]
        tokens = {
            "BROADWAY_INTERNAL_TOKEN": stack.described["internal_token"],
            "BROADWAY_CLUSTER_TOKEN": stack.cluster_token,
        }
        flags = [*common, f"--port={public}", f"--internal-port={internal}"]
        api = Inside(root / "api", "broadway-api", tmp_path / "api.log", *flags, env=tokens)
        started.append(api)
        del tokens["BROADWAY_CLUSTER_TOKEN"]
        flags = [*common, f"--metrics-port={metrics}"]
        scheduler = Inside(root / "scheduler", "broadway-scheduler", tmp_path / "scheduler.log", *flags, env=tokens)
        started.append(scheduler)
        took = grade(stack, public, internal, metrics)
        with capsys.disabled():
            print(f"\n{JOBS} jobs by the binaries inside the images: {took:.1f} s")
        assert [process.end() for process in started] == [0, 0]
    finally:
        for process in started:
            process.end()
        stack.down()


def grade(stack, public, internal, metrics):
    """Seconds that a run of 200 jobs takes."""
    probes = [Api(f"http://127.0.0.1:{port}") for port in (internal, metrics)]
    for probe in probes:
        wait_until(lambda probe=probe: probe.answers(200, "GET", "/healthz"), 20, "/healthz answers")
        wait_until(lambda probe=probe: probe.answers(200, "GET", "/readyz"), 20, "/readyz answers")
    api = Api(f"http://127.0.0.1:{public}")
    begun = time.monotonic()
    run_id = api.submit_and_start(run_of(JOBS))
    with Crowd([api.url], stack.cluster_token, 8) as crowd:
        crowd.park()
        crowd.work(JOBS)
    status = api.wait_over(run_id)
    took = time.monotonic() - begun
    assert status["state"] == "finished" and status["progress"]["succeeded"] == JOBS
    for each in (*probes, api):
        each.close()
    return took
