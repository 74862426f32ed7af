"""The command line of scripts/grader."""

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import click

from broadway_tools.grader.concurrency import RESERVE, Concurrency, fitting, machine_memory
from broadway_tools.grader.confinement import GIB, Confinement, Limits
from broadway_tools.grader.container_runner import ContainerRunner, ContainerSettings
from broadway_tools.grader.course import CourseServer
from broadway_tools.grader.cpusets import CpuSets, own_processors, split
from broadway_tools.grader.engine_choice import ENGINES, FoundEngine, NoEngine
from broadway_tools.grader.faults import MIB, free_bytes
from broadway_tools.grader.file_cache import FileCache
from broadway_tools.grader.health import Health, Probe
from broadway_tools.grader.host_state import DIRECTORY_PREFIX, HostState, StateError, Sweeper, open_directory
from broadway_tools.grader.images import POLICIES, Images
from broadway_tools.grader.job_files import FileSettings, JobFiles
from broadway_tools.grader.logs import FORMATS, start_log
from broadway_tools.grader.memory import use_few_heaps
from broadway_tools.grader.metrics import Metrics
from broadway_tools.grader.monitor import Monitor
from broadway_tools.grader.process_runner import ProcessRunner
from broadway_tools.grader.registration import tag_arguments
from broadway_tools.grader.server import Server
from broadway_tools.grader.stage import StageError, memory_bytes
from broadway_tools.grader.user_namespace import AUTO, UserNamespace
from broadway_tools.grader.worker import Settings, Worker
from broadway_tools.grader.workspace import wipe
from broadway_tools.options import read_token

PROTOCOLS = ("classic", "course-http", "course-ws")
DEPRECATED_PROTOCOLS = {"seed": "classic"}
SIGNALS = (signal.SIGTERM, signal.SIGINT)
IDLE_LOOK_S = NOTICE_LOOK_S = 0.5

# What an option is unless it is given: by default, and with --compat, which has the values of the original graders.
# Sizes in bytes, None: no limit.
SAFE = {
    "stage_timeout": 3600.0,
    "userns": AUTO,
    "networking": False,
    "memory": 2 * GIB,
    "pids": 512,
    "disk": 4 * GIB,
    "max_pids": 4096,
    "max_disk": 16 * GIB,
    "allow_privileged": False,
}
COMPATIBLE = {
    "stage_timeout": 30.0,
    "userns": None,
    "networking": True,
    "memory": 2 * GIB,
    "pids": None,
    "disk": None,
    "max_pids": None,
    "max_disk": None,
    "allow_privileged": True,
}

log = logging.getLogger("grader")


class Size(click.ParamType):
    """A number of bytes like 512m, above 0."""

    name = "size"

    def convert(self, value, param, ctx):
        """The number of bytes."""
        try:
            size = memory_bytes(value)
        except StageError:
            size = 0
        return size or self.fail(f"{value!r} is not a size such as 512m", param, ctx)


class Url(click.ParamType):
    """The URL of a replica, without a slash at its end."""

    name = "url"

    def convert(self, value, param, ctx):
        """The URL itself."""
        try:
            parts = urlsplit(value)
            is_good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            is_good = False
        if not is_good or parts.query or parts.fragment or parts.username is not None:
            self.fail(f"{value!r} is not the URL of an API, such as http://127.0.0.1:1470", param, ctx)
        return value.rstrip("/")


