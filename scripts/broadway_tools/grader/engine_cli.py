"""A container engine by its command line, where there is no socket, or where the operator adds arguments of its own.

A stage's environment is never an argument, since every user of the machine can read arguments. It is passed in a
private file or, if that format can't hold a value, in the client's own environment."""

import contextlib
import json
import os
import re
import subprocess
import tempfile

from broadway_tools.grader.child import Child
from broadway_tools.grader.engine import (
    INPUT_DIRECTORY,
    JOB_DIRECTORY,
    NO_LIMIT,
    ContainerListing,
    digest_of_image,
    is_created_only,
    parse_state,
    refusal,
)
from broadway_tools.grader.faults import Fault, engine_fault, pull_fault
from broadway_tools.grader.output import HeadTail, Tee
from broadway_tools.grader.stage import StageError

ANSWER_S = 60
PING_S = 20
LONGEST_RUN_S = 10**6  # a week is the longest that a stage may take
MESSAGE_BYTES = 4096
# A line of an --env-file: the clients read at most 64 KiB, and take any name but these forms.
LONGEST_LINE = 60_000
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# Variables that the client itself, its libraries or its helpers would read.
CLIENT_VARIABLES = re.compile(
    r"(LD_|DOCKER|CONTAINER|_CONTAINER|PODMAN|BUILDAH|STORAGE|REGISTRY|REGISTRIES|XDG_|SSL_|DBUS_|LISTEN_|NOTIFY_|GLIBC|"
    r"GO(DEBUG|GC|MAXPROCS|MEMLIMIT|TRACEBACK|COVERDIR)|MALLOC|GCONV|LOCPATH|NLSPATH|RES_|HOSTALIASES|LOCALDOMAIN|PATH$|HOME$|TMP|USER|SHELL|BASH|ENV$|IFS$|PYTHON)"
    r"|.*_PROXY$",
    re.IGNORECASE,
)


class CliEngine:
    """Any thread may call. Raises Fault if the engine does not do as asked, StageError if the stage is at fault.

    `directory`: a private one, the clients' working directory, since an engine may leave files there.
    `extra`: arguments of the operator for each container.
    """

    FIRST_LOOK_S = 0.25  # at a container after its start: a look is a client, which a short stage does not wait for

    def __init__(self, name, directory, extra=()):
        self.name = name
        self._directory = directory
        self._extra = list(extra)

    def describe(self):
        """A name for people."""
        return f"{self.name} by its command line"

    def ping(self):
        """Raises Fault unless the engine answers."""
        with contextlib.suppress(OSError):  # the client reports the error
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ask("info", limit_s=PING_S)

    def image_digest(self, image):
        """The digest of an image that is here (digest_of_image). None if it isn't here."""
        done = self._run("image", "inspect", "--", image)
        if done.returncode != 0:
            if re.search(r"no such (image|object)|not known|not found", done.stderr, re.IGNORECASE):
                return None
            raise engine_fault(_last_line(done.stderr))
        found = json.loads(done.stdout)[0]
        return digest_of_image(image, found)

    def image_user(self, image):
        """The user that an image, which is here, names; empty if none."""
        return (json.loads(self._ask("image", "inspect", "--", image))[0].get("Config") or {}).get("User") or ""

    def pull(self, image, limit_s):
        """Returns when the image is here."""
        try:
            done = self._call("pull", "--quiet", "--", image, limit_s=limit_s)
        except subprocess.TimeoutExpired:
            raise Fault("registry", f"the image {image} was not pulled within {limit_s:g} s") from None
        if done.returncode != 0:
            raise pull_fault(image, _last_line(done.stderr))

    def create(self, spec):
        """The id of a new container."""
        with _environment(spec.env, self._directory) as (options, env):
            argv = [*options, *_options(spec), *self._extra, "--", spec.image, *spec.entrypoint[1:]]
            done = self._run("create", *argv, env=env)
        if done.returncode == 0:
            return done.stdout.split()[-1]
        text = _last_line(done.stderr)
        if re.search(r"no such image|image not known|unable to find image", text, re.IGNORECASE):
            raise Fault("image", f"the image {spec.image} is not here: {text}")
        raise refusal(text)

    def attach(self, container, stdout, stderr):
        """An attachment for the container, which has not been started."""
        return _Attachment(self, container, stdout, stderr)

    def kill(self, container, signal):
        """Sends a signal; nothing happens if the container has ended."""
        self._run("kill", f"--signal={signal}", container)

    def remove(self, container):
        """Kills and removes it."""
        grace = ["--time=0"] if self.name == "podman" else []
        done = self._run("rm", "--force", "--volumes", *grace, container)
        if done.returncode != 0 and not re.search(r"no such container|no container with", done.stderr, re.IGNORECASE):
            raise engine_fault(_last_line(done.stderr))

    def list(self, label):
        """A ContainerListing of each container with this label, `name` or `name=value`."""
        found = self._ask("ps", "--all", "--no-trunc", f"--filter=label={label}", "--format={{.ID}}").split()
        if not found:
            return []
        done = self._run("container", "inspect", *found)
        try:
            inspected = json.loads(done.stdout or "[]")  # without containers that were removed in the meantime
        except ValueError as error:
            raise engine_fault(f"{self.name} container inspect: {_last_line(done.stderr)}") from error
        return [
            ContainerListing(one["Id"], one["Config"].get("Labels") or {}, bool(one["State"].get("Running")))
            for one in inspected
        ]

    def inspect(self, container):
        """A ContainerState."""
        return parse_state(json.loads(self._ask("container", "inspect", container))[0]["State"])

    def written(self, container):
        """The bytes that it has written outside of its mounts; 0 if that is not known."""
        with contextlib.suppress(Fault):
            found = json.loads(self._ask("container", "inspect", "--size", container))
            return int(found[0].get("SizeRw") or 0)
        return 0

    def client(self, *words):
        """The argv of a client."""
        return [self.name, *words]

    @property
    def directory(self):
        """Where clients run."""
        return self._directory

    def _ask(self, *words, limit_s=ANSWER_S):
        """What a command prints. Raises Fault if it fails."""
        done = self._run(*words, limit_s=limit_s)
        if done.returncode != 0:
            raise engine_fault(f"{self.name} {words[0]}: {_last_line(done.stderr)}")
        return done.stdout

    def _run(self, *words, limit_s=ANSWER_S, env=None):
        """The completed command, whatever its status."""
        try:
            return self._call(*words, limit_s=limit_s, env=env)
        except subprocess.TimeoutExpired:
            raise Fault("engine", f"{self.name} {words[0]} did not end within {limit_s:g} s") from None

    def _call(self, *words, limit_s, env=None):
        try:
            return subprocess.run(
                self.client(*words),
                cwd=self._directory,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=limit_s,
                start_new_session=True,  # Ctrl-C at the grader is not theirs
                check=False,
            )
        except (OSError, ValueError) as error:
            raise Fault("engine", f"{self.name} can't be run: {error}") from error


