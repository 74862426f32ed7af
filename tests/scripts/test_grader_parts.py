"""Parts of the reference grader that need neither an API nor an engine, or only a part of one."""

import fcntl
import os
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from broadway_tools.grader import command, concurrency
from broadway_tools.grader.confinement import (
    CPU_SHARES,
    TMPFS,
    Confinement,
    Limits,
    is_root,
    resource_limits,
)
from broadway_tools.grader.cpusets import CpuSets, split
from broadway_tools.grader.engine import ContainerListing, ContainerSpec, digest_of_image, parse_state, refusal
from broadway_tools.grader.engine_choice import FoundEngine, NoEngine
from broadway_tools.grader.engine_cli import CliEngine
from broadway_tools.grader.faults import Fault, engine_fault, pull_fault
from broadway_tools.grader.health import Health
from broadway_tools.grader.host_state import GRADER_LABEL, HOST_LABEL, HostState, Sweeper
from broadway_tools.grader.images import Images
from broadway_tools.grader.metrics import Metrics
from broadway_tools.grader.stage import StageError, cpu_numbers, parse_stage
from broadway_tools.grader.user_namespace import UserNamespace
from processes import wait_until

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "grader.md").read_text(encoding="utf-8")

# What docs/grader.md says


def test_every_option_in_the_docs_exists():
    own = {name for option in command.cli.params for name in [*option.opts, *option.secondary_opts]}
    # Of engines, of `docker run`, scripts/install, scripts/images and systemctl.
    others = {"--runtime", "--gpus", "--init", "--python", "--only", "--now"}
    docker = ("detach", "name", "restart", "stop-timeout", "read-only", "tmpfs", "cap-add", "cap-drop", "volume")
    others |= {f"--{name}" for name in docker}
    assert set(re.findall(r"--[a-z][a-z-]+", DOCS)) <= own | others


def test_the_defaults_in_the_docs_are_those_of_the_command():
    safe, old = SimpleNamespace(**command.SAFE), SimpleNamespace(**command.COMPATIBLE)
    assert (safe.memory, safe.pids, safe.disk, safe.stage_timeout, safe.max_pids) == (2 << 30, 512, 4 << 30, 3600, 4096)
    assert (old.memory, old.pids, old.disk, old.stage_timeout, old.networking) == (2 << 30, None, None, 30, True)
    assert (safe.max_disk, old.max_disk) == (16 << 30, None)
    for words in ("| memory, swap | 2 GiB, none | 2 GiB, none |", "| 3600 s | 30 s |", "| 512 | no limit |"):
        assert words in DOCS


# Which engine


def program(directory, name, status):
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\necho 'no daemon' >&2\nexit {status}\n")
    (directory / name).chmod(0o755)


@pytest.mark.parametrize(
    ("statuses", "found"), [({"docker": 0, "podman": 0}, "docker"), ({"docker": 1, "podman": 0}, "podman")]
)
def test_docker_goes_before_podman_if_it_answers(tmp_path, monkeypatch, statuses, found):
    for name, status in statuses.items():
        program(tmp_path / "bin", name, status)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    # The operator's arguments need the command line, whatever sockets this machine has.
    engine = FoundEngine(None, None, ["--annotation=a=b"], tmp_path)
    engine.ping()
    assert engine.name == found


def test_without_a_usable_engine_each_trouble_is_reported(tmp_path, monkeypatch):
    program(tmp_path / "bin", "podman", 1)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(Fault, match=r"podman by its command line: .*no daemon"):
        FoundEngine("podman", None, ["--annotation=a=b"], tmp_path).ping()
    with pytest.raises(Fault, match=r"podman by its API: .*does not answer"):
        FoundEngine("podman", tmp_path / "no.sock", [], tmp_path).ping()


