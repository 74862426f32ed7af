"""The changes in the database in their order, as lines, from a change stream of the harness that uses no proxy."""

import datetime
import json
import threading
import time
from pathlib import Path

import bson
import pymongo

from broadway_faults.history import now_ms

FILE = "events.jsonl"
FOLLOWED = ["grading_runs", "job_leases", "job_results", "workers", "leader"]
HEAVY = {"result", "summary", "_nonce", "nonce"}
REFUSALS = 20  # refusals in a row until the position in the stream is given up
PIPELINE = [
    {"$match": {"ns.coll": {"$in": FOLLOWED}}},
    {"$project": {"fullDocument.result": 0, "fullDocument.summary": 0}},
]


def plain(value):
    """A document as plain JSON: dates as milliseconds, ids as text, without binaries."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if key not in HEAVY}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bson.ObjectId):
        return str(value)
    if isinstance(value, datetime.datetime):
        return int(value.replace(tzinfo=datetime.timezone.utc).timestamp() * 1000)
    if isinstance(value, bytes):
        return None
    return value


class Observer:
    """Follows the database until stopped, through its restarts."""

    def __init__(self, directory, uri, database):
        self.file = open(Path(directory) / FILE, "w", encoding="utf-8")  # noqa: SIM115  (closed by stop)
        self.uri, self.database = uri, database
        self.token = None
        self.seen = 0
        self.leases_ended = 0
        self.listener = None  # called with each event, in the observer's thread
        self.is_stopping = threading.Event()
        self.is_following = threading.Event()
        self.thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self.thread.start()

    def stop(self):
        """Waits shortly for pending events, then ends."""
        self._drain()
        self.is_stopping.set()
        self.thread.join(10)
        self.file.close()

    def _drain(self):
        seen, deadline = -1, time.monotonic() + 5
        while self.seen != seen and time.monotonic() < deadline:
            seen = self.seen
            time.sleep(0.3)

    def _run(self):
        client = pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=1000, socketTimeoutMS=30000)
        failures = 0
        while not self.is_stopping.is_set():
            try:
                self._follow(client[self.database])
                failures = 0
            except pymongo.errors.PyMongoError as trouble:
                failures = failures + 1 if self._is_refused(trouble) else 0
                if failures > REFUSALS and self.token is not None:
                    self._write({"gap": str(trouble)[:200]})
                    self.token = None
                self.is_stopping.wait(0.1)
        client.close()

    @staticmethod
    def _is_refused(trouble):
        """True if the database has refused to resume from the token, also by a fault of the row."""
        return getattr(trouble, "code", None) is not None and not trouble.has_error_label("ResumableChangeStreamError")

    def _follow(self, database):
        with database.watch(PIPELINE, resume_after=self.token, max_await_time_ms=200) as stream:
            self.is_following.set()
            while not self.is_stopping.is_set():
                change = stream.try_next()
                self.token = stream.resume_token
                if change is not None:
                    self._note(change)

    def _note(self, change):
        event = {"coll": change["ns"]["coll"], "op": change["operationType"]}
        event["_id"] = plain(change.get("documentKey", {}).get("_id"))
        if event["op"] in ("insert", "replace"):
            event["doc"] = plain(change.get("fullDocument") or {})
        if event["op"] == "update":
            event["set"] = plain(change["updateDescription"].get("updatedFields", {}))
            event["unset"] = change["updateDescription"].get("removedFields", [])
            self.leases_ended += "ended" in event["set"]
        self._write(event)
        if self.listener is not None:
            self.listener(event)

    def _write(self, event):
        self.seen += 1
        self.file.write(json.dumps({"t": now_ms(), **event}, separators=(",", ":"), default=str) + "\n")
        self.file.flush()
