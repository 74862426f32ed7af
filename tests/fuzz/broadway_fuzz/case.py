"""A case: the steps on one connection. A case is data, so that it can be stored and run again."""

import json
from dataclasses import dataclass
from pathlib import Path

SEND, PAUSE, AWAIT, FIN, RESET = "send", "pause", "await", "fin", "reset"


@dataclass(frozen=True)
class Step:
    """One step: SEND bytes, PAUSE for milliseconds, AWAIT some bytes from the server, FIN or RESET the connection."""

    verb: str
    data: bytes = b""
    milliseconds: int = 0


@dataclass(frozen=True)
class Case:
    """What is sent on one connection. `kind` is for the statistics, `target` one of system.TARGETS."""

    kind: str
    target: str
    steps: tuple[Step, ...]

    @property
    def sent(self) -> bytes:
        """All sent bytes, in one piece."""
        return b"".join(step.data for step in self.steps if step.verb == SEND)

    @property
    def is_aborted(self) -> bool:
        """True if the client ends the connection before the answer."""
        return any(step.verb in (FIN, RESET) for step in self.steps)

    def translated(self, pairs: dict[bytes, bytes]) -> "Case":
        """The same case with placeholders replaced. Both sides of a pair have the same length, so lengths do not
        change."""
        data = self.sent
        for stand_in, real in pairs.items():
            assert len(stand_in) == len(real), (stand_in, real)
            data = data.replace(stand_in, real)
        steps, offset = [], 0
        for step in self.steps:
            if step.verb == SEND:
                end = offset + len(step.data)
                steps.append(Step(SEND, data[offset:end]))
                offset = end
            else:
                steps.append(step)
        return Case(self.kind, self.target, tuple(steps))


def whole(kind: str, target: str, data: bytes) -> Case:
    """A case that sends `data` at once."""
    return Case(kind, target, (Step(SEND, data),))


def to_json(case: Case) -> dict:
    """For a file. `repr` is for people; `hex` is read back."""
    steps = []
    for step in case.steps:
        written = {"verb": step.verb}
        if step.data:
            written |= {"hex": step.data.hex(), "repr": repr(step.data)}
        if step.milliseconds:
            written["milliseconds"] = step.milliseconds
        steps.append(written)
    return {"kind": case.kind, "target": case.target, "steps": steps}


def from_json(written: dict) -> Case:
    """The case that to_json wrote."""
    steps = tuple(
        Step(step["verb"], bytes.fromhex(step.get("hex", "")), step.get("milliseconds", 0)) for step in written["steps"]
    )
    return Case(written["kind"], written["target"], steps)


def read_finding(path: Path) -> tuple[Case, list[Case]]:
    """(case, the cases before it) from a finding's file."""
    written = json.loads(path.read_text(encoding="utf-8"))
    return from_json(written["case"]), [from_json(case) for case in written.get("earlier", [])]
