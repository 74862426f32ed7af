"""The command line of scripts/grader."""

import logging
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

import click

from broadway_tools.grader.container_runner import ContainerRunner
from broadway_tools.grader.process_runner import ProcessRunner
from broadway_tools.grader.worker import Settings, Worker
from broadway_tools.grader.workspace import wipe
from broadway_tools.options import read_token

ENGINES = ("docker", "podman")
ENGINE_ANSWER_S = 20

log = logging.getLogger("grader")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--url", "urls", multiple=True, help="Of a replica of the API; give several to fail over between them.")
@click.option("--host", default="127.0.0.1", help="Of the API, instead of --url.")
@click.option("--port", type=int, default=1470)
@click.option("--token", help="The cluster token [env BROADWAY_CLUSTER_TOKEN].")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file with the cluster token.")
@click.option("--hostname", default=socket.gethostname, show_default="this machine's", help="As Broadway shows it.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=1, help="Jobs at once.")
@click.option("--runner", type=click.Choice([*ENGINES, "process"]), help="[docker if it is there, else podman]")
@click.option("--work-dir", type=click.Path(path_type=Path), help="Where jobs get their directories [a temporary one].")
@click.option("--wait", "wait_s", type=click.FloatRange(0, 60), help="Seconds a poll may take [as the server likes].")
@click.option("--max-log-bytes", type=click.IntRange(0), default=4 * 1024 * 1024, help="Of a job's stdout, and stderr.")
@click.option(
    "--stage-timeout", type=click.FloatRange(0, min_open=True), default=3600.0, help="Where a stage has none."
)
@click.option("--max-jobs", type=click.IntRange(1), help="Leave after so many.")
@click.option("--once", is_flag=True, help="The same as --max-jobs 1.")
def cli(urls, host, port, token, token_file, runner, work_dir, wait_s, stage_timeout, once, max_jobs, **others):
    """Take jobs from a Broadway API, run their stages in order, report what came of them.

    SIGTERM or Ctrl-C: finish the running jobs, take no others, leave. A second time: leave now.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    token = read_token(token, token_file, "BROADWAY_CLUSTER_TOKEN")
    if token is None:
        raise click.UsageError("the cluster token is missing: give --token-file, --token or BROADWAY_CLUSTER_TOKEN")
    make_runner = choose_runner(runner)
    jobs_dir = make_jobs_dir(work_dir)
    settings = Settings(
        urls=[url.rstrip("/") for url in urls] or [f"http://{host}:{port}"],
        token=token,
        work_dir=jobs_dir,
        poll_wait_s=wait_s,
        stage_timeout_s=stage_timeout,
        max_jobs=1 if once else max_jobs,
        make_runner=make_runner,
        **others,
    )
    try:
        sys.exit(work(Worker(settings)))
    finally:
        wipe(jobs_dir)


def choose_runner(wanted):
    """A function that makes a runner for one job, given the job's name."""
    if wanted == "process":
        click.echo(
            "grader: WARNING: the process runner isolates NOTHING: whatever a job runs has all the rights of this"
            " user.\ngrader: It is for trying out, with jobs that you wrote yourself.",
            err=True,
        )
        return ProcessRunner
    engines = [engine for engine in ([wanted] if wanted else ENGINES) if is_usable(engine)]
    if engines:
        return partial(ContainerRunner, engines[0])
    trouble = f"{wanted} is not usable here" if wanted else "neither docker nor podman is usable here"
    raise click.UsageError(
        f"{trouble}: install it (`{wanted or ENGINES[0]} info` must succeed), or, to try things out with nothing"
        " isolated, give --runner process"
    )


def is_usable(engine):
    """Is the engine installed, and does it answer?"""
    if shutil.which(engine) is None:
        return False
    try:
        answer = subprocess.run([engine, "info"], capture_output=True, timeout=ENGINE_ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0


def make_jobs_dir(work_dir):
    """A directory of this grader's own, for its jobs' directories."""
    if work_dir is not None and "," in str(work_dir.absolute()):
        raise click.UsageError("--work-dir: the path has a comma, which the engines' --mount can't take")
    if work_dir is not None:
        work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(prefix="broadway-grader-", dir=work_dir)).resolve()


def work(worker):
    """Runs a worker to its end. The exit code."""
    killed = threading.Event()
    asked = threading.Event()

    def on_signal(_number, _frame):
        # In a thread, since the main thread may hold what stop and kill want.
        if asked.is_set():
            killed.set()
            threading.Thread(target=worker.kill, daemon=True).start()
            return
        asked.set()
        threading.Thread(target=worker.stop, daemon=True).start()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    worker.start()
    failure = worker.wait()
    if failure:
        click.echo(f"grader: {failure}", err=True)
    return 1 if failure or killed.is_set() else 0


def main():
    """Runs the command."""
    cli(prog_name="grader")