PATH, SECONDS = click.Path(path_type=Path), click.FloatRange(0, min_open=True)
OPTIONS = (
    click.option("--url", "urls", type=Url(), multiple=True, help="URL of an API replica; repeat it to fail over."),
    click.option("--host", default="127.0.0.1", help="Host of the API, instead of --url."),
    click.option("--port", type=click.IntRange(1, 65535), default=1470, help="Port of the API, instead of --url."),
    click.option("--token", help="The cluster token [env BROADWAY_CLUSTER_TOKEN]."),
    click.option("--token-file", type=PATH, help="A file with the cluster token."),
    click.option("--hostname", default=socket.gethostname, show_default="this machine's", help="Name Broadway shows."),
    click.option("--tag", "tags", multiple=True, help="A name that Broadway lists with this grader; repeatable."),
    click.option("--concurrency", type=Concurrency(), default=1, help="Jobs at a time; auto: by cores and memory."),
    click.option("--runner", type=click.Choice([*ENGINES, "process"]), help="[docker if usable, else podman]"),
    click.option(
        "--protocol",
        type=click.Choice([*PROTOCOLS, *DEPRECATED_PROTOCOLS]),
        metavar=f"[{'|'.join(PROTOCOLS)}]",
        default="classic",
        help="Protocol of the API to use ('seed' is a deprecated name of 'classic').",
    ),
    click.option("--work-dir", type=PATH, help="Parent of the jobs' directories [a temporary one]."),
    click.option(
        "--state-dir",
        type=PATH,
        envvar="BROADWAY_GRADER_STATE_DIR",
        help="Lock files of this host's graders [/var/lib/broadway-grader, or below the home directory].",
    ),
    click.option("--wait", "wait_s", type=click.FloatRange(0, 60), help="Seconds that a poll waits [the server's]."),
    click.option("--max-log-bytes", type=click.IntRange(0), default=4 * 1024 * 1024, help="Of stdout, and of stderr."),
    click.option("--live-logs/--no-live-logs", default=True, help="Send the logs of jobs while they run."),
    click.option("--default-results/--no-default-results", default=True, help="Look for scores that no stage names."),
    click.option("--min-free", type=Size(), default="256m", help="Free disk below which no job is taken."),
    click.option("--file-cache", type=Size(), default="1g", help="Fetched files that are kept for other jobs."),
    click.option("--file-timeout", type=SECONDS, default=60.0, help="A job is returned whose files fail that long."),
    click.option("--max-shared", type=Size(), default="64m", help="Of /job/shared of a job before the students."),
    click.option("--max-artifacts", type=Size(), default="64m", help="Of a job's /job/artifacts, in all."),
    # Stages
    click.option("--stage-timeout", type=SECONDS, help="Seconds, for stages without one [3600]."),
    click.option("--stop-grace", type=click.FloatRange(0, 600), default=5.0, help="Seconds between TERM and KILL."),
    click.option("--memory", type=Size(), help="For stages without it; there is no swap beside it [2g]."),
    click.option("--cpus", type=SECONDS, help="For stages without it [no limit]."),
    click.option("--cpuset", type=click.Choice(["auto"]), help="auto: each job has processors of its own [no]."),
    click.option("--pids", type=click.IntRange(1), help="For stages without it [512]."),
    click.option("--disk", type=Size(), help="Limit of a job's directory, for stages without it [4g]."),
    click.option("--max-memory", type=Size(), help="The most a stage can ask for [the machine's, less 512m]."),
    click.option("--max-cpus", type=SECONDS, help="The most a stage can ask for [the machine's]."),
    click.option("--max-pids", type=click.IntRange(1), help="The most a stage can ask for [4096]."),
    click.option("--max-disk", type=Size(), help="The most a stage can ask for [16g, or --disk if that is more]."),
    click.option("--user", metavar="[auto|USER]", help="For stages without it; auto: not root [the image's]."),
    click.option("--userns", metavar="[auto|MODE]", help="Of stages: auto, or a mode of the engine [auto]."),
    click.option("--networking/--no-networking", default=None, help="For stages without the key [no]."),
    click.option("--allow-networking/--no-allow-networking", default=True, help="Stages may ask for a network."),
    click.option("--allow-user/--no-allow-user", default=True, help="Stages may ask for a user."),
    click.option("--allow-writable/--no-allow-writable", default=True, help="Stages may ask for a writable root."),
    click.option("--allow-privileged/--no-allow-privileged", default=None, help="Run privileged stages [no]."),
    click.option("--compat", is_flag=True, help="Defaults of the original graders, which confine less."),
    # The engine
    click.option("--engine-socket", type=PATH, help="Where the engine's API listens [the usual places]."),
    click.option("--engine-arg", "engine_args", multiple=True, help="More for each `create`, by the command line."),
    click.option("--pull", type=click.Choice(POLICIES), default="missing", help="When to pull an image."),
    click.option("--pull-timeout", type=SECONDS, default=600.0, help="Seconds; not a part of the stage's time."),
    # The fleet
    click.option("--max-jobs", type=click.IntRange(1), help="Exit after this number of jobs."),
    click.option("--once", is_flag=True, help="The same as --max-jobs 1."),
    click.option("--idle-exit", type=SECONDS, help="Exit after so many seconds without a job."),
    click.option("--drain-file", type=PATH, help="Finish the running jobs and exit once this file exists."),
    click.option("--health-port", type=click.IntRange(0, 65535), help="Serve /healthz, /readyz and /metrics [no]."),
    click.option("--health-bind", default="127.0.0.1", help="Address of that port."),
    click.option("--log-format", type=click.Choice(FORMATS), default="text", help="Of the log on stderr."),
)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def cli(**options):
    """Take jobs from a Broadway API, run their stages in order, and report the results. Linux only.

    SIGTERM or Ctrl-C: finish the running jobs, take no new ones, and exit. A second time: exit at once.
    """
    options = SimpleNamespace(**options)
    start_log(options.log_format)
    if sys.platform != "linux":
        raise click.UsageError("the grader runs on Linux only")
    complete(options)
    for number in SIGNALS:
        signal.signal(number, leave)
    with contextlib.ExitStack() as stack:
        status = work(build_worker(options, stack), options.idle_exit, options.drain_file)
    log.info("ended")
    sys.exit(status)


