"""A container engine by its API: docker's, which `podman system service` speaks too, over a socket of this machine."""

import base64
import contextlib
import json
import os
import socket
import struct
import time
from pathlib import Path

import httpx

from broadway_tools.grader.engine import (
    INPUT_DIRECTORY,
    JOB_DIRECTORY,
    NO_LIMIT,
    ContainerListing,
    digest_of_image,
    parse_state,
    refusal,
)
from broadway_tools.grader.faults import Fault, engine_fault, pull_fault
from broadway_tools.grader.server import tls_context

ANSWER_S = 60
PING_S = 10
STDERR = 2
FRAME = struct.Struct(">BxxxI")
# An engine learns of a container's end shortly after its output has ended.
END_LOOKS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
END_WAIT_S = 5
# No connection is kept: the engine may close one just when it is used again.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=0)
# The newest version of the API that was tried; an older engine's own version is used.
NEWEST_API = (1, 47)


class ApiEngine:
    """Any thread may call. Raises Fault if the engine does not do as asked, StageError if the stage is at fault."""

    FIRST_LOOK_S = 0.03  # at a container after its start

    def __init__(self, name, socket_path):
        self.name = name
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket_path), limits=LIMITS, verify=tls_context()),
            base_url="http://engine",
            trust_env=False,
            timeout=httpx.Timeout(ANSWER_S, connect=PING_S),
        )
        self._prefix = None
        self._auths = _registry_auths() if name == "docker" else {}

    def describe(self):
        """A name for people."""
        return f"{self.name} by its API"

    def ping(self):
        """Raises Fault unless the engine answers."""
        versions = self._json(self._send("GET", "/version", timeout=PING_S))
        wanted = min(NEWEST_API, tuple(int(part) for part in versions["ApiVersion"].split(".")))
        self._prefix = f"/v{wanted[0]}.{wanted[1]}"

    def image_digest(self, image):
        """The digest of an image that is here (digest_of_image). None if it isn't here."""
        response = self._call("GET", f"/images/{image}/json", accept=(404,))
        if response.status_code == 404:
            return None
        found = self._json(response)
        return digest_of_image(image, found)

    def image_user(self, image):
        """The user that an image, which is here, names; empty if none."""
        return (self._json(self._call("GET", f"/images/{image}/json")).get("Config") or {}).get("User") or ""

    def pull(self, image, limit_s):
        """Returns when the image is here."""
        deadline = time.monotonic() + limit_s
        headers = {"X-Registry-Auth": self._auths[registry]} if (registry := _registry(image)) in self._auths else {}
        request = self._request("POST", "/images/create", params={"fromImage": _with_tag(image)}, headers=headers)
        request.extensions["timeout"] = httpx.Timeout(limit_s).as_dict()
        try:
            with contextlib.closing(self._client.send(request, stream=True)) as response:
                if response.status_code != 200:
                    response.read()
                    raise pull_fault(image, _message(response))
                _follow_pull(response, image, deadline)
        except httpx.TimeoutException:
            raise Fault("registry", f"the image {image} was not pulled within {limit_s:g} s") from None
        except httpx.HTTPError as error:
            raise self._gone(error, request) from error

    def create(self, spec):
        """The id of a new container."""
        response = self._call("POST", "/containers/create", params={"name": spec.name}, json=_body(spec), accept="all")
        if response.status_code == 201:
            return self._json(response)["Id"]
        text = _message(response)
        if response.status_code == 404:
            raise Fault("image", f"the image {spec.image} is not here: {text}")
        raise refusal(text)

    def attach(self, container, stdout, stderr):
        """An attachment for the container, which has not been started."""
        return _Attachment(self, container, stdout, stderr)

    def kill(self, container, signal):
        """Sends a signal; nothing happens if the container has ended."""
        self._call("POST", f"/containers/{container}/kill", params={"signal": signal}, accept=(404, 409, 500))

    def remove(self, container):
        """Kills and removes it."""
        params = {"force": "true", "v": "true"}
        self._call("DELETE", f"/containers/{container}", params=params, accept=(404, 409))

    def list(self, label):
        """A ContainerListing of each container with this label, `name` or `name=value`."""
        params = {"all": "true", "filters": json.dumps({"label": [label]})}
        found = self._json(self._call("GET", "/containers/json", params=params))
        return [ContainerListing(one["Id"], one.get("Labels") or {}, one.get("State") == "running") for one in found]

    def inspect(self, container):
        """A ContainerState."""
        return parse_state(self._json(self._call("GET", f"/containers/{container}/json"))["State"])

    def written(self, container):
        """The bytes that it has written outside of its mounts; 0 if that is not known."""
        with contextlib.suppress(Fault):
            response = self._call("GET", f"/containers/{container}/json", params={"size": "true"})
            return int(self._json(response).get("SizeRw") or 0)
        return 0

    def wait(self, container, seconds):
        """Returns when a container has ended, or after some seconds."""
        path = f"/containers/{container}/wait"
        request = self._request("POST", path, params={"condition": "not-running"})
        request.extensions["timeout"] = httpx.Timeout(ANSWER_S, read=seconds).as_dict()
        try:
            self._client.send(request)
        except httpx.ReadTimeout:
            return
        except (httpx.HTTPError, OSError) as error:
            raise self._gone(error, request) from error

    def start(self, container):
        """Starts it. Raises StageError if its program can't be started."""
        response = self._call("POST", f"/containers/{container}/start", accept="all")
        if response.status_code not in (204, 304):
            raise refusal(_message(response))

    def open_stream(self, container):
        """The response whose raw bytes are the output, in frames."""
        params = {"stream": "1", "stdout": "1", "stderr": "1"}
        request = self._request("POST", f"/containers/{container}/attach", params=params)
        request.extensions["timeout"] = httpx.Timeout(ANSWER_S, read=None).as_dict()
        try:
            response = self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._gone(error, request) from error
        if response.status_code not in (101, 200):
            with contextlib.closing(response):
                response.read()
                raise refusal(_message(response))
        return response

    def _call(self, method, path, accept=(), **request):
        """The response, if it succeeded or its status is accepted."""
        timeout = request.pop("timeout", None)
        made = self._request(method, path, **request)
        response = self._exchange(made, timeout)
        if response.status_code >= 400 and accept != "all" and response.status_code not in accept:
            raise engine_fault(f"{self.name}: {path}: {_message(response)}")
        return response

    def _request(self, method, path, **request):
        if self._prefix is None:
            self.ping()
        return self._client.build_request(method, self._prefix + path, **request)

    def _send(self, method, path, timeout):
        return self._exchange(self._client.build_request(method, path), httpx.Timeout(timeout))

    def _exchange(self, request, timeout):
        if timeout is not None:
            request.extensions["timeout"] = timeout.as_dict()
        try:
            return self._client.send(request)
        except (httpx.HTTPError, OSError) as error:
            raise self._gone(error, request) from error

    def _json(self, response):
        try:
            return response.json()
        except ValueError as error:
            raise Fault("engine", f"{self.name} sent an answer that is not JSON") from error

    def _gone(self, error, request):
        what = f"{request.method} {request.url.path}"
        return Fault("engine", f"{self.name} does not answer {what}: {error or type(error).__name__}")


