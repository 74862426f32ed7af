"""What the grader adds to a job beside the engine's work: its jobs in pairs with `podman run` of the same moment."""

import statistics
import subprocess
import time

import pytest
from fake_api import FakeApi
from harness import SCRIPTS, clean_environment
from podman import IMAGE

PAIRS, WARM_UP = 20, 2
# The aim is 50 ms. Other work on the machine stretches all times alike, so beyond that the bound is a ratio to the
# engine's own. By the command line each step is a client, of which `podman run` is only one.
MOST_MORE, MOST_RATIO = 0.05, {"api": 1.4, "cli": 2.5}
STAGE = {"image": IMAGE, "entrypoint": ["/bin/true"], "env": []}
# What the grader asks of the engine for each stage, by the options that cost time.
LIMITS = "--memory=2g --memory-swap=2g --pids-limit=512 --cpus=1 --cpu-shares=256"
SAFETY = (
    "--init --network=none --read-only --cap-drop=ALL --security-opt=no-new-privileges --log-driver=none --pull=never"
)
ALONE = f"--rm {LIMITS} {SAFETY} --workdir=/job --entrypoint=/bin/true".split()


def seconds_of(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


@pytest.mark.parametrize("by", ["api", "cli"])
def test_a_job_takes_little_longer_than_podman_run(podman, tmp_path, by):
    way = f"--engine-socket={podman.socket}" if by == "api" else "--engine-arg=--label=by=operator"
    job_directory = tmp_path / "job"
    job_directory.mkdir()
    alone = ["run", *ALONE, f"--volume={job_directory}:/job", IMAGE]
    with FakeApi() as api, open(tmp_path / "log", "w") as log:
        directories = [f"--work-dir={tmp_path / 'work'}", f"--state-dir={tmp_path / 'state'}"]
        argv = [SCRIPTS / "grader", "--url", api.url, "--runner=podman", way, "--cpus=1", *directories]
        environment = clean_environment(BROADWAY_CLUSTER_TOKEN="secret", **podman.env)
        grader = subprocess.Popen(argv, env=environment, stderr=log)
        try:
            pairs = []
            for _ in range(PAIRS + WARM_UP):
                by_podman = seconds_of(lambda: podman.run(*alone))
                by_grader = seconds_of(lambda: api.result_of(api.put(STAGE), 60))
                pairs.append((by_podman, by_grader))
        finally:
            grader.terminate()
            grader.wait(30)
    assert all(body["success"] for body in api.results.values())
    pairs = pairs[WARM_UP:]
    least = min(one for one, _ in pairs), min(other for _, other in pairs)
    more = statistics.median(other - one for one, other in pairs)
    usual = statistics.median(one for one, _ in pairs)
    print(
        f"{by}: podman run {least[0] * 1000:.0f} ms at least, {usual * 1000:.0f} in the median; the grader"
        f" {least[1] * 1000:.0f} at least, {more * 1000:+.0f} in the median of the pairs"
    )
    assert least[1] < least[0] + max(MOST_MORE, least[0] * (MOST_RATIO[by] - 1))
    assert more < max(MOST_MORE, usual * (MOST_RATIO[by] - 1))