for _option in OPTIONS:
    cli = _option(cli)


def complete(options):
    """Gives the options that were not given their values. Raises UsageError."""
    if not options.allow_networking:
        if options.networking:
            raise click.UsageError("--networking gives each stage what --no-allow-networking forbids")
        options.networking = False
    is_max_disk_given = options.max_disk is not None
    for name, value in (COMPATIBLE if options.compat else SAFE).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.max_disk and options.disk and not is_max_disk_given:
        options.max_disk = max(options.max_disk, options.disk)
    if options.max_cpus is None:
        options.max_cpus = float(os.cpu_count())
    if options.max_memory is None:
        options.max_memory = max(machine_memory() - RESERVE, RESERVE)
    if options.protocol in DEPRECATED_PROTOCOLS:
        replacement = DEPRECATED_PROTOCOLS[options.protocol]
        log.warning("--protocol %s is deprecated: use --protocol %s", options.protocol, replacement)
    options.token = read_token(options.token, options.token_file, "BROADWAY_CLUSTER_TOKEN")
    if options.token is None:
        raise click.UsageError("the cluster token is missing: give --token-file, --token or BROADWAY_CLUSTER_TOKEN")
    options.urls = list(options.urls) or [f"http://{options.host}:{options.port}"]
    if options.concurrency == "auto":
        options.concurrency = fitting(options.memory if options.runner != "process" else None)
        log.info("%d jobs at a time", options.concurrency)
    if options.once:
        options.max_jobs = 1


