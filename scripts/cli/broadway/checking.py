"""Whether an answer has the form that a type of `broadway.models` states."""

import types
import typing
from functools import cache
from typing import Any

from broadway.errors import BadAnswer


def checked(kind: Any, value: Any, what: str = "the answer") -> Any:
    """The value, which has the form of `kind`: a TypedDict, list[...], dict[str, ...], a union or a plain type. Members
    that a TypedDict does not have are kept. Raises BadAnswer with the place that differs."""
    if kind is Any or (kind is None and value is None):
        return value
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _checked_union(kind, value, what)
    if typing.is_typeddict(kind):
        _expect(value, dict, what)
        for name, member in _members(kind).items():
            if name in value:
                checked(member, value[name], f"{what}'s {name!r}")
            elif name in kind.__required_keys__:
                raise BadAnswer(f"{what} has no {name!r}")
        return value
    _expect(value, origin or kind, what)
    if origin is list:
        for place, item in enumerate(value):
            checked(typing.get_args(kind)[0], item, f"{what}[{place}]")
    return value


@cache
def _members(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _checked_union(kind: Any, value: Any, what: str) -> Any:
    choices = [choice for choice in typing.get_args(kind) if choice is not type(None)]
    return value if value is None else checked(choices[0], value, what)


def _expect(value: Any, kind: type, what: str) -> None:
    if kind is type(None):
        is_right = value is None
    elif kind is float:
        is_right = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        is_right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not is_right:
        raise BadAnswer(f"{what} is of another type than expected")
