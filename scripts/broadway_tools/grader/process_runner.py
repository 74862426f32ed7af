"""Runs stages as plain local processes, for trying out: nothing is isolated."""

import ctypes
import os
import resource
import signal

from broadway_tools.grader.child import Child
from broadway_tools.grader.stage import StageError, cpu_numbers, memory_bytes

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class ProcessRunner:
    """One per job. The stage's entrypoint runs in the job's directory, with none of the grader's environment."""

    DIRECTORY_MODE = 0o700

    def __init__(self, _name):
        self._child = Child()

    def run(self, stage, directory, stdout, stderr):
        """Runs one stage to its end. Raises StageError if it can't be started."""
        if not stage.entrypoint:
            raise StageError("has no entrypoint, and the process runner has no image to take one from")
        if stage.results_mount:
            raise StageError(f"results {stage.results} can't be read: the process runner has nothing but /job")
        env = {"PATH": PATH, "HOME": str(directory), "JOB_DIR": str(directory), **stage.environment()}
        limit = memory_bytes(stage.memory) if stage.memory else None
        with _Affinity(stage.cpuset_cpus):
            return self._child.run(
                stage.entrypoint,
                stdout,
                stderr,
                stage.timeout_s,
                cwd=directory,
                env=env,
                preexec_fn=lambda: _prepare(limit),
            )

    def give_inputs(self, inputs, place):
        """Files that stages may read are found at `place`."""
        place.symlink_to(inputs)

    def end(self, grace_s):
        """Ends the running stage by TERM, and KILL after `grace_s`; no other stage starts."""
        self._child.end(grace_s)

    def kill(self):
        """Kills the running stage; no other stage starts."""
        self._child.kill()


def _prepare(memory_limit):
    """Runs in the child before the program: the child must die with the grader."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if memory_limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))


class _Affinity:
    """A context in which this thread, and processes that it starts, are bound to a set of processors."""

    def __init__(self, cpuset):
        self._cpus = cpu_numbers(cpuset) if cpuset else None

    def __enter__(self):
        self._before = os.sched_getaffinity(0)
        if self._cpus is None:
            return
        try:
            os.sched_setaffinity(0, self._cpus)
        except OSError as error:
            raise StageError(f"can't be bound to processors {sorted(self._cpus)}: {error}") from error

    def __exit__(self, *_):
        os.sched_setaffinity(0, self._before)
