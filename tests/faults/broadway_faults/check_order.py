"""I3, I4, I5, I6: leases, phases, the end, and terms, in the order of the database."""

from collections import defaultdict

from broadway_faults.check_answers import TERMINAL
from broadway_faults.evidence import attempt_of, job_of, kind_of

FAILED_ENDS = ("lost", "expired", "undeliverable")


def _leases_by_job(evidence):
    jobs = defaultdict(dict)
    for lease, document in evidence.dump["leases"].items():
        jobs[job_of(lease)][attempt_of(lease)] = document
    return jobs


def attempts_have_no_gaps(evidence):
    """I3."""
    for job, leases in _leases_by_job(evidence).items():
        attempts = sorted(leases)
        if attempts != list(range(1, len(attempts) + 1)):
            yield f"the attempts of {job} are {attempts}"
        unended = [attempt for attempt in attempts[:-1] if "ended" not in leases[attempt]]
        if unended:
            yield f"attempt {unended[0]} of {job} has no end, and {attempts[-1]} exists"
        yield from _failed_attempts_and_reason(evidence, job, leases)
    if evidence.has_all_events:
        yield from _two_live_at_once(evidence)


def _max_attempts(evidence, job):
    own = evidence.dump["runs"].get(job[:24], {}).get("max_attempts") or 0
    return min(own, evidence.config["max_attempts"]) if own else evidence.config["max_attempts"]


def _failed_attempts_and_reason(evidence, job, leases):
    failures = sum(document.get("ended") in FAILED_ENDS for document in leases.values())
    limit = _max_attempts(evidence, job)
    result = evidence.dump["results"].get(job)
    if failures > limit:
        yield f"{job} has {failures} failed attempts, the limit is {limit}"
    if result is None or result.get("worker") or result.get("outcome") != "failed":
        return
    if not result.get("reason"):
        yield f"{job} was given up without a reason"
    if failures < limit:
        yield f"{job} was given up ({result.get('reason')!r}) after {failures} of {limit} failed attempts"


def _two_live_at_once(evidence):
    """Checks that the previous attempt had ended when an attempt was inserted."""
    ended = set()
    for event in evidence.events:
        if event["coll"] != "job_leases":
            continue
        lease = event["_id"]
        if event["op"] == "update" and "ended" in event.get("set", {}):
            ended.add(lease)
        if event["op"] == "insert" and attempt_of(lease) > 1:
            before = f"{job_of(lease)}.{attempt_of(lease) - 1}"
            if before not in ended:
                yield f"lease {lease} was inserted while {before} was live"


def phases_follow_each_other(evidence):
    """I4, in the order of the database where the observer saw all of it."""
    runs = evidence.dump["runs"]
    for run, document in runs.items():
        yield from _phases_in_dump(evidence, run, document)
    if not evidence.has_all_events:
        return
    results, wanted = defaultdict(set), {}
    for event in evidence.events:
        if event["coll"] == "job_results" and event["op"] == "insert":
            results[event["_id"][:24]].add(event["_id"])
        if event["coll"] == "job_leases" and event["op"] == "insert":
            job = job_of(event["_id"])
            run = job[:24]
            if run not in runs:
                continue
            wanted.setdefault(run, evidence.jobs_of(run))
            yield from _too_early(job, wanted[run], results[run])
    yield from _ended_twice(evidence)


def _too_early(job, jobs, results):
    kind = kind_of(job)
    if kind == "student" and any(pre not in results for pre in jobs["pre"]):
        yield f"student job {job} was leased before the result of pre-processing"
    if kind == "post":
        missing = [student for student in jobs["student"] if student not in results]
        if missing:
            yield f"post-processing {job} was leased while {len(missing)} student jobs had no result"


def _phases_in_dump(evidence, run, document):
    results = evidence.dump["results"]
    jobs = evidence.jobs_of(run)
    failed_pre = [pre for pre in jobs["pre"] if results.get(pre, {}).get("outcome") == "failed"]
    if failed_pre and any(f"{student}.1" in evidence.dump["leases"] for student in jobs["student"]):
        yield f"run {run} has leases of student jobs though its pre-processing failed"
    if document.get("state") == "finished":
        missing = [job for kind in jobs.values() for job in kind if job not in results]
        if missing:
            yield f"run {run} is finished and {len(missing)} of its jobs have no result: {missing[:3]}"


def _ended_twice(evidence):
    finished = {}
    for event in evidence.events:
        change = event.get("set", {})
        if event["coll"] != "grading_runs" or change.get("state") not in TERMINAL:
            continue
        if event["_id"] in finished and finished[event["_id"]] != change["state"]:
            yield f"run {event['_id']} ended as {finished[event['_id']]!r} and again as {change['state']!r}"
        finished[event["_id"]] = change["state"]


def everything_ends(evidence):
    """I5."""
    if not evidence.config.get("settles", True):
        return
    for note in evidence.noted("drained"):
        if not note["done"]:
            yield f"{note['took_s']:.1f} s after the last fault not all had ended ({note['allowed_s']:.1f} s allowed)"
    for run, document in evidence.dump["runs"].items():
        if document.get("started_at") and document.get("state") not in TERMINAL:
            yield f"run {run} was started and is {document.get('state')!r} at the end"
    results, runs = evidence.dump["results"], evidence.dump["runs"]
    for lease, document in evidence.dump["leases"].items():
        job = job_of(lease)
        is_over = runs.get(job[:24], {}).get("state") in TERMINAL
        if "ended" not in document and job not in results and not is_over:
            yield f"lease {lease} is live at the end"


def terms_rise(evidence):
    """I6: terms rise by one, and a lease is ended in the term that it has."""
    if not evidence.has_all_events:
        return
    settled = set()  # jobs with a result: ending a lease of theirs changes nothing
    known = set()  # terms known from their work: after a kill of the database the change of leader may be missing
    term, acted, lease_terms = None, 0, {}  # the first leader may have started before the observer
    for event in evidence.events:
        document = event.get("doc") or event.get("set", {})
        if event["coll"] == "leader" and "term" in document:
            if term is not None and not _follows(document["term"], term, known):
                yield f"the term went from {term} to {document['term']}"
            term = document["term"]
        if event["coll"] == "job_results" and event["op"] == "insert":
            settled.add(event["_id"])
        if event["coll"] != "job_leases":
            continue
        known.update(document[name] for name in ("term", "ended_term") if name in document)
        if event["op"] == "insert":
            lease_terms[event["_id"]] = document.get("term", 0)
            continue
        if "term" in document:
            lease_terms[event["_id"]] = document["term"]
            acted = max(acted, document["term"])
        if job_of(event["_id"]) not in settled:
            yield from _ended_in_term(event, document, acted, lease_terms)
        acted = max(acted, document.get("ended_term", 0))


def _follows(taken, term, known):
    """True if the term is the same or the next one, or if all terms in between are known from their work."""
    return taken >= term and known.issuperset(range(term + 1, taken))


def _ended_in_term(event, document, acted, lease_terms):
    if "ended_term" not in document:
        return
    own, lease = document["ended_term"], event["_id"]
    if own != lease_terms.get(lease, own):
        yield f"lease {lease} was of term {lease_terms[lease]} and was ended in term {own}"
    if own < acted:
        yield f"lease {lease} was ended in term {own} after term {acted} had acted"
