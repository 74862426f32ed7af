"""A grader with a websocket, without threads of its own. Its library is the one of the original's suite, whose client
leaves it to the server to close TCP first; an event loop in the background runs it."""

import asyncio
import json
import threading
import warnings

from course_names import bearer, unique
from waiting import PATIENCE

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from websockets.legacy.client import connect

from websockets.exceptions import ConnectionClosed

LIMIT_S = 10


class Loop:
    """One event loop in a thread, for all sockets of a test run."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine, seconds=LIMIT_S):
        """The result of a coroutine; fails after `seconds`."""
        bounded = asyncio.wait_for(coroutine, seconds * PATIENCE)
        return asyncio.run_coroutine_threadsafe(bounded, self.loop).result()


LOOP = Loop()


class Socket:
    """One websocket to worker_ws/{name}."""

    def __init__(self, url, token, name, headers=None, **options):
        self.name = name
        headers = bearer(token) if headers is None else headers
        address = f"ws{url[4:]}/api/v1/worker_ws/{name}"
        options = {"ping_interval": None, "close_timeout": LIMIT_S, **options}
        self.socket = LOOP.run(self._connect(address, headers, options))

    @staticmethod
    async def _connect(address, headers, options):
        return await connect(address, extra_headers=headers, **options)

    def send(self, message, seconds=LIMIT_S):
        LOOP.run(self.socket.send(message if isinstance(message, (str, bytes)) else json.dumps(message)), seconds)

    def receive(self, seconds=LIMIT_S):
        """The next message, parsed."""
        return json.loads(LOOP.run(self.socket.recv(), seconds))

    def receives_nothing(self, seconds):
        try:
            self.receive(seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return True
        return False

    def ping(self):
        """Sends a ping and waits for the pong."""
        LOOP.run(self._ping())

    async def _ping(self):
        await (await self.socket.ping())

    def pong(self):
        LOOP.run(self.socket.pong())

    def close(self):
        LOOP.run(self.socket.close())

    def abort(self):
        """Ends the connection without a close frame."""
        LOOP.loop.call_soon_threadsafe(self.socket.transport.abort)
        LOOP.run(self.socket.wait_closed())

    def closed(self, seconds=LIMIT_S):
        """(code, reason) with which the server closes it; fails if it does not."""
        try:
            while True:
                self.receive(seconds)
        except ConnectionClosed:
            return self.socket.close_code, self.socket.close_reason


class SocketGrader(Socket):
    """A registered one."""

    def __init__(self, url, token, name=None, hostname="host", files=None, fault=None, tags=None, **options):
        super().__init__(url, token, name or unique("socket"), **options)
        stated = {"files": files, "fault": fault, "tags": tags}
        more = {key: value for key, value in stated.items() if value is not None}
        assert self.register(hostname, **more) == {"success": True, **({"files": "input, results"} if files else {})}

    def register(self, hostname="host", **more):
        self.send({"type": "register", "args": {"hostname": hostname, **more}})
        return self.receive()

    def take(self, seconds=LIMIT_S):
        job = self.receive(seconds)
        assert set(job) - {"files"} == {"grading_job_id", "stages"}
        return job

    def finish(self, job, success=True, results=(), logs=None, seconds=LIMIT_S, **more):
        job = job if isinstance(job, str) else job["grading_job_id"]
        body = {"grading_job_id": job, "success": success, "results": list(results), "logs": logs or {}, **more}
        self.send({"type": "job_result", "args": body}, seconds)