def build_worker(options, stack):
    """Creates a worker, not started. `stack` receives the cleanups."""
    jobs_dir = make_jobs_dir(options.work_dir)
    stack.callback(remove, jobs_dir)
    state = open_state(options.state_dir, jobs_dir)
    stack.callback(state.close)
    warn_of_small_disk(options, jobs_dir)
    metrics = Metrics()
    asked = "true" if options.protocol == "classic" else True
    optional = {"files": asked, "cancel": asked, **tag_arguments(options.tags)}
    containers = None if options.runner == "process" else open_containers(options, jobs_dir, state, metrics)
    if containers:
        optional["digests"] = asked
    sweeper = Sweeper(state, containers and containers.engine, containers.active if containers else set(), metrics)
    probe = Probe(jobs_dir, options.min_free, containers)
    health = Health(probe, metrics, sweeper.sweep)
    if containers is None or health.check(containers.ping):
        sweeper.sweep()
    sweeper.start()
    stack.callback(sweeper.stop)
    settings = Settings(
        urls=options.urls,
        token=options.token,
        hostname=options.hostname,
        concurrency=options.concurrency,
        work_dir=jobs_dir,
        poll_wait_s=options.wait_s,
        max_log_bytes=options.max_log_bytes,
        stage_timeout_s=options.stage_timeout,
        stop_grace_s=options.stop_grace,
        max_jobs=options.max_jobs,
        make_runner=partial(ContainerRunner, containers) if containers else process_runner(),
        make_line=partial(
            CourseServer if options.protocol == "course-http" else Server, options.urls, options.token, optional
        ),
        optional=optional,
        has_default_results=options.default_results,
        has_live_logs=options.live_logs,
        make_files=partial(JobFiles, file_settings(options, jobs_dir)),
        min_free_bytes=options.min_free,
        health=health,
        metrics=metrics,
        cpusets=open_cpusets(options),
    )
    metrics.set("broadway_grader_slots", options.concurrency)
    worker = socket_worker(settings) if options.protocol == "course-ws" else Worker(settings)
    if options.health_port is not None:
        stack.callback(open_monitor(options, metrics, worker.state).close)
    return worker


def file_settings(options, jobs_dir):
    """How jobs have files."""
    return FileSettings(
        cache=FileCache(jobs_dir / "files", options.file_cache),
        scratch=jobs_dir,
        min_free_bytes=options.min_free,
        most_shared_bytes=options.max_shared,
        most_artifact_bytes=options.max_artifacts,
        try_s=options.file_timeout,
    )


def socket_worker(settings):
    """A worker for websockets. Only this worker needs the library; raises UsageError if it is missing."""
    try:
        from broadway_tools.grader.socket_worker import SocketWorker  # noqa: PLC0415
    except ImportError as error:
        raise click.UsageError(f"--protocol course-ws needs the Python package websockets: {error}") from error
    return SocketWorker(settings)


def process_runner():
    """The runner without containers, after a warning."""
    log.warning("the process runner isolates NOTHING: jobs run with all the rights of this user.")
    log.warning("Use it only for trying out, with jobs that you wrote yourself.")
    return ProcessRunner


def open_containers(options, jobs_dir, state, metrics):
    """The ContainerSettings of this grader, whose engine may not answer yet. Raises UsageError if there is none."""
    engine_dir = jobs_dir / "engine"
    engine_dir.mkdir(mode=0o700)
    try:
        engine = FoundEngine(options.runner, options.engine_socket, options.engine_args, engine_dir)
    except NoEngine as trouble:
        name = options.runner
        usable = f"{name} is not usable here" if name else "neither docker nor podman is usable here"
        raise click.UsageError(
            f"{usable} ({trouble}): install it (`{name or ENGINES[0]} info` must succeed), or give --runner process,"
            " which isolates nothing, for trying out"
        ) from trouble
    return ContainerSettings(
        engine=engine,
        images=Images(engine, options.pull, options.pull_timeout, metrics),
        confinement=Confinement(
            defaults=Limits(**{name: getattr(options, name) for name in Limits.names()}),
            ceiling=Limits(**{name: getattr(options, f"max_{name}") for name in Limits.names()}),
            networking=options.networking,
            user=options.user,
            may_be_privileged=options.allow_privileged,
            is_strict=not options.compat,
            may_have_network=options.allow_networking,
            may_choose_user=options.allow_user,
            may_write=options.allow_writable,
        ),
        stop_grace_s=options.stop_grace,
        labels=state.labels(),
        scratch=jobs_dir,
        user_namespace=UserNamespace(options.userns, engine),
    )


def open_cpusets(options):
    """The CpuSets of this grader's slots; None without --cpuset. Raises UsageError if there are too many slots."""
    if options.cpuset is None:
        return None
    try:
        sets = split(own_processors(), options.concurrency)
    except ValueError as error:
        raise click.UsageError(f"--cpuset auto: {error}") from error
    log.info("processors of the slots: %s", " ".join(sets))
    return CpuSets(sets)


