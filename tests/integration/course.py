"""Small clients of the course protocol with httpx: course staff, a front end and a polling grader."""

import json

import httpx
from broadway import ROUTE, TIMEOUT_S, TLS
from course_names import bearer, unique
from event_stream import EventStream
from socket_grader import Socket, SocketGrader
from waiting import wait_until

# As --course-config has them. "shared" opens two courses.
COURSES = {
    "cs225": {"tokens": ["admin-of-cs225", "second-of-cs225", "shared"], "query_tokens": ["query-of-cs225"]},
    "cs241": {"tokens": ["admin-of-cs241", "shared"], "query_tokens": []},
    "empty": {"tokens": ["admin-of-empty"]},
}
NO_JOBS = {"status": "fail", "data": {"message": "no jobs available"}}


def failed(message):
    """The body of a refusal."""
    return {"status": "fail", "data": {"message": message}}


def stage(**more):
    return {"image": "alpine:3.20", **more}


def config_of(pre=False, post=False, **more):
    config = {"student_pipeline": [stage(env={"STAGE": "student"})]}
    if pre:
        config["pre_processing_pipeline"] = [stage(env={"STAGE": "pre"})]
    if post:
        config["post_processing_pipeline"] = [stage(env={"STAGE": "post"})]
    return {**config, **more}


def students(count):
    return [{"netid": f"student{number}"} for number in range(count)]


class Course:
    """One course's API for its staff, at one replica."""

    def __init__(self, url, name="cs225", token=None):
        self.name = name
        headers = bearer(token or COURSES[name]["tokens"][0])
        self.http = httpx.Client(base_url=url + ROUTE, timeout=TIMEOUT_S, trust_env=False, verify=TLS, headers=headers)

    def close(self):
        self.http.close()

    def ask(self, method, path, body=None, **request):
        """Sends any request, with the wrong content type that clients of the original send."""
        if body is not None:
            request["content"] = body if isinstance(body, (str, bytes)) else json.dumps(body)
            request["headers"] = {"Content-Type": "application/x-www-form-urlencoded", **request.get("headers", {})}
        return self.http.request(method, path, **request)

    def data(self, method, path, body=None, **request):
        """The data of the answer, which must be a success."""
        answer = self.ask(method, path, body, **request)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "success" and set(answer.json()) == {"status", "data"}
        return answer.json()["data"]

    def configure(self, config, assignment=None):
        """Stores a config; returns the assignment."""
        assignment = assignment or unique()
        assert self.data("POST", f"/grading_config/{self.name}/{assignment}", config) is None
        return assignment

    def start(self, assignment, envs=1, **more):
        """Starts a run of this many students, or of these environments; returns its id."""
        body = {"students_env": students(envs) if isinstance(envs, int) else envs, **more}
        data = self.data("POST", f"/grading_run/{self.name}/{assignment}", body)
        assert set(data) == {"grading_run_id"} | set(more) & {"webhooks"}
        return data["grading_run_id"]

    def run(self, envs=1, config=None, **more):
        return self.start(self.configure(config or config_of()), envs, **more)

    def status(self, run):
        return self.data("GET", f"/grading_run_status/{self.name}/{run}")

    def state(self, run):
        return self.status(run)["state"]

    def cancel(self, run):
        return self.ask("POST", f"/grading_run/{self.name}/{run}/cancel")

    def env(self, run):
        return self.data("GET", f"/grading_run_env/{self.name}/{run}")

    def log(self, job):
        return self.data("GET", f"/grading_job_log/{self.name}/{job}")

    def length(self):
        return self.data("GET", f"/queue/{self.name}/length")["length"]

    def position(self, job):
        return self.data("GET", f"/queue/{self.name}/{job}/position")["position"]

    def workers(self):
        return self.data("GET", f"/worker/{self.name}/all")["worker_nodes"]


class CourseGrader:
    """A grader that polls, without threads."""

    def __init__(self, url, token, name=None, register=True, **registration):
        self.name = name or unique("worker")
        self.http = httpx.Client(
            base_url=url + ROUTE, timeout=TIMEOUT_S, trust_env=False, verify=TLS, headers=bearer(token)
        )
        if register:
            answer = self.register(**registration)
            assert answer.status_code == 200, answer.text
            self.heartbeat = answer.json()["data"]["heartbeat"]

    def close(self):
        self.http.close()

    def register(self, hostname="host", **more):
        return self.http.post(f"/worker/{self.name}", json={"hostname": hostname, **more})

    def poll_response(self):
        return self.http.get(f"/grading_job/{self.name}")

    def poll(self):
        """A job, or None."""
        answer = self.poll_response()
        if answer.status_code == 498:
            assert answer.json() == NO_JOBS
            return None
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "success"
        return answer.json()["data"]

    def take(self, seconds=10):
        """The next job; fails if none comes."""
        return wait_until(self.poll, seconds, f"worker {self.name} gets a job")

    def finish_response(self, job, success=True, results=(), logs=None, **more):
        job = job if isinstance(job, str) else job["grading_job_id"]
        body = {"grading_job_id": job, "success": success, "results": list(results), "logs": logs or {}, **more}
        return self.http.post(f"/grading_job/{self.name}", json=body)

    def finish(self, job, success=True, **more):
        """Sends a result that counts."""
        answer = self.finish_response(job, success, **more)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"status": "success", "data": None}

    def beat(self):
        return self.http.post(f"/heartbeat/{self.name}")

    def work_off(self):
        """Takes and finishes all queued jobs; returns their number."""
        count = 0
        while (job := self.poll()) is not None:
            self.finish(job)
            count += 1
        return count


class Staff:
    """Makes clients and graders against a stack, and closes them with the test."""

    def __init__(self, stack):
        self.stack = stack
        self.made = []

    def course(self, name="cs225", token=None, replica=0):
        return self._keep(Course(self.stack.urls[replica], name, token))

    def grader(self, replica=0, **more):
        return self._keep(CourseGrader(self.stack.urls[replica], self.stack.cluster_token, **more))

    def socket(self, name=None, replica=0, **more):
        """A websocket that has not registered."""
        url = self.stack.urls[replica]
        return self._keep(Socket(url, self.stack.cluster_token, name or unique("socket"), **more))

    def stream(self, course, path, token=None, replica=0):
        """An open stream of events; `path` is what follows stream/{course}/."""
        token = token or COURSES[course]["tokens"][0]
        path = f"{ROUTE}/stream/{course}/{path}"
        return self._keep(EventStream(self.stack.urls[replica], token, path))

    def socket_grader(self, replica=0, **more):
        return self._keep(SocketGrader(self.stack.urls[replica], self.stack.cluster_token, **more))

    def close(self):
        while self.made:
            self.made.pop().close()

    def drain(self):
        """Cancels all active runs of courses."""
        broom = None
        for _ in range(2000):
            if not self.stack.database.active_runs():
                return
            broom = broom or self.grader(files=True)
            for lease in self.stack.database.live_leases():
                holder = CourseGrader(self.stack.urls[0], self.stack.cluster_token, lease["worker"], register=False)
                holder.finish_response(lease["_id"][:32], success=False)
                holder.close()
            broom.work_off()
        raise AssertionError("runs of an earlier test can't be brought to their end")

    def _keep(self, made):
        self.made.append(made)
        return made
