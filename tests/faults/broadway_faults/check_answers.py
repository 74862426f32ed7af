"""I1, I2, I7, I8, I11: compares answers with the stored state."""

from collections import Counter, defaultdict

from broadway_faults.evidence import kind_of

UNREADABLE, TOO_LARGE = "unreadable", "too large"  # the defects of a result that its sender knows
TERMINAL = ("finished", "failed", "cancelled", "superseded")
STATES = {
    "created": 0,
    "preprocessing": 1,
    "students": 2,
    "postprocessing": 3,
    "finished": 4,
    "failed": 4,
    "cancelled": 4,
    "superseded": 4,
}


def name_of(run):
    """The name from its definition; of a course's run, the course and the assignment."""
    return run.get("name") or f"{run.get('course')}-{run.get('assignment')}"


def started_runs(evidence):
    started = {call.facts["run"] for call in evidence.of("start") if call.kind == "ok"}
    return started | {note["run"] for note in evidence.noted("run started")}


def no_run_is_lost(evidence):
    """I1: a run that was answered 200 exists, and ends if it was started; no run exists without an attempt to create
    it; one run per key."""
    runs, removed = evidence.dump["runs"], evidence.removed
    creates = evidence.of("create")
    for run, state in removed.items():
        if state not in TERMINAL:
            yield f"run {run} was removed while it was {state!r}"
    for call in creates:
        if call.kind == "ok" and call.get("run") not in runs and call.get("run") not in removed:
            yield f"run {call.get('run')} was answered 200 and is not there"
    for run in started_runs(evidence):
        if run in runs and evidence.config.get("settles", True) and runs[run].get("state") not in TERMINAL:
            yield f"run {run} was started and is {runs[run].get('state')!r} after the drain"
    yield from _unattempted_runs(evidence, creates, runs)


def _unattempted_runs(evidence, creates, runs):
    """Matches by name, which is the same for every try of a run, and by key, if the server supports keys."""
    tries = Counter(call.facts["name"] for call in creates if call.kind != "fail")
    keys = defaultdict(set)
    for call in creates:
        keys[call.facts["name"]].add(call.facts["key"])
    # A rerun has the name of the run that it grades again.
    there = Counter(name_of(document) for document in runs.values() if "rerun_of" not in document)
    for name, count in there.items():
        if name not in tries:
            yield f"run {name!r} is there and was never attempted, or was refused"
        elif evidence.config.get("is_idempotent") and None not in keys[name] and count > len(keys[name]):
            yield f"{count} runs are there for the {len(keys[name])} idempotency key(s) of {name!r}"
        elif count > tries[name]:
            yield f"{count} runs {name!r} are there after {tries[name]} tries"
    if evidence.config.get("is_idempotent"):
        yield from _keys_with_two_ids(creates)


def _keys_with_two_ids(creates):
    ids = defaultdict(set)
    for call in creates:
        if call.kind == "ok" and call.facts["key"] is not None:
            ids[call.facts["key"]].add(call.get("run"))
    for key, found in ids.items():
        if len(found) > 1:
            yield f"the key {key!r} was answered with {len(found)} runs: {sorted(found)}"


def one_result_per_job(evidence):
    """I2: the stored result is from a sender that had the job and was answered 200 or not at all."""
    results, leases, removed = evidence.dump["results"], evidence.dump["leases"], evidence.removed
    holders = defaultdict(set)
    for lease, document in leases.items():
        holders[lease.partition(".")[0]].add(document.get("worker"))
    sent = defaultdict(list)
    for call in evidence.of("result"):
        if call.facts["job"][:24] not in removed:
            sent[call.facts["job"]].append(call)
    for job, calls in sent.items():
        yield from _check_senders(job, calls, results.get(job))
    for job, result in results.items():
        if result.get("worker") is None:
            continue
        if result["worker"] not in holders[job]:
            yield f"the result of {job} is of worker {result['worker']}, who never had a lease of it"
        if not any(_is_it(call, result) or _is_own_refusal(call, result) for call in sent[job]):
            yield f"the result of {job} was never sent by worker {result['worker']}"


def _is_it(call, result):
    return result.get("worker") == call.facts["worker"] and result.get("value") == call.facts["value"]


def _is_own_refusal(call, result):
    """True if the job failed because of a defect of this result. Only an `unfit` result does that. A sender that was
    answered 400 or 413 must find the sentence of the answer; a course's grader was answered 200 if its body was too
    large; by websocket there is no answer."""
    unfit = call.facts.get("unfit")
    is_failure = result.get("outcome") == "failed" and result.get("reason") and "value" not in result
    if not unfit or not is_failure or result.get("worker") != call.facts["worker"]:
        return False
    if call.kind == "fail":
        return call.get("status") in (400, 413) and result["reason"] == call.get("sentence")
    return call.kind == "unknown" or (unfit == TOO_LARGE and call.facts.get("protocol") == "course")


