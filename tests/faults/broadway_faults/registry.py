"""The table of rows: each a function of a scene, under the number that the matrix of faults gives it."""

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
HINTS = 0  # not in the matrix: I12, everything with the hints taken away


def row(number, fault, plan=None, **traits):
    """Registers a row. What it does stands in the function; what it must show, in its claims and in the invariants."""

    def register(function):
        ROWS[number] = Row(number, fault, function, plan or Plan(), traits)
        return function

    return register


def load_rows():
    """All rows, by number."""
    from broadway_faults import (  # noqa: F401, PLC0415  (they register themselves, and import this)
        rows_api,
        rows_database,
        rows_grader,
        rows_life,
        rows_link,
        rows_result,
        rows_scheduler,
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