class _Attachment:
    """The output of one container. `run` is called once; `cut` at any time, from any thread."""

    def __init__(self, engine, container, stdout, stderr):
        self._engine = engine
        self._container = container
        self._sinks = (stdout, stdout, stderr)
        self._socket = None
        self._is_cut = False

    def run(self):
        """Starts the container and copies its output: its ContainerState when it has ended."""
        with contextlib.closing(self._engine.open_stream(self._container)) as stream:
            self._socket = stream.extensions["network_stream"].get_extra_info("socket")
            self._engine.start(self._container)
            try:
                self._copy(stream.iter_raw())
            except httpx.HTTPError as error:
                raise Fault("engine", f"{self._engine.name} ended the output of a stage: {error}") from error
        return self._end()

    def cut(self):
        """Makes `run` return or raise soon, whatever the engine does."""
        self._is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _end(self):
        """The ContainerState once it has ended: at once, unless the stage has closed its output before."""
        for pause_s in END_LOOKS:
            state = self._engine.inspect(self._container)
            if not state.is_running:
                return state
            time.sleep(pause_s)
        while state.is_running and not self._is_cut:
            self._engine.wait(self._container, END_WAIT_S)
            state = self._engine.inspect(self._container)
        return state

    def _copy(self, chunks):
        """Frames may begin and end anywhere in a chunk."""
        head, stream, left = b"", 0, 0
        for chunk in chunks:
            at = 0
            while at < len(chunk):
                if left:
                    part = chunk[at : at + left]
                    self._sinks[min(stream, STDERR)].write(part)
                    left -= len(part)
                else:
                    part = chunk[at : at + FRAME.size - len(head)]
                    head += part
                    if len(head) == FRAME.size:
                        (stream, left), head = FRAME.unpack(head), b""
                at += len(part)


