"""The database behind a stack, read the way an auditor would; only `forget_…` and `digest` write."""

import bson
import pymongo

# What passing of time alone may change.
VOLATILE = {"workers": {"last_seen", "alive", "jobs_processed", "term", "beats_at_work"}, "grading_runs": {"summary"}}
FACTS = ("run_definitions", "grading_runs", "job_leases", "job_results", "job_logs", "workers")


class Database:
    """A reader of one stack's database."""

    def __init__(self, uri, name):
        self.client = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000, socketTimeoutMS=20000)
        self.db = self.client[name]

    def close(self):
        self.client.close()

    def snapshot(self):
        """All durable facts, without what only time changes: {collection: {_id: document}}."""
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
        """Takes the run away from its definition, as a replica leaves it that dies between the two inserts."""
        self.db.grading_runs.delete_one({"_id": bson.ObjectId(run)})

    def forget_results(self, run):
        """Deletes the results of a run, as its removal does."""
        self.db.job_results.delete_many({"_id": {"$regex": f"^{run}"}})

    def digest(self, run, digest):
        """Puts another digest beside a run's definition, as an older version kept it."""
        self.db.run_definitions.update_one({"_id": run}, {"$set": {"digest": digest}})
        self.db.grading_runs.update_one({"_id": bson.ObjectId(run)}, {"$set": {"digest": digest}})

    def leases(self, run):
        """All leases of a run, in the order of job and attempt."""
        found = self.db.job_leases.find({"_id": {"$regex": f"^{run}"}})
        return sorted(found, key=lambda lease: (lease["_id"][:32], int(lease["_id"][33:])))

    def leases_of_job(self, job):
        return [lease for lease in self.leases(job[:24]) if lease["_id"].startswith(job)]

    def results(self, run):
        """All results of a run, in the order of job ids."""
        return sorted(self.db.job_results.find({"_id": {"$regex": f"^{run}"}}), key=lambda result: result["_id"])

    def result(self, job):
        return self.db.job_results.find_one({"_id": job})

    def logs(self, job):
        return list(self.db.job_logs.find({"_id": {"$regex": f"^{job}"}}))

    def worker(self, worker):
        return self.db.workers.find_one({"_id": worker})

    def _collection(self, name):
        hidden = VOLATILE.get(name, set())
        return {
            str(document["_id"]): {key: value for key, value in document.items() if key not in hidden}
            for document in self.db[name].find()
        }
