"""The memory of the reference grader with many slots, while its jobs print much and their logs are sent in chunks."""

import contextlib
import json
import queue
import threading
from pathlib import Path

import pytest
from conftest import Grader
from podman import IMAGE
from websockets.sync.server import serve

MB = 1_000_000
SLOTS, MOST_MEMORY = 16, 60 * MB
TAKES_CHUNKS = {"Broadway-Logs": "chunks"}
# Longer than the two seconds without chunks: 7 MB of each stream.
SCRIPT = "for _ in 1 2 3 4 5 6 7; do head -c 1000000 /dev/zero | tr '\\0' x | tee /dev/stderr; sleep 0.5; done"
STREAMS = ("stdout", "stderr")
LEAST_LOG = 4 * MB  # what is kept of a log


def sh(script, image="any"):
    return {"image": image, "entrypoint": ["/bin/sh", "-c", script], "env": []}


def peak(grader):
    """The most memory that a grader had, in bytes."""
    status = Path(f"/proc/{grader.process.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def check(grader):
    assert peak(grader) < MOST_MEMORY, f"{peak(grader) / MB:.0f} MB"


def grade_all(api, image="any"):
    """Two jobs of each slot, with their chunks."""
    jobs = [api.put(sh(SCRIPT, image)) for _ in range(2 * SLOTS)]
    for job in jobs:
        logs = api.result_of(job, 300)["logs"]
        assert all(len(logs[stream]) > LEAST_LOG for stream in STREAMS)
    assert len(api.chunks) > SLOTS


def test_with_processes(api, start_grader):
    api.limits = TAKES_CHUNKS
    grader = start_grader(f"--concurrency={SLOTS}")
    grade_all(api)
    check(grader)


@pytest.mark.parametrize("by", ["api", "cli"])
def test_with_containers(api, start_container_grader, by):
    api.limits = TAKES_CHUNKS
    grader = start_container_grader(f"--concurrency={SLOTS}", "--pids=64", by=by)
    grade_all(api, IMAGE)
    check(grader)


class SocketApi:
    """The websockets of the course protocol: hands out jobs, and counts chunks and results."""

    def __init__(self):
        self.jobs, self.results, self.chunks = queue.SimpleQueue(), queue.SimpleQueue(), set()

    def talk(self, link):
        """One slot's socket."""
        assert json.loads(link.recv())["type"] == "register"
        link.send(json.dumps({"success": True}))
        while True:
            job = self.jobs.get()
            link.send(json.dumps({"grading_job_id": job, "stages": [{**sh(SCRIPT), "env": {}}]}))
            for text in link:
                message = json.loads(text)
                if message["type"] == "job_result":
                    self.results.put({stream: len(message["args"]["logs"][stream]) for stream in STREAMS})
                    break
                self.chunks.add(message["args"]["grading_job_id"])

    @contextlib.contextmanager
    def running(self):
        """Its URL, as long as the context is open."""

        def add_headers(_link, _request, response):
            response.headers.update(TAKES_CHUNKS)

        with serve(self.talk, "127.0.0.1", 0, max_size=None, process_response=add_headers) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
            server.shutdown()


def test_with_a_socket_for_each_slot(graders, tmp_path):
    api = SocketApi()
    with api.running() as url:
        directories = f"--work-dir={tmp_path / 'work'}", f"--state-dir={tmp_path / 'state'}"
        flags = ("--runner=process", "--protocol=course-ws", f"--concurrency={SLOTS}")
        grader = Grader("--url", url, *flags, *directories)
        graders.append(grader)
        for number in range(2 * SLOTS):
            api.jobs.put(f"{number:032}")
        for _ in range(2 * SLOTS):
            assert min(api.results.get(timeout=300).values()) > LEAST_LOG
        assert len(api.chunks) > SLOTS
        check(grader)
        grader.process.kill()
