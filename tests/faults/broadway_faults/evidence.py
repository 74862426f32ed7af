"""The files of an experiment, read into one object for the checker."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from broadway_faults import dump as dumps
from broadway_faults import history as histories
from broadway_faults import observer

CONFIG = "config.json"
KINDS = {"0": "pre", "1": "student", "2": "post"}


def write_config(scene):
    """Writes the settings of the experiment that the checker needs besides the history."""
    plan = scene.plan
    config = {
        "row": scene.row,
        "seed": scene.seed,
        "heartbeat_ms": int(plan.heartbeat * 1000),
        "leader_lease_ms": int(plan.leader_lease * 1000),
        "max_attempts": plan.max_attempts,
        "is_idempotent": scene.is_idempotent,
        "strict_deaths": scene.strict_deaths,
        "settles": scene.settles,
    }
    (scene.directory / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")


@dataclass
class Call:
    """An invocation and its end. `kind` None: the caller ended before the call did, so the outcome is unknown."""

    id: int
    process: str
    op: str
    begun: int
    facts: dict
    kind: str = "unknown"
    ended: int = None
    answer: dict = field(default_factory=dict)

    def get(self, name):
        return self.answer.get(name, self.facts.get(name))


@dataclass
class Evidence:
    """All data of one experiment."""

    config: dict
    calls: list
    notes: list
    events: list
    dump: dict

    def of(self, op):
        return [call for call in self.calls if call.op == op]

    def noted(self, what):
        return [note for note in self.notes if note["note"] == what]

    @property
    def has_all_events(self):
        """False if the observer lost its position in the stream: then the database's order is not checked."""
        return not any("gap" in event for event in self.events)

    @property
    def removed(self):
        """Runs that were removed from the database, with the last state of each."""
        states = {}
        removed = {}
        for event in self.events:
            if event.get("coll") != "grading_runs":
                continue
            if "state" in event.get("set", {}):
                states[event["_id"]] = event["set"]["state"]
            if event["op"] == "delete":
                removed[event["_id"]] = states.get(event["_id"], "created")
        return removed

    def jobs_of(self, run):
        """The ids of the jobs of a run in the dump, by kind."""
        document = self.dump["runs"][run]
        return {
            "pre": [f"{run}00000000"] if document.get("has_pre") else [],
            "student": [f"{run}1{n:07x}" for n in range(int(document.get("students", 0)))],
            "post": [f"{run}20000000"] if document.get("has_post") else [],
        }


def kind_of(job):
    return KINDS.get(job[24], "?")


def job_of(lease):
    return lease.partition(".")[0]


def attempt_of(lease):
    return int(lease.partition(".")[2])


def assemble(lines):
    """Calls and notes of a history's lines."""
    calls, notes = {}, []
    for line in lines:
        if line["type"] == "note":
            notes.append(line)
        elif line["type"] == "invoke":
            facts = {key: value for key, value in line.items() if key not in ("t", "id", "type", "process", "op")}
            calls[line["id"]] = Call(line["id"], line["process"], line["op"], line["t"], facts)
        elif line["id"] in calls:
            call = calls[line["id"]]
            call.kind, call.ended = line["type"], line["t"]
            call.answer = {key: value for key, value in line.items() if key not in ("t", "id", "type")}
    return list(calls.values()), notes


def read_evidence(directory):
    """Reads the files in `directory`; a missing dump counts as an empty one."""
    directory = Path(directory)
    calls, notes = assemble(histories.read_lines(directory / histories.FILE))
    events_path, dump_path = directory / observer.FILE, directory / dumps.FILE
    events = histories.read_lines(events_path) if events_path.exists() else []
    dump = json.loads(dump_path.read_text(encoding="utf-8")) if dump_path.exists() else None
    config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    return Evidence(config, calls, notes, events, dump)
