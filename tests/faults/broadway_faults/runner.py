"""Runs rows: one in this process, or many in separate processes, two at a time, with a table at the end."""

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from broadway_tools.files import BUILD

from broadway_faults import build
from broadway_faults.registry import Watch, load_rows
from broadway_faults.scene import CannotRun, Scene

RESULTS = BUILD / "faults"
PASSED, FAILED, CANNOT = "passed", "FAILED", "can't be run here"
ONE_LIMIT_S = 480


def directory_of(number, seed, mutant=None):
    return RESULTS / (f"row-{number}-seed-{seed}" + (f"-{mutant}" if mutant else ""))


def run_row(number, seed, mutant=None, keep=False):
    """Runs one row with one seed in this process: {result, violations, seconds, directory}."""
    row = load_rows()[number]
    if row.plan.binaries and not build.has_older():
        reason = (
            f"the binaries of the older version ({build.older_commit()[:12]}) could not be built: no such commit here"
        )
        return {"result": CANNOT, "reason": reason, "violations": [], "seconds": 0.0}
    directory = directory_of(number, seed, mutant)
    watch = Watch()
    scene = Scene(directory, number, seed, replace(row.plan), build.SHIM, build.binaries_without(mutant))
    for name, value in row.traits.items():
        setattr(scene, name, value)
    try:
        violations = [str(violation) for violation in scene.run(row.function)]
    except CannotRun as reason:
        shutil.rmtree(directory, ignore_errors=True)
        return {"result": CANNOT, "reason": str(reason), "violations": [], "seconds": watch.seconds}
    result = PASSED if not violations else FAILED
    if result == PASSED and not keep:
        shutil.rmtree(directory, ignore_errors=True)
    return {"result": result, "violations": violations, "seconds": watch.seconds, "directory": str(directory)}


def run_apart(number, seed, mutant=None):
    """The same in a separate process."""
    argv = [sys.executable, sys.argv[0], "--row", number, "--seed", seed, "--json", "--no-build"]
    argv += ["--mutant", mutant] if mutant else []
    begun = time.monotonic()
    try:
        done = subprocess.run(
            [str(word) for word in argv], capture_output=True, text=True, timeout=ONE_LIMIT_S, check=False
        )
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, json.JSONDecodeError, IndexError) as trouble:
        text = f"the harness itself failed: {trouble!r}"[:300]
        if not isinstance(trouble, subprocess.TimeoutExpired):
            text += f"\n{done.stderr[-1500:]}"
        return {"result": FAILED, "violations": [text], "seconds": time.monotonic() - begun, "is_harness": True}


def run_many(numbers, seeds, jobs, say):
    """Runs all rows with all seeds; returns {(row, seed): outcome}. Prints a line for each."""
    outcomes = {}
    work = [(number, seed) for number in numbers for seed in seeds]

    def one(pair):
        outcomes[pair] = run_apart(*pair)
        say(pair, outcomes[pair])

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, work))
    return outcomes


def table(outcomes):
    """The lines of the table: row, fault, seeds, result, seconds."""
    rows = load_rows()
    yield f"{'row':>4}  {'fault':<58} {'seeds':<8} {'result':<18} seconds"
    for number in sorted({number for number, _ in outcomes}):
        found = {seed: outcome for (row, seed), outcome in outcomes.items() if row == number}
        results = {outcome["result"] for outcome in found.values()}
        worst = FAILED if FAILED in results else PASSED if PASSED in results else CANNOT
        seeds = ",".join(str(seed) for seed in sorted(found))
        longest = max(outcome["seconds"] for outcome in found.values())
        yield f"{number:>4}  {rows[number].fault[:58]:<58} {seeds:<8} {worst:<18} {longest:7.1f}"
    count = {result: sum(o["result"] == result for o in outcomes.values()) for result in (PASSED, FAILED, CANNOT)}
    yield f"{count[PASSED]} passed, {count[FAILED]} failed, {count[CANNOT]} can't be run here"
