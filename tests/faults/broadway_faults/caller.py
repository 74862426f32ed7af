"""A client of the API over HTTP; each call uses a new connection and is written into the history."""

import http.client
import json
import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

ROUTE = "/api/v1"
CANARY = re.compile(r"canary-[0-9a-z-]+-yranac")


@dataclass
class Answer:
    """An answer; `status` 0: none was received."""

    status: int
    text: str = ""
    retry_after: str = None

    @property
    def json(self):
        try:
            return json.loads(self.text)
        except ValueError:
            return {}

    @property
    def sentence(self):
        """The sentence of a refusal, in either protocol's form."""
        content = self.json if isinstance(self.json, dict) else {}
        data = content.get("error") or content.get("data") or ""
        return data.get("message", "") if isinstance(data, dict) else str(data)

    @property
    def kind(self):
        """The kind of the call's end in the history. An empty poll (498) is a success."""
        if self.status == 498 or 200 <= self.status < 300:
            return "ok"
        return "fail" if 400 <= self.status < 500 and self.status != 429 else "unknown"


def fetch(url, method, path, body=None, headers=None, timeout_s=10):
    """Sends one request that is not in the history."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=timeout_s)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode("utf-8", "replace"), answer.headers.get("Retry-After"))
    except (TimeoutError, OSError, http.client.HTTPException):
        return Answer(0)
    finally:
        connection.close()


def job_status(run, job):
    """The status of a job within a run's status."""
    listed = [*run.get("student_statuses", []), run.get("preprocessing_status"), run.get("postprocessing_status")]
    return next((entry["status"] for entry in listed if entry and entry["job_id"] == job), None)


class Caller:
    """Calls the replica with the given number. `facts` are written into the history with the call."""

    def __init__(self, name, history, urls):
        self.name, self.history, self.urls = name, history, urls

    def call(self, op, replica, method, path, query=None, body=None, headers=None, timeout_s=10, **facts):
        call = self.history.invoke(self.name, op, replica=replica, **facts)
        headers = dict(headers or {})
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = body if isinstance(body, bytes) else json.dumps(body)
        path = f"{ROUTE}{path}" + (f"?{urlencode(query)}" if query else "")
        answer = fetch(self.urls[replica], method, path, body, headers, timeout_s)
        self.history.complete(call, answer.kind, status=answer.status, **self._seen(op, answer, facts))
        return answer

    @staticmethod
    def _seen(op, answer, facts):
        """The fields of an answer that the checker needs."""
        seen = {}
        canaries = sorted(set(CANARY.findall(answer.text)))
        if canaries:
            seen["canaries"] = canaries
        if answer.kind != "ok":
            seen["text"] = answer.text[:300]
            seen["sentence"] = answer.sentence
            return seen
        content = answer.json if answer.text else {}
        if op == "create":
            seen["run"] = content.get("id") or content.get("data", {}).get("grading_run_id")
        if op == "poll" and answer.status == 200:
            seen.update(job=content.get("job_id"), attempt=content.get("attempt"))
        if op == "course-poll" and answer.status == 200:
            seen["job"] = content["data"]["grading_job_id"]
        if op == "status":
            seen.update(state=content.get("state"), progress=content.get("progress"))
        if op == "own":
            seen["job_status"] = job_status(content, facts["job"])
        if op == "register":
            seen["worker"] = content.get("worker_id")
        return seen
