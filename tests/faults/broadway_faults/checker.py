"""Checks the invariants I1 to I12 on a history and the final dump. The checks are independent of the row and apply to
every experiment. `R` is a violated claim of the row itself."""

from dataclasses import dataclass

from broadway_faults import check_answers, check_order, check_races, check_workers
from broadway_faults.evidence import read_evidence


@dataclass(frozen=True)
class Violation:
    """A violated invariant or claim."""

    invariant: str
    text: str

    def __str__(self):
        return f"{self.invariant}: {self.text}"


def check_claims(evidence):
    """Checks the row's own claims, and that the row completed."""
    for note in evidence.noted("claim"):
        if not note["holds"]:
            facts = {key: value for key, value in note.items() if key not in ("t", "type", "note", "holds", "what")}
            yield f"{note['what']}{f' {facts}' if facts else ''}"
    if evidence.dump is None:
        yield "there is no dump of the database"


CHECKS = (
    ("R", check_claims),
    ("I1", check_answers.no_run_is_lost),
    ("I2", check_answers.one_result_per_job),
    ("I3", check_order.attempts_have_no_gaps),
    ("I4", check_order.phases_follow_each_other),
    ("I5", check_order.everything_ends),
    ("I6", check_order.terms_rise),
    ("I7", check_answers.answers_agree_with_effects),
    ("I8", check_answers.reads_never_go_back),
    ("I9", check_workers.deaths_are_true),
    ("I10", check_workers.resources_return),
    ("I11", check_answers.nothing_leaks),
    ("R", check_races.races_keep_promises),
)


def check(evidence):
    """Returns all violations."""
    found = []
    for invariant, rule in CHECKS:
        if evidence.dump is None and rule is not check_claims:
            continue
        found += [Violation(invariant, text) for text in rule(evidence)]
    return found


def check_directory(directory):
    return check(read_evidence(directory))
