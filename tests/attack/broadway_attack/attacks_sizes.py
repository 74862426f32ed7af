"""Small requests with large effects: A3."""

import re
import time
from collections import Counter

import httpx
from raw import Link

from broadway_attack.registry import attack
from broadway_attack.scene import COURSE, MIB, ROUTE, Scene

READ_MIB = 256  # limit of what an attack reads of an answer
ANSWER_MIB = 256  # limit of a replica's growth for an answer
READERS = 16


def read_away(scene: Scene, path: str, token: str = "", pause_s: float = 0.0, seconds: float = 10.0) -> tuple[int, int]:
    """(status, bytes) of an answer that is read and dropped, up to a limit. Status 0: no answer in time."""
    begun, count, status = time.monotonic(), 0, 0
    with Link(scene.url, timeout=seconds) as link:
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        link.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}Connection: close\r\n\r\n")
        while count < READ_MIB * MIB and time.monotonic() < begun + seconds:
            try:
                data = link.socket.recv(1 << 18)
            except OSError:
                break
            status = status or int(data[9:12] or 0)
            if not data:
                break
            count += len(data)
            time.sleep(pause_s)
    return status, count


def _sentence(answer: httpx.Response) -> str:
    body = answer.json()
    data = body.get("data")
    return str(body.get("error") or body.get("message") or (data.get("message") if isinstance(data, dict) else data))


@attack("A3a", "a submission of 129 KB whose status is 1 GB", growth_mib=ANSWER_MIB)
def large_status(scene: Scene) -> None:
    """A variable of 125,000 bytes, seven more that refer to it, 1,000 students. The run must be refused with the stage
    and the size; if it is accepted, its status is requested."""
    stage = {"image": "x", "env": {f"B{n}": "$A" for n in range(7)}}
    students = [{"N": str(n)} for n in range(1000)]
    definition = {"env": {"A": "a" * 125_000}, "student_pipeline": [stage], "students": students}
    answer = scene.http.post(f"{ROUTE}/grading_run", json=definition)
    scene.claim(answer.status_code == 413, f"the submission is answered {answer.status_code}")
    if answer.status_code == 200:
        status, count = read_away(scene, f"{ROUTE}/grading_run/{answer.json()['id']}")
        scene.note(f"its status: {status}, {count / MIB:.0f} MiB or more")
        return
    sentence = _sentence(answer)
    scene.note(sentence[:150])
    scene.claim(bool(re.search(r"pipeline\[\d+\]|stage", sentence)), "the refusal doesn't name the stage")
    scene.claim(bool(re.search(r"\d{4}", sentence)), "the refusal doesn't say how much it would be")


@attack("A3b", "a course's config with a value of 4 MB, a run of 100 students, its env", growth_mib=ANSWER_MIB)
def large_config(scene: Scene) -> None:
    """The config must be refused like the value of a classic run."""
    config = {"student_pipeline": [{"image": "x", "env": {"A": "a" * 4_000_000}}]}
    answer = scene.http.post(f"{ROUTE}/grading_config/{COURSE}/large", json=config, headers=scene.staff())
    scene.claim(answer.status_code in (400, 413), f"the config is answered {answer.status_code}")
    if answer.status_code != 200:
        scene.note(_sentence(answer)[:150])
        return
    envs = {"students_env": [{"N": str(n)} for n in range(100)]}
    answer = scene.http.post(f"{ROUTE}/grading_run/{COURSE}/large", json=envs, headers=scene.staff())
    scene.note(f"its run is answered {answer.status_code}")
    if answer.status_code == 200:
        run = answer.json()["data"]["grading_run_id"]
        status, count = read_away(scene, f"{ROUTE}/grading_run_env/{COURSE}/{run}", scene.staff()["Authorization"][7:])
        scene.note(f"its env: {status}, {count / MIB:.0f} MiB or more")


@attack("A3c", "16 slow readers of a status with 54 MB of results", growth_mib=ANSWER_MIB)
def slow_readers(scene: Scene) -> None:
    """A run of 54 students whose results have 1 MB each; its status with results is read slowly by sixteen clients at
    once."""
    stage = {"image": "x", "env": {"RESULT_BYTES": "1000000", "N": ""}}
    definition = {"student_pipeline": [stage], "students": [{"N": str(n)} for n in range(54)], "priority": 100}
    run = scene.http.post(f"{ROUTE}/grading_run", json=definition).raise_for_status().json()["id"]
    path = f"{ROUTE}/grading_run/{run}"
    scene.http.post(path).raise_for_status()
    deadline = time.monotonic() + 60
    while scene.http.get(path, params={"students": "false"}).json()["state"] != "finished":
        if time.monotonic() > deadline:
            raise TimeoutError("the large results were not taken")
        time.sleep(0.1)
    scene.begin()
    said: Counter = Counter()

    def one(_: int) -> None:
        status, count = read_away(scene, path + "?results=true", pause_s=0.02, seconds=scene.seconds)
        said[status] += 1
        said["MiB"] += count // MIB

    scene.at_once(one, READERS)
    scene.note(f"answers: {dict(said)}")


@attack("A3d", "the status of a run of 10,000 students, 8 at once, again and again", growth_mib=ANSWER_MIB)
def many_statuses(scene: Scene) -> None:
    """The requests of a class's front end; each answer has some megabytes."""
    definition = {"student_pipeline": [{"image": "x"}], "students": [{"N": str(n)} for n in range(10_000)]}
    run = scene.http.post(f"{ROUTE}/grading_run", json=definition).raise_for_status().json()["id"]
    end = time.monotonic() + scene.seconds

    def one(_: int) -> None:
        while time.monotonic() < end:
            read_away(scene, f"{ROUTE}/grading_run/{run}")

    scene.at_once(one, 8)
