"""Runs stages in containers of an engine."""

import itertools
import logging
import queue
import re
import secrets
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from broadway_tools.grader.confinement import AUTO_USER, NOBODY, is_root
from broadway_tools.grader.engine import JOB_DIRECTORY, ContainerSpec, is_created_only
from broadway_tools.grader.faults import Fault
from broadway_tools.grader.output import HeadTail, Tee
from broadway_tools.grader.stage import Outcome, StageError
from broadway_tools.grader.usage import Meter, Size
from broadway_tools.grader.user_namespace import UserNamespace
from broadway_tools.grader.workspace import Workspace

GRADER_LABEL, JOB_LABEL, NAME_LABEL = "broadway.grader", "broadway.job", "broadway.name"
# Limits for an engine: to start a container, to report its end after a KILL; and for a client to end after a cut.
START_S, END_S, CUT_S = 60, 30, 5
START_LOOK_S = 0.1
HIGHEST_SIGNAL = 64
NO_PROGRAM, PROBE_S = "/broadway-probe", 20
# The first line on stderr of an init that can't start the stage's program: catatonit, tini, dumb-init.
INIT_FAILED = re.compile(r"ERROR \(catatonit:\d+\): failed to exec|\[FATAL tini \(\d+\)\] exec|\[dumb-init\] ")
# The characters of an image's name, with registry, tag and digest.
REFERENCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:@-]*")
FIRST_WORDS_BYTES = 400
DECIDED = object()  # the user namespace is the grader's
INIT_STATUSES = (1, 2, 126, 127)

log = logging.getLogger("grader")


@dataclass(frozen=True)
class ContainerSettings:
    """What all runners of a grader share."""

    engine: object
    images: object
    confinement: object
    stop_grace_s: float
    labels: dict  # of every container of this grader
    active: set = field(default_factory=set)  # names of the containers in use
    scratch: object = None  # a directory for probes
    user_namespace: UserNamespace = field(default_factory=lambda: UserNamespace(None, None))

    def ping(self):
        """Raises Fault unless the engine answers."""
        self.engine.ping()
        is_first = self.user_namespace.find()
        if is_first and self.user_namespace.ignores_limits():
            log.warning(
                "podman without root ignores the limits of stages (memory, processors, processes): this machine has"
                " control groups of version 1"
            )
        if is_first and self.confinement.user is None and not self.user_namespace.may_be_there():
            log.warning(
                "stages run as root of this machine if their image names no user, without a user namespace: --user auto"
                " and --userns prevent that"
            )

    def try_stage(self, stage, userns=DECIDED):
        """Runs a container like that of the stage, whose program doesn't exist. Raises Fault if this machine can't."""
        self.images.ensure(stage.image, is_probe=True)
        runner = ContainerRunner(self, f"probe-{secrets.token_hex(4)}", userns)
        probe = replace(stage, entrypoint=[NO_PROGRAM], env=[], timeout_s=PROBE_S)
        with Workspace(self.scratch, runner.DIRECTORY_MODE) as workspace:
            try:
                runner.run(probe, workspace.path, Tee(), Tee())
            except StageError:
                pass  # the engine was able to start it