def test_an_engine_is_found_as_soon_as_one_answers(tmp_path, monkeypatch):
    program(tmp_path / "bin", "docker", 1)
    program(tmp_path / "bin", "podman", 1)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    engine = FoundEngine(None, None, ["--annotation=a=b"], tmp_path)
    for call in (engine.ping, lambda: engine.list("label")):
        with pytest.raises(Fault) as raised:
            call()
        assert raised.value.kind == "engine"
    program(tmp_path / "bin", "podman", 0)
    engine.ping()
    assert engine.name == "podman"


def test_without_socket_and_command_there_is_no_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoEngine, match="docker and podman: neither socket nor command"):
        FoundEngine(None, None, ["--annotation=a=b"], tmp_path)


# What an engine says


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("mkdir /var/lib/containers: no space left on device", "disk"),
        ('the container name "broadway-1" is already in use', "engine"),
        ("cannot connect to the Docker daemon", "engine"),
        ("runc create failed: cgroup deleted", "engine"),
        ('invalid mount config for type "bind": bind source path does not exist: /jobs/job-1', "engine"),
        ("failed to write 0-1 to cpuset.cpus: permission denied", "engine"),
        ("open /var/lib/containers: is a directory", "engine"),
        ('exec: "x": executable file not found: no space left on device', "disk"),
    ],
)
def test_an_engines_trouble_is_a_fault(words, kind):
    found = refusal(words)
    assert isinstance(found, Fault) and found.kind == kind and found.stops_the_grader


@pytest.mark.parametrize(
    "words",
    [
        'exec: "grade": executable file not found in $PATH: unknown',
        "crun: executable file `/nope` not found in $PATH: No such file or directory",
        'exec: "/etc": permission denied: unknown',
        "exec /job/run: exec format error",
        "unable to find user ada: no matching entries in passwd file",
        "No command specified",
        "Minimum memory limit allowed is 6MB",
        "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        "uids and gids must be in range 0-2147483647",
    ],
)
def test_what_the_stage_asks_in_vain_is_its_own_failure(words):
    assert isinstance(refusal(words), StageError)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("manifest for x:1 not found: manifest unknown", "image"),
        ("requested access to the resource is denied", "image"),
        ("reading manifest 9 in docker.io/library/x: unauthorized: authentication required", "image"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", "registry"),
        ("net/http: TLS handshake timeout", "registry"),
        ("writing blob: no space left on device", "disk"),
    ],
)
def test_a_failed_pull_is_a_fault_of_its_kind(words, kind):
    assert pull_fault("x:1", words).kind == kind


def test_an_image_that_is_refused_does_not_stop_the_grader():
    assert not pull_fault("x", "manifest unknown").stops_the_grader
    assert pull_fault("x", "i/o timeout").stops_the_grader
    assert engine_fault("x" * 5000).args[0] == "x" * 500


@pytest.mark.parametrize(
    ("started", "finished", "seconds"),
    [
        ("2026-11-30T01:00:00.5Z", "2026-11-30T01:00:02.123456789Z", 1.623456),
        ("2026-11-30T01:00:00+01:00", "2026-11-30T00:00:01Z", 1.0),
        ("2026-11-30 01:00:00.25 +0000 UTC", "2026-11-30 01:00:01.5 +0000 UTC", 1.25),
        ("2026-11-30T01:00:00Z", "0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", None),
        ("", None, None),
    ],
)
def test_an_engines_times_are_read(started, finished, seconds):
    state = parse_state({"StartedAt": started, "FinishedAt": finished, "ExitCode": 3, "OOMKilled": True})
    assert state.seconds == (seconds if seconds is None else pytest.approx(seconds))
    assert (state.exit_code, state.oom_killed, state.is_running) == (3, True, False)


# The command line's environment


# Writes down its arguments, the file of variables that they name, and a variable of its own.
RECORDER = """#!/bin/sh
printf '%s\\n' "$@" >{top}/argv
for word in "$@"; do case $word in --env-file=*) cat "${{word#*=}}" >{top}/file;; esac; done
printf '%s' "$NOTE" >{top}/note
echo 0123456789abcdef
"""


