"""The client's side of the protocol: submits grading runs, starts them, follows them to their end."""

import time

import httpx

TIMEOUT = httpx.Timeout(60, connect=5)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5
FINAL_STATES = ("finished", "failed", "cancelled")
POLL_S = 0.3


class RunRefused(Exception):
    """The server has said no; the text is its sentence."""


class ServerLost(Exception):
    """Nobody answered for as long as was allowed; the text says what was tried."""


class RunClient:
    """Speaks to one API. 503 and lost connections are tried again for `patience_s` (which may be set at any time)
    before a call gives up; `on_retry` is called with a sentence each time."""

    def __init__(self, url, token=None, patience_s=15, on_retry=lambda why: None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT, trust_env=False)
        self.patience_s = patience_s
        self._on_retry = on_retry

    def submit(self, definition_text):
        """The id of a new run. A retry may leave a run behind that nobody starts."""
        return self._call("POST", "/api/v1/grading_run", data={"json_payload": definition_text})["id"]

    def start(self, run_id):
        """Starts a run. That it has been started counts as success only if our own word may have done it."""
        try:
            self._call("POST", f"/api/v1/grading_run/{run_id}")
        except _RefusedAfterRetry:
            if self.status(run_id)["state"] == "created":
                raise

    def status(self, run_id, results=False):
        """The run as the server describes it, with its students' jobs only if `results` are wanted."""
        params = {"results": "true"} if results else {"students": "false"}
        return self._call("GET", f"/api/v1/grading_run/{run_id}", params=params)

    def follow(self, run_id):
        """Yields the run's status now and then, the last time when it is over."""
        while True:
            status = self.status(run_id)
            yield status
            if status["state"] in FINAL_STATES:
                return
            time.sleep(POLL_S)

    def _call(self, method, path, **request):
        """The answer's JSON. Raises RunRefused, ServerLost."""
        deadline = time.monotonic() + self.patience_s
        pause_s = FIRST_PAUSE_S
        is_retry = False
        while True:
            response, why = self._try(method, path, request)
            if response is not None:
                return _read(response, is_retry)
            if time.monotonic() + pause_s > deadline:
                raise ServerLost(f"{why} (tried for {self.patience_s} s)")
            self._on_retry(why)
            time.sleep(pause_s)
            is_retry = True
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _try(self, method, path, request):
        """(response, None), or (None, why it must be tried again)."""
        try:
            response = self._client.request(method, path, **request)
        except httpx.TransportError as error:
            return None, f"{self._client.base_url} doesn't answer: {error or type(error).__name__}"
        if response.status_code in (502, 503, 504):
            return None, f"{self._client.base_url} says {response.status_code}: {_sentence(response)}"
        return response, None


class _RefusedAfterRetry(RunRefused):
    """Refused, but perhaps because an earlier try, whose answer was lost, had succeeded."""


def is_success(status):
    """Did a run that is over come to a good end, with all its jobs?"""
    progress = status["progress"]
    return status["state"] == "finished" and not progress["failed"] and not progress["cancelled"]


def _read(response, is_retry):
    if response.status_code == 200:
        return response.json() if response.content else None
    sentence = _sentence(response)
    raise (_RefusedAfterRetry if is_retry else RunRefused)(sentence)


def _sentence(response):
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}: {response.text[:200]}"
