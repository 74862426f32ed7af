"""The course protocol of the reference grader: a Server over HTTP, and code shared with the websocket form."""

import json
import re
import secrets

from broadway_tools.grader.registration import register
from broadway_tools.grader.server import Server, bytes_content, file_content, json_content
from broadway_tools.grader.server_errors import Refused

LONGEST_ID = 100
# Keys of a result that only some have, the same in both protocols.
OPTIONAL_KEYS = ("files", "score", "max_score", "tests", "owner")


def worker_id(hostname):
    """A fresh id that begins with the hostname, for people who read it."""
    name = re.sub(r"[^-A-Za-z0-9_]", "-", hostname)[:LONGEST_ID]
    return f"{name}-{secrets.token_hex(4)}"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def plain_handout(job):
    """A hand-out of the course protocol, converted to the classic form: env as a list of NAME=value."""
    stages = [{**stage, "env": _env_list(stage.get("env") or {})} for stage in job["stages"]]
    more = {key: job[key] for key in ("files", "image_digests") if key in job}
    return {"job_id": job["grading_job_id"], "stages": stages, **more}


def course_result(job_id, body):
    """The body that reports a job's result in the course protocol, or returns the job."""
    if "outcome" in body:
        return {"grading_job_id": job_id, "outcome": body["outcome"], "reason": body["reason"]}
    return {
        "grading_job_id": job_id,
        "success": body["success"],
        "results": [body["result"]],
        "logs": body["logs"],
        **{key: body[key] for key in OPTIONAL_KEYS if key in body},
    }


class CourseServer(Server):
    """A Server that uses the course protocol."""

    def __init__(self, urls, token, optional=None):
        super().__init__(urls, optional=optional)
        self._headers = bearer(token)

    def register(self, _token, hostname, concurrency, fault=""):
        """As Server's."""
        own_id = worker_id(hostname)
        stated = {"hostname": hostname, "concurrency": concurrency}
        answer = register(
            lambda optional: self._ask("POST", f"worker/{own_id}", json=stated | optional),
            self._optional_with(fault),
        )
        return own_id, answer["heartbeat"]

    def poll(self, own_id, _wait_s):
        """A hand-out, or None if there was no job. The server decides how long the poll waits."""
        job = self._ask("GET", f"grading_job/{own_id}")
        return job and plain_handout(job)

    def heartbeat(self, own_id, jobs=None, fault=None):
        """As Server's."""
        return self._beat(jobs, fault, lambda more: self._ask("POST", f"heartbeat/{own_id}", params=more))

    def post_result(self, job_id, body):
        """Returns when the result is stored."""
        content = json_content(course_result(job_id, body), self._headers)
        self._ask("POST", f"grading_job/{body['worker_id']}", **content)

    def send_log(self, job_id, own_id, stream, offset, chunk):
        """Sends a chunk of the log of a job that runs."""
        content = bytes_content(chunk)
        content["headers"] |= self._headers
        params = {"stream": stream, "offset": offset}
        self._ask("POST", f"grading_job/{own_id}/{job_id}/log", params=params, **content)

    def fetch_file(self, job_id, own_id, digest, size, file):
        """Writes a file of a job, whose digest and size must be these, to an open file."""
        self._fetch(f"/api/v1/grading_job/{own_id}/{job_id}/files/{digest}", {}, (digest, size), file)

    def send_file(self, job_id, own_id, digest, size, file):
        """Returns when the content of an open file is stored for a job."""
        content = file_content(file, size)
        content["headers"] |= self._headers
        self._ask("POST", f"grading_job/{own_id}/{job_id}/files", params={"digest": digest}, **content)

    def _ask(self, method, path, **request):
        """The data of the answer."""
        try:
            answer = self._call(method, f"/api/v1/{path}", **{"headers": self._headers, **request})
        except Refused as error:
            unknown = error.status == 401 and "worker not found" in str(error)
            raise Refused(400, str(error)) if unknown else error from None
        return answer and answer["data"]


def _env_list(env):
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in env.items()]
