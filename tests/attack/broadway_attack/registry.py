"""The table of attacks: each is a function of a scene, under its number."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Attack:
    """One attack. `api_flags` for the replicas, `growth_mib`: how much the attacked replica may grow during the attack;
    None: only the growth that remains afterwards counts."""

    name: str
    sends: str
    function: Callable
    api_flags: dict = field(default_factory=dict)
    growth_mib: int | None = None
    is_quick: bool = False


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str, sends: str, growth_mib: int | None = None, is_quick: bool = False, **api_flags: object
) -> Callable:
    """Registers an attack. `is_quick`: it is part of the shortened suite. Flags are written with underscores."""

    def register(function: Callable) -> Callable:
        flags = {flag.replace("_", "-"): str(value) for flag, value in api_flags.items()}
        ATTACKS[name] = Attack(name, sends, function, flags, growth_mib, is_quick)
        return function

    return register


def load_attacks() -> dict[str, Attack]:
    """All attacks, by name, in their order."""
    from broadway_attack import (  # noqa: F401, PLC0415  (they register themselves, and import this)
        attacks_bodies,
        attacks_connections,
        attacks_parser,
        attacks_sizes,
        attacks_tokens,
    )

    return dict(sorted(ATTACKS.items(), key=lambda item: (int(item[0][1:].rstrip("abcd")), item[0])))
