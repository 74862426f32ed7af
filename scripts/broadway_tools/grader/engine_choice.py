"""Finds a container engine: by its socket if there is one, else by its command line."""

import logging
import os
import shutil
from pathlib import Path

from broadway_tools.grader.engine_api import ApiEngine
from broadway_tools.grader.engine_cli import CliEngine
from broadway_tools.grader.faults import Fault

ENGINES = ("docker", "podman")
HOST_VARIABLES = {"docker": "DOCKER_HOST", "podman": "CONTAINER_HOST"}
UNIX = "unix://"

log = logging.getLogger("grader")


class NoEngine(Exception):
    """There is neither a socket nor a command of an engine; the text says of which."""


class FoundEngine:
    """The engine of this name, or docker if it answers, else podman: the first that answers a `ping`, from then on.
    Until then each call raises Fault. Any thread may call.

    `socket_path`: where its API listens; None: the usual places. `arguments`: the operator's own, which only the
    command line takes. `directory`: a private one, for its clients."""

    def __init__(self, name, socket_path, arguments, directory):
        self._search = (name, socket_path, arguments, directory)
        self._engine = None
        if next(_candidates(*self._search), None) is None:
            raise NoEngine(f"{name or ' and '.join(ENGINES)}: neither socket nor command")

    def ping(self):
        """Raises Fault unless the engine answers."""
        if self._engine is not None:
            self._engine.ping()
            return
        engine = self._find()
        log.info("stages run in containers of %s", engine.describe())
        self._engine = engine

    def _find(self):
        trouble = []
        for engine in _candidates(*self._search):
            try:
                engine.ping()
                return engine
            except Fault as fault:
                trouble.append(f"{engine.describe()}: {fault}")
        raise Fault("engine", f"no container engine answers: {'; '.join(trouble)}")

    def __getattr__(self, name):
        if self._engine is None:
            raise Fault("engine", "no container engine has answered yet")
        return getattr(self._engine, name)


def _candidates(name, socket_path, arguments, directory):
    for engine in [name] if name else ENGINES:
        if not arguments:
            yield from (ApiEngine(engine, path) for path in _sockets(engine, socket_path))
        if socket_path is None and shutil.which(engine):
            yield CliEngine(engine, directory, arguments)


def _sockets(engine, socket_path):
    """The sockets of an engine that exist; the one that was named, in any case."""
    if socket_path is not None:
        return [socket_path]
    host = os.environ.get(HOST_VARIABLES[engine], "")
    if host:
        return [Path(host.removeprefix(UNIX))] if host.startswith(UNIX) else []
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")
    usual = {
        "docker": [Path("/var/run/docker.sock"), runtime / "docker.sock"],
        "podman": [Path("/run/podman/podman.sock") if os.geteuid() == 0 else runtime / "podman" / "podman.sock"],
    }
    return [path for path in usual[engine] if path.is_socket() and os.access(path, os.W_OK)]
