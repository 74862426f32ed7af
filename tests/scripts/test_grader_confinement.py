"""What the operator of the reference grader decides about its stages, with real containers by both ways."""

import pytest
from podman import IMAGE
from processes import wait_until

MIB = 1024 * 1024
WAYS = pytest.mark.parametrize("by", ["api", "cli"])
# In either version of control groups.
GROUP = "cd /sys/fs/cgroup; cat {} 2>/dev/null; true"


def sh(script, **more):
    return {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", script], "env": [], **more}


@pytest.fixture
def grade(api, start_container_grader):
    """A function that runs a stage by a grader with these flags: the body of its result, and the stage's report."""

    def grade(by, flags, stage):
        grade.grader = start_container_grader(*flags, by=by)
        body = api.result_of(api.put(stage), 90)
        return body, body["result"]["stages"][0]

    return grade


# The defaults of the original graders


@WAYS
def test_the_old_defaults_confine_less(grade, by):
    limits = GROUP.format("pids/pids.max pids.max")
    script = f"pwd; touch /written; ip -o link | wc -l; grep CapEff /proc/self/status; {limits}"
    body, _ = grade(by, ["--compat"], sh(script))
    directory, links, capabilities, pids = body["logs"]["stdout"].splitlines()
    assert body["success"] is True and directory == "/" and int(links) > 1
    assert capabilities != "CapEff:\t0000000000000000" and pids == "max"


@WAYS
def test_the_old_defaults_limit_the_memory(grade, by):
    script = "sleep 0.5; head -c 200000000 /dev/zero | tail -c 200000000 | wc -c; sleep 1"
    _, stage = grade(by, ["--compat", "--memory=50m"], sh(script))
    assert stage["oom_killed"] is True and 40 * MIB < stage["peak_memory"] <= 50 * MIB


@WAYS
def test_the_old_defaults_limit_the_time(grade, by):
    _, stage = grade(by, ["--compat", "--stop-grace=1"], sh("exec sleep 60", timeout=1))
    assert (stage["timed_out"], stage["killed"]) == (True, True) and stage["seconds"] < 5


# What stages may ask for

FORBIDDEN = {
    "networking": ("--no-allow-networking", {"networking": True}),
    "user": ("--no-allow-user", {"user": "0"}),
    "read_only": ("--no-allow-writable", {"read_only": False}),
}


@pytest.mark.parametrize("key", FORBIDDEN)
def test_what_the_operator_forbids_fails_the_stage_and_says_so(api, start_container_grader, key):
    flag, asked = FORBIDDEN[key]
    start_container_grader(flag)
    refused, other = api.put(sh("true", **asked)), api.put(sh("ip -o link | wc -l; touch /written || echo read-only"))
    [stage] = api.result_of(refused, 60)["result"]["stages"]
    assert stage["exit_code"] is None and f"({flag.replace('--no-', '--')} is off)" in stage["error"]
    assert api.result_of(other, 60)["logs"]["stdout"] == "1\nread-only\n"


def test_what_the_operator_forbids_is_not_there_with_the_old_defaults_either(grade):
    flags = ["--compat", "--no-allow-networking", "--no-allow-writable"]
    body, _ = grade("api", flags, sh("ip -o link | wc -l; touch /written || echo read-only"))
    assert body["logs"]["stdout"] == "1\nread-only\n"


@WAYS
def test_the_disk_of_a_stage_has_its_writable_root_too(grade, by):
    script = "dd if=/dev/zero of=/home/big bs=1M count=60 2>/dev/null; exec sleep 40"
    body, stage = grade(by, ["--stop-grace=1"], sh(script, disk="20m", read_only=False))
    assert body["success"] is False and stage["killed"] is True and stage["timed_out"] is False
    assert str(20 * MIB) in stage["error"] and stage["seconds"] < 30


# The user


@WAYS
def test_auto_is_nobody_where_nothing_names_a_user(api, start_container_grader, by):
    grader = start_container_grader("--user=auto", by=by)
    files = "id -u >file; cat file"
    body = api.result_of(api.put(sh(files), sh("id -u", user="0"), sh(f"id -g; {files}")), 60)
    assert body["logs"]["stdout"] == "65534\n0\n65534\n65534\n"
    assert grader.stop() == 0 and "as root of this machine" not in grader.stderr


def test_auto_leaves_the_user_of_an_image(api, start_container_grader, podman):
    name = podman.run("create", IMAGE).strip()
    podman.run("commit", "--change=USER 1234", name, "localhost/with-user:1")
    podman.run("rm", name)
    start_container_grader("--user=auto")
    body = api.result_of(api.put({**sh("id -u"), "image": "localhost/with-user:1"}), 60)
    assert body["logs"]["stdout"] == "1234\n"


@pytest.mark.parametrize(("flags", "is_told"), [((), True), (("--user=1000",), False), (("--userns=host",), True)])
def test_a_grader_says_that_stages_are_root(start_container_grader, api, flags, is_told):
    grader = start_container_grader(*flags)
    wait_until(lambda: api.registrations, "it registers")
    assert grader.stop() == 0
    assert ("WARNING stages run as root of this machine" in grader.stderr) is is_told


# Processors


@WAYS
def test_busy_stages_have_equal_shares_that_are_less_than_a_usual_one(api, start_container_grader, by):
    start_container_grader("--concurrency=2", by=by)
    script = (
        f"{GROUP.format('cpu/cpu.shares cpu,cpuacct/cpu.shares cpu.weight')}; timeout 4 sh -c 'while :; do :; done'"
    )
    bodies = [api.result_of(job, 60) for job in [api.put(sh(script)) for _ in range(2)]]
    for body in bodies:
        assert body["logs"]["stdout"].split()[0] in ("256", "10"), body
    spent = [body["result"]["stages"][0]["cpu_seconds"] for body in bodies]
    assert min(spent) > max(spent) / 3 > 0.1