class ContainerRunner:
    """One per job. The job's directory is mounted at /job; a stage sees nothing else of this machine."""

    # Writable for any user of the image; only the grader's user can enter the directory around it.
    DIRECTORY_MODE = 0o777

    def __init__(self, settings, name, userns=DECIDED):
        self._settings = settings
        self._userns = userns
        self._engine = settings.engine
        self._name = name
        self._numbers = itertools.count()
        self._events = queue.SimpleQueue()  # of the running stage: why to stop waiting for it
        self._is_cancelled = False
        self._inputs = None

    def run(self, stage, directory, stdout, stderr):
        """Runs one stage to its end. Raises StageError if it can't be started, Fault if this machine can't run it."""
        if stage.image.startswith("-"):
            raise StageError(f"the image {stage.image!r} has the form of an option")
        if not REFERENCE.fullmatch(stage.image) or ".." in stage.image:
            raise StageError(f"the image {stage.image!r} is not the name of an image")
        limits = self._settings.confinement.limits(stage)
        options = self._settings.confinement.options(stage, limits)
        try:
            image, digest = self._ensure_image(stage)
            if self._is_cancelled:
                raise StageError("cancelled before it started")
            userns = self._find_userns(stage)
            options |= {"userns": userns, "user": self._find_user(options["user"], image, userns)}
            spec = self._spec(replace(stage, image=image), directory, options)
            outcome = self._run_in_container(stage, spec, limits.disk, (stdout, stderr))
        except Fault as fault:
            if _is_about_results(fault, stage):
                raise StageError(f"results {stage.results} can't be read: {fault}") from fault
            fault.stage = stage
            raise
        outcome.image_digest = digest
        return outcome

    def _ensure_image(self, stage):
        """(what to run, its digest)"""
        if stage.pinned_digest:
            return self._settings.images.ensure_pinned(stage.image, stage.pinned_digest, stage.pull_until)
        return stage.image, self._settings.images.ensure(stage.image, stage.pull_until)

    def give_inputs(self, inputs, place):
        """Files that stages may read, but not change, are found at `place`, in the job's directory."""
        place.mkdir(mode=0o755)
        self._inputs = str(inputs)

    def end(self, _grace_s):
        """Ends the running stage by TERM, and KILL after the grace of the settings; no other stage starts."""
        self._is_cancelled = True
        self._events.put("ended early")

    def kill(self):
        """Kills the running stage; no other stage starts."""
        self._is_cancelled = True
        self._events.put("cancelled")

    def _find_userns(self, stage):
        if stage.privileged:
            return None
        if self._userns is not DECIDED:
            return self._userns
        return self._settings.user_namespace.mode(lambda mode: self._settings.try_stage(stage, mode))

    def _find_user(self, user, image, userns):
        """What the engine is told; None: the image's user."""
        if user != AUTO_USER:
            return user
        has_namespace = self._settings.user_namespace.is_there(userns)
        return None if has_namespace or not is_root(self._engine.image_user(image)) else NOBODY

    def _spec(self, stage, directory, options):
        # Unique, as the container of an earlier attempt may still be there.
        name = f"broadway-{self._name}-{next(self._numbers)}-{secrets.token_hex(3)}"
        return ContainerSpec(
            name=name,
            image=stage.image,
            entrypoint=stage.entrypoint,
            env=[f"JOB_DIR={JOB_DIRECTORY}", *stage.env],
            directory=str(directory),
            inputs=self._inputs,
            results=stage.results_mount,
            labels={**self._settings.labels, JOB_LABEL: self._name, NAME_LABEL: name},
            hostname=stage.hostname,
            **options,
        )

    def _run_in_container(self, stage, spec, disk_limit, sinks):
        self._settings.active.add(spec.name)
        container = None
        try:
            container = self._engine.create(spec)
            return self._run(container, stage, (spec.directory, disk_limit, not spec.read_only), sinks)
        finally:
            if container is not None:
                self._remove(container)
            self._settings.active.discard(spec.name)

    def _run(self, container, stage, disk, sinks):
        directory, limit, is_writable = disk
        directories = [directory, *(stage.results_mount or ())[:1]]
        get_more = (lambda: self._engine.written(container)) if is_writable else None
        self._events = queue.SimpleQueue()
        if self._is_cancelled:
            self._events.put("cancelled")
        stdout, stderr = sinks
        first_words = HeadTail(FIRST_WORDS_BYTES)
        ended = _Ended(self._engine.attach(container, stdout, Tee(stderr, first_words)), self._events)
        started = time.monotonic()
        events = self._events
        size = Size(directories, get_more)
        first_s = self._engine.FIRST_LOOK_S
        with Meter(container, lambda: self._pid(container), size, limit, lambda: events.put("disk"), first_s) as meter:
            ended.start()
            try:
                why = self._follow(container, ended, stage.timeout_s)
            except Fault:
                ended.cut()
                raise
        state = ended.result()
        words = first_words.text()
        if why is None and state.exit_code in INIT_STATUSES and INIT_FAILED.match(words):
            raise StageError(f"could not be started: {words.strip()}")
        usage = meter.usage
        # Of some engines the flag is wrong if an init survived the process that was killed.
        state = replace(state, oom_killed=state.oom_killed or bool(usage.oom_kills))
        outcome = _outcome(state, why, stage, limit)
        seconds = state.seconds if state.seconds is not None else time.monotonic() - started
        outcome.seconds = round(seconds, 3)
        outcome.peak_memory, outcome.cpu_seconds = usage.peak_memory, usage.cpu_s
        return outcome

    def _follow(self, container, ended, timeout_s):
        """Returns when the stage has ended: why it was ended, None if by itself."""
        why = self._wait(container, timeout_s)
        if why == "ended":
            return None
        if why != "cancelled":
            self._signal(container, ended, "TERM")
            if self._next_event(self._settings.stop_grace_s) == "ended":
                return why
        self._signal(container, ended, "KILL")
        if not ended.wait(END_S):
            raise Fault("engine", f"{self._engine.name} did not end a container within {END_S} s")
        return why

    def _signal(self, container, ended, name):
        """Sends a signal as soon as the container runs: the engine may still be starting it."""
        give_up = time.monotonic() + START_S
        while is_created_only(self._engine.inspect(container)) and time.monotonic() < give_up:
            if ended.wait(START_LOOK_S):
                return
        self._engine.kill(container, name)

    def _wait(self, container, timeout_s):
        """The next event, or "timed out" when the stage itself, without the engine's work, has run that long."""
        begun = time.monotonic()
        left_s = timeout_s
        while (why := self._next_event(left_s)) is None:
            state = self._engine.inspect(container)
            waited_s = time.monotonic() - begun
            if state.started is None:
                if waited_s > timeout_s + START_S:
                    raise Fault("engine", f"{self._engine.name} did not start a container within {START_S} s")
                left_s = START_LOOK_S
                continue
            ran_s = (datetime.now(timezone.utc) - state.started).total_seconds()
            left_s = timeout_s - min(max(ran_s, 0), waited_s)
            if left_s <= 0:
                return "timed out"
        return why

    def _next_event(self, seconds):
        try:
            return self._events.get(timeout=max(0, seconds))
        except queue.Empty:
            return None

    def _pid(self, container):
        try:
            return self._engine.inspect(container).pid
        except Fault:
            return 0

    def _remove(self, container):
        try:
            self._engine.remove(container)
        except Fault as fault:
            log.warning("a container of job %s remains for now: %s", self._name, fault)


