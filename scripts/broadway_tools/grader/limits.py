"""What the API takes of a grader, and a result made to fit that: what is too long is cut here, where it is known what
matters, and not by the API."""

import json
from dataclasses import dataclass

from broadway_tools.grader.output import cut_middle

MIB = 1024 * 1024
# Of a request's body, for what is around a result and its logs.
ENVELOPE_BYTES = 4096


@dataclass(frozen=True)
class Limits:
    """In bytes; the defaults are those of an API that does not tell its own."""

    log: int = 4 * MIB
    result: int = 4 * MIB
    body: int = 16 * MIB


def read_limits(headers):
    """The Limits that the answer to a registration, or a websocket's handshake, tells."""
    told = {name: headers.get(f"Broadway-Max-{name.capitalize()}-Bytes", "") for name in ("log", "result", "body")}
    return Limits(**{name: int(text) for name, text in told.items() if text.isdigit()})


def to_json(value):
    """Compact, in bytes; characters beyond ASCII as themselves, which is shortest."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def fit(reply, limits):
    """A job's {"success", "result", "logs"}, such that the API takes it as it is: each log within its limit, its end
    kept; a result that is too large without what the stages wrote; the logs shorter still if the whole is too large,
    as JSON may take six bytes for one."""
    logs = {name: cut_middle(text, limits.log) for name, text in reply["logs"].items()}
    fitting = {**reply, "logs": logs}
    if len(to_json([reply["result"]])) > limits.result:  # a list in the course protocol
        fitting["result"] = shortened(reply["result"])
    room = limits.log
    while len(to_json(fitting)) > limits.body - ENVELOPE_BYTES and room > 0:
        room //= 2
        fitting["logs"] = {name: cut_middle(text, room) for name, text in logs.items()}
    return fitting


def shortened(result):
    """The same result without what its stages wrote."""
    keep = ("image", "exit_code", "seconds", "killed", "error")
    stages = [{key: stage[key] for key in keep if key in stage} for stage in result["stages"]]
    return {"success": result["success"], "stages": stages, "shortened": True}
