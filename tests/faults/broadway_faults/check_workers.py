"""I9, I10: deaths of workers, and the resources of processes."""

from collections import defaultdict

THREADS_SLACK = 2
DESCRIPTORS_SLACK = 40  # connections of the pools, which stay open
LIFE = ("poll", "beat", "result", "register")
SEEN_SLACK_MS = 60


def deaths_are_true(evidence):
    """I9: a worker is never declared dead before two intervals of silence, and a vanished one is declared dead in
    time."""
    if not evidence.config.get("strict_deaths"):
        return
    interval_ms = evidence.config["heartbeat_ms"]
    heard = defaultdict(list)
    for call in evidence.calls:
        if call.op in LIFE and call.kind == "ok":
            heard[call.get("worker")].append((call.begun, call.ended))
    deaths = defaultdict(list)
    for event in evidence.events:
        if event.get("coll") == "workers" and event.get("set", {}).get("alive") is False:
            deaths[event["_id"]].append(event["t"])
    for worker, times in deaths.items():
        for died in times:
            yield from _too_soon(worker, died, heard[worker], interval_ms)
    yield from _too_late(evidence, deaths, heard, interval_ms)


def _too_soon(worker, died, heard, interval_ms):
    last = max((ended for begun, ended in heard if begun < died - SEEN_SLACK_MS), default=None)
    if last is not None and died - last < 2 * interval_ms - SEEN_SLACK_MS:
        yield f"worker {worker} was declared dead {died - last} ms after it was heard, not after {2 * interval_ms} ms"


def _too_late(evidence, deaths, heard, interval_ms):
    """Two intervals, the slack, two more for a silent replica, and a margin for a busy machine."""
    allowed = 4 * interval_ms + max(1000, interval_ms // 2) + 2500
    end = max((event["t"] for event in evidence.events), default=0)
    for note in evidence.noted("grader vanished"):
        worker = note["worker"]
        last = max((ended for _, ended in heard[worker]), default=note["t"])
        died = next((t for t in deaths[worker] if t >= note["t"]), None)
        if died is None and end - last > allowed:
            yield f"worker {worker} was silent for {end - last} ms and was never declared dead"
        if died is not None and died - last > allowed:
            yield f"worker {worker} was declared dead only {died - last} ms after it was last heard"


def resources_return(evidence):
    """I10: after the drain, threads and descriptors are at their values after the warm-up."""
    for note in evidence.noted("resources"):
        before, after = note["before"], note["after"]
        if after["threads"] > before["threads"] + THREADS_SLACK:
            yield f"{note['member']} has {after['threads']} threads after the drain, {before['threads']} when warm"
        if after["descriptors"] > before["descriptors"] + DESCRIPTORS_SLACK:
            yield (
                f"{note['member']} has {after['descriptors']} descriptors after the drain,"
                f" {before['descriptors']} when warm"
            )
    for note in evidence.noted("second load"):
        if note["after_kb"] > note["before_kb"] * 1.1 + 4096:
            yield f"{note['member']} grew from {note['before_kb']} to {note['after_kb']} kB in a second, equal load"