class _Ended:
    """The thread that carries a stage's output. Puts "ended" into `events` at its end."""

    def __init__(self, attachment, events):
        self._attachment = attachment
        self._events = events
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._state = None
        self._error = None

    def start(self):
        self._thread.start()

    def wait(self, seconds):
        """Whether it has ended within this time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def cut(self):
        """Gives up on the engine."""
        self._attachment.cut()
        self._thread.join(CUT_S)

    def result(self):
        """The ContainerState. Raises what `run` of the attachment raised."""
        self._thread.join()
        if self._error:
            raise self._error
        return self._state

    def _run(self):
        try:
            self._state = self._attachment.run()
        except Exception as error:
            self._error = error
        self._events.put("ended")


def _is_about_results(fault, stage):
    """Whether the engine could not mount the directory of the stage's results: the image has something else there."""
    return stage.results_mount is not None and fault.kind == "engine" and stage.results_mount[0] in str(fault)


def _outcome(state, why, stage, disk_limit):
    """The Outcome without its figures. An init in the container reports a signal N as the status 128 + N."""
    code = state.exit_code
    by_signal = code - 128 if 128 < code <= 128 + HIGHEST_SIGNAL else None
    outcome = Outcome(exit_code=code, signal=by_signal, oom_killed=state.oom_killed, timed_out=why == "timed out")
    if why is not None:
        outcome.killed = True
        outcome.error = {
            "timed out": f"killed: not done after {stage.timeout_s:g} s",
            "cancelled": "killed: the grader was told to stop",
            "ended early": "ended: the job was cancelled",
            "disk": f"killed: its disk holds more than {disk_limit} bytes",
        }[why]
    elif state.oom_killed and code != 0:
        outcome.killed = True
        outcome.error = "ended: out of memory"
    elif by_signal:
        outcome.killed = True
        outcome.error = f"ended by signal {by_signal}"
    return outcome