class _Attachment:
    """The output of one container. `run` is called once; `cut` at any time, from any thread."""

    def __init__(self, engine, container, stdout, stderr):
        self._engine = engine
        self._container = container
        self._stdout = stdout
        self._stderr = stderr
        self._child = Child()

    def run(self):
        """Starts the container and copies its output: its ContainerState when it has ended."""
        message = HeadTail(MESSAGE_BYTES)
        argv = self._engine.client("start", "--attach", self._container)
        try:
            self._child.run(argv, self._stdout, Tee(self._stderr, message), LONGEST_RUN_S, cwd=self._engine.directory)
        except StageError as error:
            raise Fault("engine", f"{self._engine.name} {error}") from error
        state = self._engine.inspect(self._container)
        if is_created_only(state):
            raise refusal(state.error or _last_line(message.text()))
        if state.is_running:
            raise engine_fault(f"{self._engine.name} ended the output of a stage: {message.text()}")
        return state

    def cut(self):
        """Makes `run` return or raise soon, whatever the engine does."""
        self._child.kill()


def _last_line(text):
    """A client's error; the lines before it are warnings."""
    lines = text.strip().splitlines()
    return lines[-1].removeprefix("Error: ") if lines else "no reason given"


def _options(spec):
    """Every value follows its option's "=", so a value can't be read as an option."""
    options = [
        f"--name={spec.name}",
        f"--mount=type=bind,source={spec.directory},target={JOB_DIRECTORY}",
        "--log-driver=none",  # the output is read here; the engine need not store it too
        "--pull=never",
        "--init",
    ]
    if spec.inputs is not None:
        options.append(f"--mount=type=bind,source={spec.inputs},target={INPUT_DIRECTORY},readonly")
    if spec.results is not None:
        source, target = spec.results
        options.append(f"--mount=type=bind,source={source},target={target}")
    valued = {
        "hostname": spec.hostname,
        "user": spec.user,
        "workdir": spec.working_dir,
        "network": None if spec.networking else "none",
        "userns": spec.userns,
        "memory": spec.memory,
        "memory-swap": spec.memory,
        "cpus": spec.cpus,
        "cpu-shares": spec.cpu_shares,
        "pids-limit": spec.pids or NO_LIMIT,
        "cpuset-cpus": spec.cpuset_cpus,
        "entrypoint": spec.entrypoint[0] if spec.entrypoint else None,
    }
    options += [f"--{option}={value}" for option, value in valued.items() if value is not None]
    options += [f"--label={name}={value}" for name, value in spec.labels.items()]
    options += [f"--tmpfs={path}:rw,exec,nosuid,nodev,size={size}" for path, size in spec.tmpfs.items()]
    options += [f"--ulimit={name}={soft}:{hard}" for name, (soft, hard) in spec.ulimits.items()]
    if spec.read_only:
        options.append("--read-only")
    if spec.privileged:
        options.append("--privileged")
    elif spec.is_confined:
        options += ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
    return options


@contextlib.contextmanager
def _environment(entries, directory):
    """(options, the client's environment) that give a container these variables, as long as the context is open."""
    variables = dict(entry.partition("=")[::2] for entry in entries)
    by_file = {name: value for name, value in variables.items() if _fits_a_line(name, value)}
    by_client = {name: value for name, value in variables.items() if name not in by_file}
    for name in by_client:
        if CLIENT_VARIABLES.match(name) or not PLAIN_NAME.fullmatch(name):
            raise StageError(
                f"the value of the variable {name} needs the engine's API: the grader uses its command line"
            )
    with tempfile.NamedTemporaryFile("w", dir=directory, prefix="env-", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{name}={value}\n" for name, value in by_file.items())
        file.flush()
        yield [f"--env-file={file.name}", *(f"--env={name}" for name in by_client)], {**os.environ, **by_client}


def _fits_a_line(name, value):
    line = f"{name}={value}"
    return PLAIN_NAME.fullmatch(name) and len(line.encode()) < LONGEST_LINE and not re.search(r"[\r\n]", line)
