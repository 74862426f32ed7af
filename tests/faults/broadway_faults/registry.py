"""The table of rows: each is a function of a scene, under its number in the matrix of faults."""

import time
from dataclasses import dataclass, field

from broadway_faults.cluster import Plan


@dataclass
class Row:
    """A row of the matrix."""

    number: int
    fault: str
    function: object
    plan: Plan
    traits: dict = field(default_factory=dict)  # attributes of the scene, set before it starts


ROWS = {}
HINTS = 0  # not in the matrix: I12, without the events of the change stream


def row(number, fault, plan=None, **traits):
    """Registers a row. The function injects the faults; its claims and the invariants are checked."""

    def register(function):
        ROWS[number] = Row(number, fault, function, plan or Plan(), traits)
        return function

    return register


def load_rows():
    """All rows, by number."""
    from broadway_faults import (  # noqa: F401, PLC0415  (they register themselves, and import this)
        rows_api,
        rows_audit,
        rows_cancel,
        rows_database,
        rows_grader,
        rows_host,
        rows_link,
        rows_logs,
        rows_pause,
        rows_races,
        rows_receipt,
        rows_result,
        rows_return,
        rows_scheduler,
        rows_supersede,
        rows_term,
    )

    return dict(sorted(ROWS.items()))


class Watch:
    """Seconds since it was made."""

    def __init__(self):
        self.begun = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.begun
