"""JSON with scores: parsing, and reading of its keys with sentences that name the place."""

import json
import math

from broadway_tools.grader.scores_model import HIGHEST, MOST_READ, ScoresError

MAX_DEPTH = 64
KINDS = {bool: "a boolean", str: "a string", list: "a list", dict: "an object", int: "a number", float: "a number"}
# An integer of more digits is out of range as a score, and Python refuses to convert very long ones.
LONGEST_INTEGER = 20
LONGEST_SHOWN = 40


class Place:
    """An object of the JSON, and the path that leads to it ("" for the whole, "tests[3]"). null counts as absent."""

    def __init__(self, value, path):
        if not isinstance(value, dict):
            raise ScoresError(f"{path}: must be an object, not {kind_of(value)}")
        self._value = value
        self.path = path

    def has(self, key):
        return self._value.get(key) is not None

    def number(self, key):
        """A finite number; None if there is none."""
        value = self._value.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, not {kind_of(value)}")
        if math.isnan(value):
            raise self.error(key, "must be a number, not NaN")
        if not -HIGHEST <= value <= HIGHEST:
            raise self.error(key, f"must be between -{HIGHEST} and {HIGHEST}")
        return value

    def text(self, key):
        return self._typed(key, str, "a string")

    def boolean(self, key):
        return self._typed(key, bool, "true or false")

    def choice(self, key, names):
        """One of the names; None if there is none."""
        value = self.text(key)
        if value is not None and value not in names:
            # Not a part of it: a part of a secret would not be masked.
            shown = repr(value) if len(value) <= LONGEST_SHOWN else f"a text of {len(value)} characters"
            raise self.error(key, f"{shown} is not one of {', '.join(names)}")
        return value

    def places(self, key):
        """The Places in a list; none if there is no list."""
        values = self._typed(key, list, "a list") or []
        if len(values) > MOST_READ:
            raise self.error(key, f"must have at most {MOST_READ} items, not {len(values)}")
        return [Place(value, f"{self._at(key)}[{index}]") for index, value in enumerate(values)]

    def error(self, key, sentence):
        """The ScoresError about the value of a key."""
        return ScoresError(f"{self._at(key)}: {sentence}")

    def _typed(self, key, kind, name):
        value = self._value.get(key)
        if value is not None and not isinstance(value, kind):
            raise self.error(key, f"must be {name}, not {kind_of(value)}")
        return value

    def _at(self, key):
        return f"{self.path}.{key}" if self.path else key


def kind_of(value):
    return "null" if value is None else KINDS[type(value)]


def parse_json(content):
    """The JSON value in bytes of UTF-8, with or without a BOM. NaN and Infinity are numbers. Raises ScoresError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScoresError(f"line {line}: byte {error.start + 1} is not UTF-8") from None
    try:
        value = json.loads(text, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ScoresError(f"line {error.lineno}, column {error.colno}: it is not JSON: {error.msg}") from None
    except RecursionError:
        raise _too_deep() from None
    if isinstance(value, dict | list):
        _check_depth(value)
    return value


def _integer(digits):
    return int(digits) if len(digits) <= LONGEST_INTEGER else float(digits)


def _check_depth(value):
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        holders = [holder.values() if isinstance(holder, dict) else holder for holder in level]
        level = [item for holder in holders for item in holder if isinstance(item, dict | list)]


def _too_deep():
    return ScoresError(f"it is nested deeper than {MAX_DEPTH} levels")