@pytest.fixture
def create(tmp_path):
    """A function that creates a container with these variables, by a client that writes down how it was called."""
    program(tmp_path, "podman", 0)
    (tmp_path / "podman").write_text(RECORDER.format(top=tmp_path))
    engine = CliEngine(str(tmp_path / "podman"), tmp_path)

    def create_(*env):
        return engine.create(
            ContainerSpec(name="n", image="x", entrypoint=["-c"], env=list(env), directory=str(tmp_path))
        )

    return create_


def test_a_value_goes_by_a_private_file_or_by_the_clients_environment(create, tmp_path):
    long = "y" * 70_000
    assert create("PLAIN=a b=c", "NOTE=one\ntwo", f"LONG={long}") == "0123456789abcdef"
    assert (tmp_path / "file").read_text() == "PLAIN=a b=c\n"
    assert (tmp_path / "note").read_text() == "one\ntwo"
    said = (tmp_path / "argv").read_text()
    argv = said.splitlines()
    assert {"--env=NOTE", "--env=LONG", "--entrypoint=-c"} <= set(argv) and argv[-2:] == ["--", "x"]
    assert not [value for value in ("a b=c", "one\ntwo", "yyy") if value in said]
    assert list(tmp_path.glob("env-*")) == []


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "PATH", "DOCKER_HOST", "CONTAINERS_CONF", "https_proxy", "XDG_RUNTIME_DIR", "no name", "A*"],
)
def test_a_value_for_the_clients_environment_is_refused_if_the_client_would_read_it(create, tmp_path, name):
    with pytest.raises(StageError, match="needs the engine's API"):
        create(f"{name}=one\ntwo")
    assert not (tmp_path / "argv").exists()


# Limits of a stage


def stage(**fields):
    return parse_stage({"image": "x", "entrypoint": ["y"], **fields}, 60)


def test_a_stage_has_the_defaults_unless_it_asks_and_never_more_than_the_ceiling():
    defaults, ceiling = Limits(2 << 30, None, 512, 4 << 30), Limits(8 << 30, 4, 4096, None)
    confinement = Confinement(defaults, ceiling)
    assert confinement.limits(stage()) == Limits(2 << 30, 4, 512, 4 << 30)
    assert confinement.limits(stage(memory="512m", cpus=0.5, pids=9, disk="10g")) == Limits(512 << 20, 0.5, 9, 10 << 30)
    assert confinement.limits(stage(memory="9g", cpus=64, pids=9999)) == Limits(8 << 30, 4, 4096, 4 << 30)


@pytest.mark.parametrize(
    "fields", [{"pids": 0}, {"pids": 1.5}, {"pids": True}, {"pids": "9"}, {"cpus": 0}, {"cpus": "x"}, {"memory": "x"}]
)
def test_a_limit_that_is_none_fails_the_stage(fields):
    with pytest.raises(StageError, match=next(iter(fields))):
        Confinement(Limits(), Limits()).limits(stage(**fields))


def test_a_stage_is_strictly_confined_unless_the_operator_asks_for_the_old_ways():
    strict = Confinement(Limits(), Limits()).options(stage(), Limits())
    compatible = Confinement(Limits(), Limits(), networking=True, is_strict=False).options(stage(), Limits())
    assert (strict["networking"], strict["read_only"], strict["is_confined"]) == (False, True, True)
    assert strict["tmpfs"] == TMPFS and strict["ulimits"] == resource_limits() and strict["working_dir"] == "/job"
    assert (compatible["networking"], compatible["read_only"], compatible["is_confined"]) == (True, False, False)
    assert (
        compatible["tmpfs"] == {} and compatible["ulimits"] == resource_limits() and compatible["working_dir"] is None
    )
    assert (strict["cpu_shares"], compatible["cpu_shares"]) == (CPU_SHARES, None)


def test_a_privileged_stage_is_refused_unless_the_operator_allows_it():
    with pytest.raises(StageError, match="--allow-privileged is off"):
        Confinement(Limits(), Limits()).options(stage(privileged=True), Limits())
    allowed = Confinement(Limits(), Limits(), may_be_privileged=True).options(stage(privileged=True), Limits())
    assert allowed["privileged"] is True and allowed["read_only"] is False


