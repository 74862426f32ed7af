"""What must hold after races, over the whole history: runs that end once, nothing handed out after its end, no attempt
charged for what is not the student's, and sides that have both won."""

from collections import Counter, defaultdict

from broadway_faults.check_answers import TERMINAL
from broadway_faults.evidence import job_of

SOON_MS = 1000  # in which the scheduler has seen that a job was ended
ENOUGH = 50  # races of a pair in which each side must win at least once
NOT_COUNTED = ("released",)  # never delivered, or returned
COUNTING = ("succeeded", "failed")


def wins(evidence):
    """{(act, other): {"act": races, "other": races}}."""
    counts = defaultdict(Counter)
    for note in evidence.noted("race"):
        counts[tuple(note["pair"])][note["winner"]] += 1
    return counts


def table(evidence):
    """The lines of the table."""
    yield f"{'pair':<28} {'races':>6} {'first won':>10} {'second won':>10}"
    for (act, other), count in sorted(wins(evidence).items()):
        yield f"{f'{act} x {other}':<28} {count.total():>6} {count['act']:>10} {count['other']:>10}"


def races_keep_promises(evidence):
    """Nothing to check in a history without races."""
    runs = {run: note["race"] for note in evidence.noted("race") for run in note["runs"]}
    if not runs:
        return
    yield from _sides_that_never_won(evidence)
    yield from _ends(evidence, runs)
    yield from _handed_out_late(evidence, runs)
    yield from _charged(evidence, runs)
    for note in evidence.noted("race"):
        yield from _answers(evidence, note)


def _sides_that_never_won(evidence):
    for (act, other), count in wins(evidence).items():
        for side, name in (("act", act), ("other", other)):
            if count.total() >= ENOUGH and count[side] == 0:
                yield f"in {count.total()} races of {act} x {other} the {name} was never first"


def _ends(evidence, runs):
    """Each run is written as ended once."""
    if not evidence.has_all_events:
        return
    ends = Counter()
    for event in evidence.events:
        if event.get("coll") == "grading_runs" and event.get("set", {}).get("state") in TERMINAL:
            ends[event["_id"]] += 1
    for run, race in runs.items():
        if ends[run] != 1:
            yield f"{race}: run {run} was ended {ends[run]} times"


def _handed_out_late(evidence, runs):
    """Nothing of a run or job that has ended is handed out, but what was on its way."""
    for lease, document in evidence.dump["leases"].items():
        job = job_of(lease)
        if job[:24] not in runs:
            continue
        run, result = evidence.dump["runs"][job[:24]], evidence.dump["results"].get(job, {})
        ends = [end for end in (run.get("cancelled_at"), run.get("finished_at"), result.get("finished_at")) if end]
        if ends and document["leased_at"] > min(ends) + SOON_MS:
            late_ms = document["leased_at"] - min(ends)
            yield f"{runs[job[:24]]}: {lease} was handed out {late_ms} ms after its job or run had ended"


def _charged(evidence, runs):
    """No job has failed for its student, since no grader reports a failure, and what was returned is not counted as an
    attempt of a job that counts. I3 has the jobs that were given up."""
    counted = Counter(
        job_of(lease) for lease, document in evidence.dump["leases"].items() if document.get("ended") not in NOT_COUNTED
    )
    for job, result in evidence.dump["results"].items():
        race = runs.get(job[:24])
        if race is None:
            continue
        if result.get("outcome") == "failed" and result.get("owner") != "infrastructure":
            yield f"{race}: job {job} failed for its {result.get('owner')}: {result.get('reason')}"
        if result.get("outcome") in COUNTING and result.get("attempts", 0) > counted[job]:
            yield f"{race}: job {job} has {result['attempts']} attempts, and {counted[job]} that count"


def _answers(evidence, note):
    """The answer to the cancel of a job says how it ended. A run that supersedes another, or grades it again, is graded
    whatever becomes of that one."""
    for run in note["runs"][1:]:
        state = evidence.dump["runs"][run].get("state")
        if state != "finished":
            yield f"{note['race']}: run {run}, which supersedes or repeats {note['runs'][0]}, is {state!r}"
    status, job = note["statuses"].get("cancel job"), note.get("target")
    result = evidence.dump["results"].get(job, {})
    is_cancelled = result.get("outcome") == "cancelled" and result.get("owner") == "client"
    if status == 200 and result.get("outcome") not in ("cancelled", "superseded"):
        yield f"{note['race']}: the cancel of {job} was answered 200, and it is {result.get('outcome')!r}"
    if status == 409 and is_cancelled:
        yield f"{note['race']}: the cancel of {job} was refused, and it is cancelled"
