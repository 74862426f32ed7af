"""Clients of the course protocol: staff of a course, graders that poll, graders with a websocket. Each call is in the
history; a run's name is its course and assignment, and its canary is in its environment and its results."""

import asyncio
import json
import warnings

from broadway_faults.caller import ROUTE, Caller
from broadway_faults.cluster import COURSES
from broadway_faults.dump import result_digest
from broadway_faults.instructors import canary

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from websockets.legacy.client import connect

from websockets.exceptions import ConnectionClosed

CALL_TIMEOUT_S = 8
TEXT_FRAME = 1


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class Staff:
    """The staff of a course."""

    def __init__(self, scene, course):
        self.scene, self.course = scene, course
        self.caller = Caller(f"staff-{course}", scene.history, scene.urls)
        self.headers = bearer(COURSES[course]["tokens"][0])

    def ask(self, op, method, path, body=None, replica=0, **facts):
        headers = self.headers
        return self.caller.call(
            op, replica, method, path, body=body, headers=headers, timeout_s=CALL_TIMEOUT_S, **facts
        )

    def run(self, assignment, students):
        """Stores a config and starts a run of it; returns the run's id."""
        name = f"{self.course}-{assignment}"
        config = {"student_pipeline": [{"image": "alpine:3.20"}], "env": {"KEY": canary(name)}}
        self.ask("configure", "POST", f"/grading_config/{self.course}/{assignment}", config)
        body = {"students_env": [{"netid": f"s{n}"} for n in range(students)]}
        path = f"/grading_run/{self.course}/{assignment}"
        answer = self.ask("create", "POST", path, body, name=name, key=name)
        return answer.json["data"]["grading_run_id"]

    def pry(self, run, job):
        """Requests everything of a run that may be another course's; returns the statuses. The answers must contain
        only data of this course."""
        paths = (f"grading_run_status/{self.course}/{run}", f"grading_run_env/{self.course}/{run}")
        paths += (f"grading_job_log/{self.course}/{job}", f"queue/{self.course}/{job}/position")
        paths += (f"worker/{self.course}/all", f"queue/{self.course}/length")
        return [
            self.ask("pry", "GET", f"/{path}", replica=replica, owner=self.course).status
            for path in paths
            for replica in range(len(self.scene.urls))
        ]


class CourseWorker:
    """A grader that polls, with a chosen id."""

    def __init__(self, scene, worker):
        self.scene, self.id = scene, worker
        self.caller = Caller(f"course-grader-{worker}", scene.history, scene.urls)
        self.headers = bearer(scene.cluster.cluster_token)

    def ask(self, op, method, path, body=None, replica=0, **facts):
        return self.caller.call(
            op,
            replica,
            method,
            f"/{path}/{self.id}",
            body=body,
            headers=self.headers,
            timeout_s=CALL_TIMEOUT_S,
            **facts,
        )

    def register(self, replica=0):
        return self.ask("course-register", "POST", "worker", {"hostname": self.id}, replica)

    def beat(self, replica=0):
        return self.ask("course-beat", "POST", "heartbeat", {}, replica)

    def poll(self, replica=0):
        """A job, or None."""
        answer = self.ask("course-poll", "GET", "grading_job", None, replica)
        return answer.json["data"] if answer.status == 200 else None

    def take(self, replica=0, seconds=15):
        return self.scene.until(lambda: self.poll(replica), seconds, f"course grader {self.id} gets a job")

    def send(self, job, replica=0):
        """Sends a result with the content of the job's environment."""
        results = [{"echo": job["stages"][0]["env"]}]
        body = {
            "grading_job_id": job["grading_job_id"],
            "success": True,
            "results": results,
            "logs": {"stdout": "ok\n"},
        }
        return self.send_body(job["grading_job_id"], body, replica, value=result_digest(results))

    def send_body(self, job, body, replica=0, **facts):
        """Sends a result unchanged; it may be bytes."""
        facts = {"worker": self.id, "job": job, "protocol": "course", **facts}
        return self.ask("result", "POST", "grading_job", body, replica, **facts)


class SocketWorker:
    """A grader with a websocket, whose pings are its heartbeats. Its frames are notes in the history, since they are
    not acknowledged."""

    def __init__(self, scene, worker, replica=0):
        self.scene, self.id, self.replica = scene, worker, replica
        self.address = f"ws{scene.urls[replica][4:]}{ROUTE}/worker_ws/{worker}"
        self.loop = scene.cluster.loop
        headers = bearer(scene.cluster.cluster_token)
        self.socket = self.loop.run(self._connect(headers))

    async def _connect(self, headers):
        return await connect(self.address, extra_headers=headers, ping_interval=None, close_timeout=1)

    def ask_to_register(self):
        self.loop.run(self.socket.send(json.dumps({"type": "register", "args": {"hostname": self.id}})))

    def register(self):
        self.ask_to_register()
        return self.receive()

    def receive(self, seconds=8):
        """The next message, or None."""
        try:
            return json.loads(self.loop.run(asyncio.wait_for(self.socket.recv(), seconds)))
        except (asyncio.TimeoutError, ConnectionClosed):
            return None

    def send(self, job, logs=None):
        results = [{"by": self.id}]
        args = {"grading_job_id": job["grading_job_id"], "success": True, "results": results, "logs": logs or {}}
        self.send_body(job["grading_job_id"], json.dumps(args).encode(), value=result_digest(results))

    def send_body(self, job, body, **facts):
        """Sends a result unchanged, in one text frame, also invalid bytes."""
        facts = {"worker": self.id, "job": job, "protocol": "course", "replica": self.replica, **facts}
        self.scene.history.invoke(f"socket-{self.id}", "result", **facts)
        message = b'{"type": "job_result", "args": %s}' % body
        self.loop.run(self.socket.write_frame(True, TEXT_FRAME, message))

    def closed(self, seconds=8):
        """The code and the reason with which Broadway closes the socket; None if it does not."""
        self.receive(seconds)
        return (self.socket.close_code, self.socket.close_reason) if self.socket.closed else None

    def ping(self):
        """Sends a ping as a heartbeat, without waiting for the pong."""
        self.loop.run(self.socket.ping())

    def abort(self):
        self.loop.call(self.socket.transport.abort)