@pytest.mark.parametrize("user", [None, "", "0", "root", "0:0", "root:users"])
def test_root_is_known_by_its_names(user):
    assert is_root(user) and not is_root("1000") and not is_root("nobody:0")


@pytest.mark.parametrize(
    ("asked", "engine", "uid", "is_there"),
    [
        ("host", "podman", 0, False),
        ("keep-id", "podman", 0, True),
        (None, "podman", 0, False),
        (None, "podman", 1000, True),
        (None, "docker", 1000, False),
        ("auto", "docker", 0, False),
    ],
)
def test_whether_root_of_a_stage_is_root_of_the_machine(monkeypatch, asked, engine, uid, is_there):
    monkeypatch.setattr("broadway_tools.grader.user_namespace.os.geteuid", lambda: uid)
    assert UserNamespace(asked, SimpleNamespace(name=engine)).may_be_there() is is_there


def test_what_a_stage_says_goes_before_the_operators_defaults():
    confinement = Confinement(Limits(), Limits(), networking=True, user="1000")
    assert confinement.options(stage(), Limits())["user"] == "1000"
    said = confinement.options(stage(user="5", networking=False, read_only=False), Limits())
    assert (said["user"], said["networking"], said["read_only"]) == ("5", False, False)


def test_concurrency_fits_processors_and_memory(monkeypatch):
    monkeypatch.setattr(concurrency.os, "sched_getaffinity", lambda _: range(16))
    monkeypatch.setattr(concurrency, "machine_memory", lambda: 9 << 30)
    assert concurrency.fitting(2 << 30) == 4
    assert concurrency.fitting(None) == 16
    assert concurrency.fitting(64 << 30) == 1


def test_each_slot_has_processors_of_its_own():
    assert split({0, 1, 2, 3, 4}, 2, siblings=int) == ["0,1", "2,3,4"]
    assert split({0, 1, 2, 3}, 2, siblings=lambda cpu: cpu % 2) == ["0,2", "1,3"]
    processors = set(range(3, 20))
    for slots in range(1, 18):
        sets = [cpu_numbers(cpus) for cpus in split(processors, slots)]
        assert len(sets) == slots and all(sets) and set.union(*sets) == processors
        assert sum(map(len, sets)) == len(processors)
    with pytest.raises(ValueError, match="there are 17"):
        split(processors, 18)


def test_a_set_of_processors_is_lent_to_one_job_at_a_time():
    sets = CpuSets(["0", "1"])
    for _ in range(3):
        with sets.borrow() as one, sets.borrow() as other:
            assert {one, other} == {"0", "1"}


# Images


class Registry:
    """An engine of which only the images count."""

    def __init__(self):
        self.here, self.pulls, self.gate = set(), [], threading.Event()
        self.fault = None

    def image_digest(self, image):
        return "sha256:1" if image in self.here else None

    def pull(self, image, _limit_s):
        self.pulls.append(image)
        assert self.gate.wait(10)
        if self.fault:
            raise self.fault
        self.here.add(image)


