"""The course protocol's side of the reference grader: over HTTP as a Server, and what both of its forms share."""

import json
import re
import secrets

from broadway_tools.grader.limits import to_json
from broadway_tools.grader.server import Refused, Server

LONGEST_ID = 100


def worker_id(hostname):
    """A fresh id that tells people whose it is."""
    name = re.sub(r"[^-A-Za-z0-9_]", "-", hostname)[:LONGEST_ID]
    return f"{name}-{secrets.token_hex(4)}"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def plain_handout(job):
    """A hand-out of the course protocol as the seed protocol has it: env as a list of NAME=value."""
    stages = [{**stage, "env": _env_list(stage.get("env") or {})} for stage in job["stages"]]
    return {"job_id": job["grading_job_id"], "stages": stages}


def course_result(job_id, body):
    """What is reported of a job, as the course protocol has it."""
    return {
        "grading_job_id": job_id,
        "success": body["success"],
        "results": [body["result"]],
        "logs": body["logs"],
    }


class CourseServer(Server):
    """The same line to the API in the words of the course protocol."""

    def __init__(self, urls, token):
        super().__init__(urls)
        self._headers = bearer(token)

    def register(self, _token, hostname, concurrency):
        """(worker id, heartbeat interval in seconds)"""
        own_id = worker_id(hostname)
        answer = self._ask("POST", f"worker/{own_id}", json={"hostname": hostname, "concurrency": concurrency})
        return own_id, answer["heartbeat"]

    def poll(self, own_id, _wait_s):
        """A hand-out, or None if there was no job. How long it waits is the server's to say."""
        job = self._ask("GET", f"grading_job/{own_id}")
        return job and plain_handout(job)

    def heartbeat(self, own_id):
        """Says that this worker lives."""
        self._ask("POST", f"heartbeat/{own_id}")

    def post_result(self, job_id, body):
        """Returns when the result is on record."""
        self._ask("POST", f"grading_job/{body['worker_id']}", content=to_json(course_result(job_id, body)))

    def _ask(self, method, path, **request):
        """The data of the answer."""
        try:
            answer = self._call(method, f"/api/v1/{path}", headers=self._headers, **request)
        except Refused as error:
            unknown = error.status == 401 and "worker not found" in str(error)
            raise Refused(400, str(error)) if unknown else error from None
        return answer and answer["data"]


def _env_list(env):
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in env.items()]
