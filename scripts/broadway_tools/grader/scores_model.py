"""What the readers of the three forms have in common: the scores of a job, and their errors."""

from dataclasses import dataclass, field

# Limits of the API.
MOST_TESTS = 1000
# A file with more is not read.
MOST_READ = 10_000
LONGEST_NAME = 1024
HIGHEST = 1_000_000_000
STATUSES = ("passed", "failed", "error", "skipped")


class ScoresError(Exception):
    """The file is malformed; the text says where, by its line and column or by the path of a key."""


class UnknownForm(ScoresError):
    """It is JSON or XML of another kind."""


@dataclass
class Scores:
    """The scores of a job. Numbers are None where the file has none.

    `tests` is a list of {"name", "score"?, "max_score"?, "status"?, "output"?, "output_format"?, "visibility"?}."""

    form: str
    score: float
    max_score: float = None
    tests: list = field(default_factory=list)
    output: str = None  # about the whole submission
    is_gradable: bool = None
    left_out: int = 0  # tests that are too many


def make_test(name, **more):
    """One of the tests; values that are None are left out."""
    return {"name": shorten(name), **{key: value for key, value in more.items() if value is not None}}


def shorten(name):
    """A name within the limit, without characters that JSON's readers refuse."""
    clean = name.replace("\0", "\ufffd").encode("utf-8", "replace")
    return clean[:LONGEST_NAME].decode("utf-8", "ignore")


def total(numbers):
    """The sum of scores, without the last digits of binary fractions: 0.1 + 0.2 is 0.3. Raises ScoresError."""
    found = round(sum(numbers), 9)
    if abs(found) > HIGHEST:
        raise ScoresError(f"tests: their scores are more than {HIGHEST} together")
    return found