def _check_senders(job, calls, result):
    for call in calls:
        is_it = result is not None and (_is_it(call, result) or (call.kind == "ok" and _is_own_refusal(call, result)))
        who = f"worker {call.facts['worker']} (call {call.id})"
        if call.kind == "ok" and not is_it:
            yield f"{who} heard 200 for {job}, and what is there is {'another result' if result else 'nothing'}"
        if call.kind == "fail" and is_it:
            yield f"{who} was refused ({call.get('status')}: {call.get('text')}), and its result of {job} is there"


def answers_agree_with_effects(evidence):
    """I7: a call with 2xx was done; one with 4xx was not."""
    runs, workers = evidence.dump["runs"], evidence.dump["workers"]
    names = {name_of(document) for document in runs.values()}
    done = {call.facts["name"] for call in evidence.of("create") if call.kind != "fail"}
    for call in evidence.of("create"):
        if call.kind == "fail" and call.facts["name"] in names and call.facts["name"] not in done:
            yield f"create of {call.facts['name']!r} was refused ({call.get('status')}) and the run is there"
        elif call.kind == "fail" and call.get("status") in (409, 500) and call.facts["name"] in names:
            yield f"create of {call.facts['name']!r} was refused ({call.get('text')}), and what conflicts is its own"
    for call in evidence.of("start"):
        run = runs.get(call.facts["run"])
        if call.kind == "ok" and run is not None and not run.get("started_at"):
            yield f"start of {call.facts['run']} was answered 200, and it is not started"
    for call in evidence.of("register"):
        if call.kind == "ok" and call.get("worker") not in workers:
            yield f"worker {call.get('worker')} was registered with 200 and is not there"
    for call in evidence.of("cancel"):
        run = runs.get(call.facts["run"])
        if call.kind == "ok" and run is not None and not run.get("cancelled_at") and run["state"] != "cancelled":
            yield f"cancel of {call.facts['run']} was answered 200, and it has no mark"


def _done(progress):
    return sum(progress.get(outcome, 0) for outcome in ("succeeded", "failed", "cancelled", "superseded"))


def reads_never_go_back(evidence):
    """I8: states never go back, for each client and run in the order of its calls, and after its own acknowledged start
    or result."""
    by_reader = defaultdict(list)
    for call in evidence.of("status"):
        if call.kind == "ok" and call.get("state") in STATES:
            by_reader[call.process, call.facts["run"]].append(call)
    for (reader, run), reads in by_reader.items():
        yield from _reads_in_order(reader, run, sorted(reads, key=lambda call: call.begun))
    for call in evidence.of("own"):
        if call.kind == "ok" and call.get("job_status") != "Finished":
            yield (
                f"{call.process} had its result of {call.facts['job']} accepted, and replica {call.facts['replica']}"
                f" says that the job is {call.get('job_status')!r}"
            )
    started = {}
    for call in evidence.of("start"):
        if call.kind == "ok":
            started[call.process, call.facts["run"]] = call.ended
    for key, ended in started.items():
        for read in by_reader[key]:
            if read.begun >= ended and read.get("state") == "created":
                yield f"{key[0]} started {key[1]}, heard 200, and read 'created' of replica {read.facts['replica']}"


def _reached(read):
    return STATES[read.get("state")], _done(read.get("progress") or {})


def _reads_in_order(reader, run, reads):
    """Compares a read with the furthest of the reads that had ended when it began."""
    by_end = sorted(reads, key=lambda call: call.ended)
    furthest, place = None, 0
    for read in reads:
        while place < len(by_end) and by_end[place].ended <= read.begun:
            if furthest is None or _reached(by_end[place]) >= _reached(furthest):
                furthest = by_end[place]
            place += 1
        if furthest is None:
            continue
        (state, done), (state_before, done_before) = _reached(read), _reached(furthest)
        changed_end = state_before == STATES["finished"] and read.get("state") != furthest.get("state")
        if state < state_before or done < done_before or changed_end:
            yield (
                f"{reader} read of {run} {furthest.get('state')} {furthest.get('progress')} and later, through replica"
                f" {read.facts['replica']}, {read.get('state')} {read.get('progress')}"
            )


def nothing_leaks(evidence):
    """I11: an answer about a run carries that run's canary and no other's."""
    names = {run: name_of(document) for run, document in evidence.dump["runs"].items()}
    for call in evidence.calls:
        if "canaries" not in call.answer:
            continue
        job = call.get("job")
        run = call.facts.get("run") or (job[:24] if job else None) or call.get("run")
        if run in evidence.removed:
            continue
        own = f"canary-{names.get(run)}-yranac"
        course = call.facts.get("owner")  # a course's staff may see all of that course
        for canary in call.answer["canaries"]:
            is_own = canary.startswith(f"canary-{course}-") if course else canary == own
            if not is_own:
                what = f"{call.op} of {run}" if run else call.op
                yield f"the answer to {what} ({kind_of(job) if job else 'run'}) held {canary!r} of another"