def open_state(state_dir, jobs_dir):
    """The state of this host's graders. Raises UsageError."""
    try:
        return HostState(open_directory(state_dir), jobs_dir)
    except (StateError, OSError) as error:
        raise click.UsageError(f"--state-dir: {error}") from error


def open_monitor(options, metrics, get_state):
    """The grader's own port. Raises UsageError if it is taken."""
    try:
        monitor = Monitor(options.health_bind, options.health_port, metrics, get_state)
    except OSError as error:
        raise click.UsageError(f"--health-port {options.health_port}: {error}") from error
    log.info("health and metrics: http://%s:%d", options.health_bind, monitor.port)
    return monitor


def make_jobs_dir(work_dir):
    """A private directory for the directories of this grader's jobs."""
    if work_dir is not None and "," in str(work_dir.absolute()):
        raise click.UsageError("--work-dir: the path has a comma, which the engines' --mount can't take")
    if work_dir is not None:
        work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX, dir=work_dir)).resolve()


def warn_of_small_disk(options, jobs_dir):
    """Logs a warning if all slots' jobs together may write more than is free."""
    if options.disk is None or options.runner == "process":
        return
    needed, free = options.disk * options.concurrency + options.min_free, free_bytes(jobs_dir)
    if needed > free:
        log.warning(
            "%d MiB are free in %s, but %d MiB are needed if each slot's job writes as much as it may (--disk %d MiB):"
            " lower --disk or --concurrency, or choose another --work-dir",
            free // MIB,
            jobs_dir.parent,
            needed // MIB,
            options.disk // MIB,
        )


def remove(jobs_dir):
    """Removes this grader's directory, if it is still there."""
    try:
        wipe(jobs_dir)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.error("%s could not be removed: %s", jobs_dir, error)


def leave(_number, _frame):
    """A signal before the worker starts: what was made is removed, and nothing has to be finished."""
    raise SystemExit(0)


def work(worker, idle_exit_s=None, drain_file=None):
    """Runs a worker until it ends. Returns the exit status."""
    killed = threading.Event()
    asked = threading.Event()

    def on_signal(number, _frame):
        # In a thread, since the main thread may hold the locks that stop, kill and the log take.
        action = kill if asked.is_set() else drain
        asked.set()
        threading.Thread(target=action, args=(signal.Signals(number).name,), daemon=True).start()

    def drain(why):
        log.info("%s: no new jobs are taken; %d running, to be finished", why, worker.running())
        worker.stop()

    def kill(why):
        killed.set()
        log.warning("%s again: the running jobs are killed", why)
        worker.kill()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    worker.start()
    if idle_exit_s is not None:
        threading.Thread(target=leave_when_idle, args=(worker, idle_exit_s, asked, drain), daemon=True).start()
    if drain_file is not None:
        threading.Thread(target=leave_at_notice, args=(drain_file, asked, drain), daemon=True).start()
    failure = wait_for(worker)
    if failure:
        log.error("%s", failure)
    return 1 if failure or killed.is_set() else 0


def wait_for(worker):
    """Returns what the worker's `wait` returns. Handles signals meanwhile: Python runs handlers in the main thread
    only, but the kernel may interrupt any thread, so the main thread waits for the byte that each signal writes."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    failures = []

    def wait():
        failures.append(worker.wait())
        os.write(writer, b"\0")

    threading.Thread(target=wait, daemon=True).start()
    while not failures:
        os.read(reader, 512)
    return failures[0]


def leave_when_idle(worker, idle_exit_s, asked, drain):
    """Drains the worker once it had no job for that long."""
    while not asked.wait(min(IDLE_LOOK_S, idle_exit_s)):
        if worker.idle_s() >= idle_exit_s:
            drain(f"no job for {idle_exit_s:g} s")
            return


def leave_at_notice(path, asked, drain):
    """Drains the worker once this file exists."""
    while not path.exists():
        if asked.wait(NOTICE_LOOK_S):
            return
    drain(f"{path} exists")


def main():
    """Runs the command."""
    use_few_heaps()
    cli(prog_name="grader")
