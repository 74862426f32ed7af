"""What the two clients have in common: a request as data, its attempts, and the reading of answers. No I/O."""

import json
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from broadway.checking import checked
from broadway.errors import BadAnswer, NotFound, Refused, Unavailable

DEFAULT_SERVER = "http://127.0.0.1:1470"
TIMEOUT = httpx.Timeout(60, connect=5)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
TEMPORARY = (429, 502, 503, 504)
# Both protocols answer an unknown id with 400; only the sentence tells it from other refusals.
NOT_FOUND = (
    "there is no grading run ", "there is no grading job ", "there is no grader ", "there is no file ",
    "there is no course ", "there is no reservation ",
)  # fmt: skip
NOT_FOUND_ENDS = ("with the given ID not found", "configuration not found", "course not found")


def _as_it_is(answer: Any) -> Any:
    return answer


@dataclass(frozen=True)
class Request:
    """One request. `read` makes the result of the answer's JSON; `by_operator`: it needs the cluster token.
    The body is `body` as JSON, or the bytes of a `file`."""

    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    read: Callable[[Any], Any] = _as_it_is
    by_operator: bool = False
    file: Path | None = None

    def options(self) -> dict[str, Any]:
        """The arguments of httpx's `request` and `stream` beside method and URL."""
        params = {name: _written(value) for name, value in self.params.items() if value is not None}
        headers = {"Content-Type": "application/json"} if self.body is not None else {}
        content: bytes | None = None
        if self.file is not None:
            content = self.file.read_bytes()
        elif self.body is not None:
            content = json.dumps(self.body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return {"params": params, "content": content, "headers": headers | self.headers}


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass
class Access:
    """The servers of one Broadway and the tokens for them. `server` is the one that answered last."""

    servers: Sequence[str]
    token: str | None
    operator_token: str | None
    place: int = 0

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("there must be a server")
        for server in self.servers:
            parts = _split(server)
            if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{without_secret(server)} is not the URL of a server, such as {DEFAULT_SERVER}")
            if parts.username is not None:
                raise ValueError(f"{without_secret(server)}: a URL can't have a user: use a token")
        if any(token is not None and not _is_token(token) for token in (self.token, self.operator_token)):
            raise ValueError("the token has white space or characters that no token has")

    @property
    def server(self) -> str:
        """The URL of the server to use, without a slash at its end."""
        return self.servers[self.place].rstrip("/")

    def use_next(self) -> None:
        """Goes to the next server."""
        self.place = (self.place + 1) % len(self.servers)

    def headers(self, request: Request) -> dict[str, str]:
        """The header with the token that the request needs."""
        token = self.operator_token if request.by_operator else self.token
        return {} if token is None else {"Authorization": f"Bearer {token}"}


def _split(server: str) -> Any:
    try:
        parts = urlsplit(server)
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return None
    return parts


def _is_token(token: str) -> bool:
    return bool(token) and all("!" <= letter <= "~" for letter in token)


def without_secret(url: str) -> str:
    """A URL for people: without its user and password."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('//')[0]}//{tail}" if at else url


class Attempts:
    """The attempts of one request: which server is next, when, and when to stop."""

    def __init__(self, access: Access, retry_for: float, on_retry: Callable[[str], None]) -> None:
        self._access = access
        self._retry_for = retry_for
        self._on_retry = on_retry
        self._deadline = time.monotonic() + retry_for
        self._pause_s = FIRST_PAUSE_S
        self._failed = 0
        self.is_repetition = False

    def lost(self, error: httpx.TransportError) -> float:
        """The seconds to wait after an attempt without an answer. Raises Unavailable if there is no time left."""
        server = self._access.server
        if certificate := _certificate_fault(error):
            raise Unavailable(f"{server}: its certificate is not accepted: {certificate}: check the URL and --ca-file")
        reason = str(error) or type(error).__name__
        return self._next(f"{server} doesn't answer: {reason}", 0)

    def temporary(self, response: httpx.Response) -> float:
        """The same after an answer that asks for a repetition."""
        sentence = sentence_of(response)
        return self._next(f"{self._access.server} says {response.status_code}: {sentence}", _retry_after(response))

    def _next(self, why: str, at_least_s: float) -> float:
        self._access.use_next()
        self._failed += 1
        is_round_over = self._failed % len(self._access.servers) == 0
        pause_s = max(self._pause_s, at_least_s) if is_round_over else 0.0
        if time.monotonic() + pause_s > self._deadline:
            tried = f" (tried for {self._retry_for:g} s)" if self._retry_for else ""
            raise Unavailable(f"{why}{tried}: check the URL, or try again later")
        self._on_retry(why)
        self.is_repetition = True
        if pause_s:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause_s


def unreadable(server: str, error: httpx.RequestError) -> BadAnswer:
    """The error for an answer that can't be decoded."""
    return BadAnswer(f"{server} answered with something that can't be read: {error}: is this the URL of a Broadway?")


def broken_off(server: str) -> Unavailable:
    """The error for an answer whose end is missing."""
    return Unavailable(f"{server}: the answer broke off in its middle: what came is not all: try again")


def _certificate_fault(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def result_of(request: Request, response: httpx.Response, server: str, is_repetition: bool) -> Any:
    """What the request returns. Raises Refused, NotFound, BadAnswer."""
    raise_refusal(response, is_repetition)
    try:
        answer = response.json() if response.content else None
    except (ValueError, RecursionError):
        raise BadAnswer(f"{server} answered with something that is not JSON: is this the URL of a Broadway?") from None
    try:
        return request.read(answer)
    except BadAnswer as error:
        raise BadAnswer(f"{server} is no Broadway, or one of another version: {error}: check the URL") from None


def raise_refusal(response: httpx.Response, is_repetition: bool = False) -> None:
    """Returns if the answer is a success. Raises Refused or NotFound."""
    status = response.status_code
    if status == 200:
        return
    sentence = sentence_of(response)
    if status == 401:
        sentence += ": give a valid token by --token-file, the environment or a profile"
    is_unknown = status == 400 and (sentence.startswith(NOT_FOUND) or sentence.endswith(NOT_FOUND_ENDS))
    kind = NotFound if status == 404 or is_unknown else Refused
    raise kind(sentence, status, is_repetition)


def sentence_of(response: httpx.Response) -> str:
    """The server's sentence about a refusal, of either protocol."""
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        data = answer.get("data")
        inner = data.get("message") if isinstance(data, dict) else data
        for sentence in (answer.get("error"), answer.get("message"), inner):
            if isinstance(sentence, str) and sentence:
                return " ".join(sentence.split())
    return f"the answer has status {response.status_code} and no sentence that says why"


class LineParser:
    """Cuts bytes into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that the chunk completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return lines


def read_line(kind: Any, line: bytes) -> Any:
    """The object of a line of ndjson, which has the form of `kind`. Raises BadAnswer."""
    try:
        return checked(kind, json.loads(line))
    except (ValueError, RecursionError):
        raise BadAnswer("a line of the answer is not JSON") from None


class EventParser:
    """Reads server-sent events line by line."""

    def __init__(self) -> None:
        self._name, self._data, self._id = "", [], None

    def feed(self, line: str) -> tuple[str, Any, str | None] | None:
        """Takes a line without its end. The event (name, data, id) that it completes, or None. Raises BadAnswer."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        elif not line and self._data:
            text, event = "\n".join(self._data), self._name
            self._name, self._data = "", []
            try:
                return event, json.loads(text), self._id
            except (ValueError, RecursionError):
                raise BadAnswer("an event of the stream is not JSON") from None
        return None