def ensure_many(images, count):
    """What `count` threads get at once: digests and faults."""
    got = []

    def ensure():
        try:
            got.append(images.ensure("x"))
        except Fault as fault:
            got.append(fault)

    threads = [threading.Thread(target=ensure) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, got


@pytest.mark.parametrize("policy", ["missing", "always"])
def test_one_pull_serves_all_that_wait_for_it(policy):
    registry = Registry()
    threads, got = ensure_many(Images(registry, policy, 5, Metrics()), 8)
    wait_until(lambda: registry.pulls, "a pull is under way")
    registry.gate.set()
    for thread in threads:
        thread.join()
    assert got == ["sha256:1"] * 8
    assert policy == "always" or registry.pulls == ["x"]


def test_the_policy_decides_whether_an_image_is_pulled():
    registry = Registry()
    registry.gate.set()
    with pytest.raises(Fault, match="--pull is never"):
        Images(registry, "never", 5, Metrics()).ensure("x")
    missing = Images(registry, "missing", 5, Metrics())
    assert missing.ensure("x") == missing.ensure("x") == "sha256:1" and registry.pulls == ["x"]
    Images(registry, "always", 5, Metrics()).ensure("x")
    assert registry.pulls == ["x", "x"]


def test_an_image_that_could_not_be_had_is_not_asked_for_again_at_once_but_by_a_probe():
    registry = Registry()
    registry.gate.set()
    registry.fault = Fault("image", "manifest unknown")
    images = Images(registry, "missing", 5, Metrics())
    for _ in range(3):
        with pytest.raises(Fault, match="manifest unknown"):
            images.ensure("x")
    assert registry.pulls == ["x"]
    registry.fault = None
    assert images.ensure("x", is_probe=True) == images.ensure("x") == "sha256:1"


def test_a_pinned_image_is_run_by_its_digest_and_by_its_name_if_that_can_not_be_had():
    registry = Registry()
    registry.gate.set()
    registry.here.add("reg:5000/x:1")
    images = Images(registry, "missing", 5, Metrics())
    assert images.ensure_pinned("reg:5000/x:1", "sha256:1") == ("reg:5000/x:1", "sha256:1")
    assert images.ensure_pinned("reg:5000/x:1", "sha256:2")[0] == "reg:5000/x@sha256:2"
    registry.fault = Fault("image", "manifest unknown")
    assert images.ensure_pinned("reg:5000/x:1", "sha256:3") == ("reg:5000/x:1", "sha256:1")
    registry.fault = Fault("registry", "no route")
    assert images.ensure_pinned("reg:5000/x:1", "sha256:4") == ("reg:5000/x:1", "sha256:1")
    registry.fault = Fault("engine", "down")
    with pytest.raises(Fault, match="down"):
        images.ensure_pinned("reg:5000/x:1", "sha256:5")


def test_a_pull_that_is_not_done_in_time_goes_on_for_the_next_who_asks():
    registry = Registry()
    images = Images(registry, "missing", 5, Metrics())
    for ask in (images.ensure, lambda image, until: images.ensure_pinned(image, "sha256:9", until)):
        with pytest.raises(Fault, match="is still being pulled") as raised:
            ask("x", time.monotonic() + 0.05)
        assert raised.value.kind == "pull" and not raised.value.stops_the_grader
    registry.gate.set()
    assert images.ensure("x", time.monotonic() + 5) == "sha256:1"
    assert registry.pulls == ["x", "x@sha256:9"]


def test_an_image_that_was_made_here_is_run_by_its_id_and_by_its_name_if_another_is_pinned():
    registry = Registry()
    registry.gate.set()
    registry.here.update(("x:1", "sha256:1", "localhost/y:1"))  # of docker: a digest that is an id
    registry.fault = Fault("registry", "no route")
    images = Images(registry, "missing", 5, Metrics())
    assert images.ensure_pinned("moved:1", "sha256:1") == ("sha256:1", "sha256:1")
    assert images.ensure_pinned("x:1", "sha256:2") == ("x:1", "sha256:1")
    registry.here.remove("sha256:1")
    assert images.ensure_pinned("localhost/y:1", "sha256:2") == ("localhost/y:1", "sha256:1")
    with pytest.raises(Fault, match="no route"):
        images.ensure_pinned("localhost/nowhere:1", "sha256:2")


def test_the_digest_of_an_image_is_the_one_by_which_it_was_asked_for():
    several = {"Id": "sha256:0", "RepoDigests": ["a@sha256:1", "b@sha256:2"]}
    assert digest_of_image("b@sha256:2", several) == "sha256:2"
    assert digest_of_image("b:3", several) == digest_of_image("b@sha256:9", several) == "sha256:1"
    assert digest_of_image("b:3", {"Id": "sha256:0", "RepoDigests": None}) == "sha256:0"
    assert digest_of_image("b:3", {"Id": "0", "RepoDigests": []}) == "sha256:0"
    assert digest_of_image("b@sha256:7", {"Id": "0", "RepoDigests": []}) == "sha256:7"


# Health


def test_after_a_fault_the_machine_is_probed_until_it_is_healthy():
    found = [Fault("engine", "still down"), Fault("disk", "full"), None]
    probes, told = [], []

    def probe(fault):
        probes.append(fault.kind)
        if result := found[len(probes) - 1]:
            raise result

    health = Health(probe, Metrics(), pauses_s=(0.01, 0.02))
    health.on_change(lambda: told.append(health.reason))
    health.report(Fault("engine", "down"))
    health.report(Fault("engine", "down too"))
    assert health.wait_until_healthy(lambda: False) and health.reason is None
    assert probes == ["engine", "engine", "disk"] and told == ["engine: down", "engine: still down", "disk: full", None]


def test_a_fault_that_no_probe_finds_makes_the_pauses_grow():
    health = Health(lambda _: None, Metrics(), pauses_s=(0.05, 0.2))
    pauses = []
    for _ in range(5):
        began = time.monotonic()
        health.report(Fault("engine", "down"))
        assert health.wait_until_healthy(lambda: False)
        pauses.append(time.monotonic() - began)
    for least, pause in zip((0, 0.05, 0.1, 0.2, 0.2), pauses, strict=True):
        assert least <= pause, pauses


def test_a_fault_of_one_image_leaves_the_machine_healthy():
    metrics = Metrics()
    health = Health(lambda _: None, metrics)
    health.report(Fault("image", "unknown"))
    assert health.reason is None
    assert 'broadway_grader_faults_total{kind="image"} 1' in metrics.text()


# Graders of one host


class Containers:
    """An engine of which only the list counts."""

    def __init__(self, *containers):
        self.there = {name: labels for name, labels in containers}
        self.fault = None

    def list(self, label):
        if self.fault:
            raise self.fault
        name, _, value = label.partition("=")
        return [ContainerListing(one, labels, True) for one, labels in self.there.items() if labels.get(name) == value]

    def kill(self, _container, _signal):
        pass

    def remove(self, container):
        del self.there[container]


@pytest.fixture
def state_dir(tmp_path):
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


def die(state):
    """What the kernel does for a process that was killed."""
    os.close(state._own.descriptor)


def test_the_dead_differ_from_the_living_by_their_locks(state_dir, tmp_path):
    living, dead, own = (HostState(state_dir, tmp_path / f"broadway-grader-{number}") for number in range(3))
    die(dead)
    assert [own.is_alive(one.id) for one in (living, dead, own)] == [True, False, True]
    assert not own.is_alive("0123456789abcdef"), "one of which nothing is known"
    [record] = own.take_dead()
    assert record.id == dead.id
    own.forget(record)
    assert own.take_dead() == []
    living.close()
    own.close()
    assert list(state_dir.glob("*.lock")) == []


def test_who_searches_for_the_dead_hides_none_from_others(state_dir, tmp_path):
    dead, own, other = (HostState(state_dir, tmp_path / f"broadway-grader-{number}") for number in range(3))
    assert own.dead() == set()
    die(dead)
    assert own.dead() == other.dead() == {dead.id}
    records = own.take_dead(fcntl.LOCK_SH)
    assert [record.id for record in records] == [dead.id]
    assert other.dead() == {dead.id} and not other.is_alive(dead.id)
    own.release(records[0])
    assert [record.id for record in other.take_dead()] == [dead.id]


def test_what_a_grader_left_is_removed_soon_after_its_death(state_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("broadway_tools.grader.host_state.LOOK_S", 0.05)
    dead, own = (HostState(state_dir, tmp_path / f"broadway-grader-{number}") for number in range(2))
    engine = Containers(("left", {**dead.labels(), "broadway.job": "1-1"}))
    sweeper = Sweeper(own, engine, set(), Metrics())
    sweeper.start()
    assert "left" in engine.there
    die(dead)
    deadline = time.monotonic() + 10
    while engine.there or (state_dir / f"{dead.id}.lock").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    sweeper.stop()


def test_a_sweep_removes_what_the_dead_left_and_nothing_else(state_dir, tmp_path):
    living, dead, own = (HostState(state_dir, tmp_path / f"broadway-grader-{number}") for number in range(3))
    for number in range(3):
        (tmp_path / f"broadway-grader-{number}" / "job-1").mkdir(parents=True)
    die(dead)
    job = {"broadway.job": "1-1", "broadway.name": "a"}
    elsewhere = {HOST_LABEL: "of another state directory", GRADER_LABEL: dead.id}
    engine = Containers(
        ("of the living", {**living.labels(), **job}),
        ("of the dead", {**dead.labels(), **job}),
        ("of nobody", {**dead.labels(), **job, GRADER_LABEL: "fedcba9876543210"}),
        ("own and active", {**own.labels(), **job}),
        ("own and forgotten", {**own.labels(), **job, "broadway.name": "b"}),
        ("elsewhere", {**elsewhere, **job}),
        ("a stranger's", {}),
    )
    Sweeper(own, engine, {"a"}, Metrics()).sweep()
    assert set(engine.there) == {"of the living", "own and active", "elsewhere", "a stranger's"}
    left = [path.name for path in sorted(tmp_path.glob("broadway-grader-*"))]
    assert left == ["broadway-grader-0", "broadway-grader-2"]


def test_a_container_that_ended_since_it_was_listed_is_neither_counted_nor_logged(state_dir, tmp_path, caplog):
    own = HostState(state_dir, tmp_path / "broadway-grader-0")
    active, metrics = {"a"}, Metrics()
    engine = Containers(("ends", {**own.labels(), "broadway.job": "1-1", "broadway.name": "a"}))
    listed = engine.list

    def list_and_end(label):
        found = listed(label)
        engine.there.pop("ends", None)
        active.discard("a")
        return found

    engine.list = list_and_end
    with caplog.at_level("INFO", "grader"):
        Sweeper(own, engine, active, metrics).sweep()
    assert caplog.text == "" and "swept_containers_total 0" in metrics.text()


def test_while_the_engine_does_not_answer_the_dead_are_not_forgotten(state_dir, tmp_path):
    dead, own = (HostState(state_dir, tmp_path / f"broadway-grader-{number}") for number in range(2))
    die(dead)
    engine = Containers(("left", {**dead.labels(), "broadway.job": "1-1"}))
    engine.fault = Fault("engine", "down")
    sweeper = Sweeper(own, engine, set(), Metrics())
    sweeper.sweep()
    assert (state_dir / f"{dead.id}.lock").exists()
    engine.fault = None
    sweeper.sweep()
    assert engine.there == {} and not (state_dir / f"{dead.id}.lock").exists()


def test_a_record_can_have_no_other_directory_removed(state_dir, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    dead, own = HostState(state_dir, precious), HostState(state_dir, tmp_path / "broadway-grader-1")
    die(dead)
    Sweeper(own, None, set(), Metrics()).sweep()
    assert precious.exists()


def test_a_grader_of_another_host_is_left_alone(state_dir, tmp_path, monkeypatch):
    """Home directories may be shared by hosts, whose locks are not always seen by one another."""
    monkeypatch.setattr("broadway_tools.grader.host_state.socket.gethostname", lambda: "elsewhere")
    monkeypatch.setattr("broadway_tools.grader.host_state.BOOT_ID", Path(tmp_path / "boot"))
    (tmp_path / "boot").write_text("another-boot\n")
    foreign = HostState(state_dir, tmp_path / "broadway-grader-0")
    monkeypatch.undo()
    own = HostState(state_dir, tmp_path / "broadway-grader-1")
    die(foreign)
    assert own.take_dead() == []