def _body(spec):
    """The JSON that creates a container."""
    body = {
        "Image": spec.image,
        "Env": spec.env,
        "Labels": spec.labels,
        "AttachStdout": True,
        "AttachStderr": True,
        "Hostname": spec.hostname,
        "User": spec.user,
        "WorkingDir": spec.working_dir,
        "HostConfig": _host_config(spec),
    }
    if spec.entrypoint:
        body |= {"Entrypoint": spec.entrypoint[:1], "Cmd": spec.entrypoint[1:]}
    return {key: value for key, value in body.items() if value is not None}


def _mounts(spec):
    mounts = [{"Type": "bind", "Source": str(spec.directory), "Target": JOB_DIRECTORY}]
    if spec.inputs is not None:
        mounts.append({"Type": "bind", "Source": spec.inputs, "Target": INPUT_DIRECTORY, "ReadOnly": True})
    if spec.results is not None:
        source, target = spec.results
        mounts.append({"Type": "bind", "Source": source, "Target": target})
    return mounts


def _host_config(spec):
    config = {
        "Mounts": _mounts(spec),
        "LogConfig": {"Type": "none"},  # the output is read here; the engine need not store it too
        "Init": True,
        "NetworkMode": None if spec.networking else "none",
        "UsernsMode": spec.userns,
        "Memory": spec.memory,
        "MemorySwap": spec.memory,
        "NanoCpus": spec.cpus and int(spec.cpus * 1e9),
        "CpuShares": spec.cpu_shares,
        "PidsLimit": spec.pids or NO_LIMIT,
        "CpusetCpus": spec.cpuset_cpus,
        "ReadonlyRootfs": spec.read_only,
        "Tmpfs": {path: f"rw,exec,nosuid,nodev,size={size}" for path, size in spec.tmpfs.items()} or None,
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in spec.ulimits.items()] or None,
        "Privileged": spec.privileged,
    }
    if spec.is_confined and not spec.privileged:
        config |= {"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"]}
    return {key: value for key, value in config.items() if value is not None}


def _follow_pull(response, image, deadline):
    """Reads a pull's progress, a JSON object per line, to its end."""
    for line in response.iter_lines():
        try:
            progress = json.loads(line) if line.strip() else {}
        except ValueError:
            continue
        if progress.get("error"):
            raise pull_fault(image, progress["error"])
        if time.monotonic() > deadline:
            raise Fault("registry", f"the image {image} was not pulled in time")


def _message(response):
    """An engine's sentence."""
    try:
        body = response.json()
        return str(body.get("message") or body.get("cause") or body)
    except (ValueError, AttributeError):
        return response.text[:500] or f"status {response.status_code}"


def _with_tag(image):
    """With the tag that a reference without one means; else an engine pulls all tags."""
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def _registry(image):
    first = image.partition("/")[0]
    is_host = "/" in image and ("." in first or ":" in first or first == "localhost")
    return first if is_host else "https://index.docker.io/v1/"


def _registry_auths():
    """{registry: header} of the credentials that `docker login` stored; helpers are not asked."""
    path = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
    try:
        auths = json.loads(path.read_text(encoding="utf-8"))["auths"]
        pairs = {name: base64.b64decode(entry["auth"]).decode() for name, entry in auths.items() if entry.get("auth")}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}
    return {name: _auth_header(name, pair) for name, pair in pairs.items()}


def _auth_header(registry, pair):
    user, _, password = pair.partition(":")
    fields = {"username": user, "password": password, "serveraddress": registry}
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
