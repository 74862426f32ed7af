"""Reads the database of a stack; only `forget_…` and `digest` write."""

import bson
import pymongo
from pipelines import POST, PRE, STUDENT, job_id_of

# Fields that change with time alone.
VOLATILE = {
    "workers": {"last_seen", "alive", "jobs_processed", "term", "beats_at_work"},
    "grading_runs": {"summary", "breaker_count", "breaker_signature", "breaker_over"},
}
FACTS = ("run_definitions", "grading_runs", "job_leases", "job_results", "job_logs", "workers")


# A run with more students is read by a range of ids: the embedded database looks at every document for that.
MOST_BY_ID = 100
ATTEMPTS = 4  # read at a time; they have no gaps


def beginning_with(id):
    """A filter for ids that begin with this one."""
    return {"_id": {"$gte": id, "$lt": id + "~"}}


def one_of(ids):
    return {"_id": {"$in": ids}}


class Database:
    """A reader of one stack's database."""

    def __init__(self, uri, name):
        self.client = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000, socketTimeoutMS=20000)
        self.db = self.client[name]

    def close(self):
        self.client.close()

    def snapshot(self):
        """All documents without fields that change with time alone: {collection: {_id: document}}."""
        return {name: self._collection(name) for name in FACTS}

    def active_runs(self):
        """Ids of runs that were started and are not over."""
        return [str(run["_id"]) for run in self.db.grading_runs.find({"active": True}, {"_id": 1})]

    def live_leases(self):
        """Leases of active runs without an end whose jobs have no result."""
        runs = self.active_runs()
        leases = [lease for run in runs for lease in self.leases(run) if "ended" not in lease]
        done = {result["_id"] for run in runs for result in self.results(run)}
        return [lease for lease in leases if lease["_id"][:32] not in done]

    def run(self, run):
        return self.db.grading_runs.find_one({"_id": bson.ObjectId(run)})

    def forget_run(self, run):
        """Deletes the run but not its definition: the state after a replica died between the two inserts."""
        self.db.grading_runs.delete_one({"_id": bson.ObjectId(run)})

    def forget_results(self, run):
        """Deletes the results of a run, as the removal of old runs does."""
        self.db.job_results.delete_many(beginning_with(run))

    def digest(self, run, digest):
        """Replaces the digest of a run's definition, as an older version stored it."""
        self.db.run_definitions.update_one({"_id": run}, {"$set": {"digest": digest}})
        self.db.grading_runs.update_one({"_id": bson.ObjectId(run)}, {"$set": {"digest": digest}})

    def leases(self, run):
        """All leases of a run, in the order of job and attempt."""
        jobs = self._jobs(run)
        found = self._leases_of_jobs(jobs) if jobs else self.db.job_leases.find(beginning_with(run))
        return sorted(found, key=lambda lease: (lease["_id"][:32], int(lease["_id"][33:])))

    def leases_of_job(self, job):
        return [lease for lease in self.leases(job[:24]) if lease["_id"].startswith(job)]

    def results(self, run):
        """All results of a run, in the order of job ids."""
        jobs = self._jobs(run)
        found = self.db.job_results.find(one_of(jobs) if jobs else beginning_with(run))
        return sorted(found, key=lambda result: result["_id"])

    def result(self, job):
        return self.db.job_results.find_one({"_id": job})

    def logs(self, job):
        return list(self.db.job_logs.find(beginning_with(job)))

    def job_times(self):
        """The keys of all job times."""
        return list(self._collection("job_times"))

    def worker(self, worker):
        return self.db.workers.find_one({"_id": worker})

    def _jobs(self, run):
        """The ids of all jobs of a small run; [] of a large one, and of one that is not stored."""
        stored = self.run(run)
        if stored is None or stored["students"] > MOST_BY_ID:
            return []
        students = [job_id_of(run, STUDENT, index) for index in range(stored["students"])]
        return [job_id_of(run, PRE), *students, job_id_of(run, POST)]

    def _leases_of_jobs(self, jobs):
        found, first = [], 1
        while jobs:
            last = first + ATTEMPTS - 1
            attempts = range(first, last + 1)
            found += self.db.job_leases.find(one_of([f"{job}.{attempt}" for job in jobs for attempt in attempts]))
            jobs = [lease["_id"][:32] for lease in found if lease["_id"].endswith(f".{last}")]
            first = last + 1
        return found

    def _collection(self, name):
        hidden = VOLATILE.get(name, set())
        return {
            str(document["_id"]): {key: value for key, value in document.items() if key not in hidden}
            for document in self.db[name].find()
        }
