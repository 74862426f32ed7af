"""Guards taken out, one at a time: for each, the named row must fail. They stand in the sources as MUTANT("name"); only
the preset `fault` compiles them, and BROADWAY_MUTANT chooses one."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import click

from broadway_faults import runner


@dataclass(frozen=True)
class Mutant:
    """A guard, the row that misses it, and the seed with which it does."""

    name: str
    guard: str
    row: int
    seed: int = 1


MUTANTS = (
    Mutant("no_attempt_in_lease_id", "the attempt is part of a lease's id", 23),
    Mutant("duplicate_is_success", "a second result is a duplicate key, and loses", 24),
    Mutant("anyone_may_answer", "a result is taken only from a worker that had the job", 28),
    Mutant("unknown_is_done", "a write whose outcome is unknown is not answered 2xx", 44),
    Mutant("own_nonce_unknown", "finding one's own nonce under a taken id is success", 41),
    Mutant("skips_an_attempt", "attempts have no gaps", 23),
    Mutant("post_too_early", "post-processing waits for the last student", 12),
    Mutant("any_term_at_replica", "a replica refuses a term below the highest it has seen", 17),
    Mutant("end_of_any_term", "a lease is ended only in the term that it carries", 22),
    Mutant("give_up_unended", "a job is given up only when one's own end of its lease is known", 22),
    Mutant("trust_from_answer", "trust in one's own lease counts from when the renewal was sent", 18),
    Mutant("clock_without_suspend", "trust is measured on a clock that counts suspend", 50),
    Mutant("gaps_unforgiven", "nobody is dead because the scheduler stood still", 21),
    Mutant("leaves_unsettled", "a replica that leaves settles first what it has begun", 54),
    Mutant("refusal_fails_nothing", "a result that can't be taken fails its job", 57),
)


def run(jobs):
    """Every mutant; returns 0 if each was found out."""
    found = {}

    def one(mutant):
        found[mutant.name] = runner.run_apart(mutant.row, mutant.seed, mutant.name)
        outcome = found[mutant.name]
        if outcome["result"] == runner.FAILED:
            shutil.rmtree(runner.directory_of(mutant.row, mutant.seed, mutant.name), ignore_errors=True)
        verdict = "found out" if outcome["result"] == runner.FAILED else "NOT NOTICED"
        click.echo(f"{mutant.name}: {verdict} ({outcome['seconds']:.1f} s)", err=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, MUTANTS))
    click.echo(f"{'mutant':<24} {'row':>3}  {'result':<12} what said so")
    for mutant in MUTANTS:
        outcome = found[mutant.name]
        is_found = outcome["result"] == runner.FAILED
        first = outcome["violations"][0][:90] if outcome["violations"] else ""
        click.echo(f"{mutant.name:<24} {mutant.row:>3}  {'found out' if is_found else 'NOT NOTICED':<12} {first}")
    missed = [name for name, outcome in found.items() if outcome["result"] != runner.FAILED]
    click.echo(f"{len(found) - len(missed)} of {len(found)} found out")
    return 1 if missed else 0
