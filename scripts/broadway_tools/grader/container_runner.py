"""Runs stages in containers, by the command line of docker or podman."""

import itertools
import subprocess

from broadway_tools.grader.child import Child
from broadway_tools.grader.stage import StageError

NOT_STARTED = 125
REMOVE_TIMEOUT_S = 30


class ContainerRunner:
    """One per job. The job's directory is mounted at /job, and is all that a stage sees of this machine."""

    # Writable for whatever user the image has; the directory around it lets nobody else in.
    DIRECTORY_MODE = 0o777

    def __init__(self, engine, name):
        self._engine = engine
        self._name = name
        self._numbers = itertools.count()
        self._container = None
        self._child = Child(on_kill=self._remove)

    def run(self, stage, directory, stdout, stderr):
        """Runs one stage to its end. Raises StageError if it can't be started."""
        self._container = f"broadway-{self._name}-{next(self._numbers)}"
        argv = container_command(self._engine, self._container, stage, directory)
        outcome = self._child.run(argv, stdout, stderr, stage.timeout_s)
        if outcome.exit_code == NOT_STARTED and not outcome.killed:
            outcome.exit_code = None
            outcome.error = f"{self._engine} could not start it; its standard error says why"
        return outcome

    def kill(self):
        """Ends the running stage, and lets no other start."""
        self._child.kill()

    def _remove(self):
        """Killing the client leaves the container running."""
        command = [self._engine, "rm", "--force", self._container]
        try:
            subprocess.run(command, capture_output=True, timeout=REMOVE_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            pass  # the engine hangs; its own removal (--rm) is what is left


def container_command(engine, container, stage, directory):
    """The argv that runs a stage. Every value stands behind its option's "=": none can pass for an option itself."""
    if stage.image.startswith("-"):
        raise StageError(f"the image {stage.image!r} has the form of an option")
    # What it writes comes through the client; the engine need not keep it on disk as well.
    argv = [engine, "run", "--rm", "--log-driver=none", f"--name={container}"]
    argv += [f"--mount=type=bind,source={directory},target=/job", "--env=JOB_DIR=/job"]
    if not stage.networking:
        argv.append("--network=none")
    argv += [
        f"--{option}={value}"
        for option, value in (
            ("hostname", stage.hostname),
            ("memory", stage.memory),
            ("cpuset-cpus", stage.cpuset_cpus),
        )
        if value
    ]
    if stage.privileged:
        argv.append("--privileged")
    argv += [f"--env={entry}" for entry in stage.env]
    if stage.entrypoint:
        argv.append(f"--entrypoint={stage.entrypoint[0]}")
    return argv + [stage.image] + stage.entrypoint[1:]
