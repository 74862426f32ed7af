"""The database at the end, as one JSON document, with which the checker compares the history."""

import hashlib
import json
from pathlib import Path

from broadway_faults.observer import plain

FILE = "dump.json"


def result_digest(value):
    """The digest of a result's JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def _result(document):
    kept = plain(document)
    text = document.get("result")
    if isinstance(text, str):
        try:
            kept["value"] = result_digest(json.loads(text))
        except ValueError:
            kept["value"] = "not JSON"
    return kept


def read_dump(client, database):
    """Reads all collections."""
    source = client[database]
    dump = {
        "runs": {str(d["_id"]): plain(d) for d in source.grading_runs.find({}, {"summary": 0})},
        "leases": {d["_id"]: plain(d) for d in source.job_leases.find()},
        "results": {d["_id"]: _result(d) for d in source.job_results.find()},
        "workers": {d["_id"]: plain(d) for d in source.workers.find()},
        "logs": [d["_id"] for d in source.job_logs.find({}, {"_id": 1})],
        "definitions": [str(d["_id"]) for d in source.run_definitions.find({}, {"_id": 1})],
        "leader": plain(source.leader.find_one() or {}),
    }
    return dump


def write_dump(directory, dump):
    (Path(directory) / FILE).write_text(json.dumps(dump, indent=1, default=str), encoding="utf-8")
