"""JSON as docs/receipts.md hashes it: compact, numbers and strings written in exactly one way."""

import json
import re

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
WHOLE_BELOW = 2**53
_SMALLEST_NORMAL = 2.2250738585072014e-308


class Number(str):
    """A number as it stands in a text."""


def parse(text: str) -> object:
    """The value of a JSON text, whose numbers are kept as they are written. Raises ValueError, also for a key that
    an object has twice."""
    return json.loads(
        text, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant, object_pairs_hook=unique_object
    )


def write(value: object, sort_keys: bool, shortest: bool = False) -> bytes:
    """The canonical text of a value of `parse`. `shortest`: numbers as the server writes them, for a text that a
    person wrote; else as they stand. Raises ValueError for a number that the server can't hold."""
    parts: list[str] = []
    _write(value, sort_keys, shortest, parts)
    return "".join(parts).encode("utf-8")


def number(text: Number) -> Number:
    """The only form of a number in a receipt: a whole one as an integer, others in the shortest form. One that no
    score can be stays as it is written."""
    value = float(text)
    if not abs(value) < WHOLE_BELOW:
        return text
    return Number(int(value) if value.is_integer() else _number(repr(value)))


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number in JSON")


def unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of a JSON text. Raises ValueError for a key that it has twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return made


def _write(value: object, sort_keys: bool, shortest: bool, parts: list[str]) -> None:
    if isinstance(value, dict):
        # The order of code points is that of the keys' UTF-8 bytes.
        names = sorted(value) if sort_keys else list(value)
        for place, name in enumerate(names):
            parts.append("," if place else "{")
            parts.append(f"{_string(name)}:")
            _write(value[name], sort_keys, shortest, parts)
        parts.append("}" if names else "{}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            parts.append("," if place else "[")
            _write(item, sort_keys, shortest, parts)
        parts.append("]" if value else "[]")
    elif isinstance(value, Number):
        parts.append(_number(value) if shortest else str(value))
    elif isinstance(value, str):
        parts.append(_string(value))
    else:
        parts.append({True: "true", False: "false", None: "null"}[value])


def _string(text: str) -> str:
    return '"' + _ESCAPED.sub(lambda found: _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04X}", text) + '"'


def _number(text: str) -> str:
    if not set(text) & set(".eE"):
        return str(int(text))
    number = float(text)
    least = 1 if abs(number) < _SMALLEST_NORMAL else 15
    written = next(shown for digits in range(least, 18) if float(shown := f"{number:.{digits}g}") == number)
    if "e" in written:
        return re.sub(r"e([+-])0*", lambda sign: "e-" if sign[1] == "-" else "e", written)
    return written if "." in written else f"{written}.0"
