"""The API's limits for a grader, and shortening of a result to these limits. The grader shortens a result better than
the API, since it knows the important parts."""

from dataclasses import dataclass

from broadway_tools.grader.json_stream import Text, json_size
from broadway_tools.grader.results import without_scores

MIB = 1024 * 1024
OUTPUT_KEYS = ("stdout", "stderr")
# Reserved in a request's body for everything besides the result and its logs.
ENVELOPE_BYTES = 4096


# A header of the same answers: the outcomes that the API accepts in place of a result.
OUTCOMES = "Broadway-Outcomes"
# And one that is there if the API tells graders which of their jobs are cancelled.
CANCEL = "Broadway-Cancel"
INFRASTRUCTURE = "infrastructure"
# And one that is there if it takes chunks of logs while a job runs.
LOGS, CHUNKS = "Broadway-Logs", "chunks"
# Another one: whether jobs and results may have files.
FILES, FILES_OF = "Broadway-Files", {"input", "results"}
# The optional arguments of a registration that were added after those of the other headers.
OPTIONAL = "Broadway-Registration"
# And whether results may have scores beside their value.
SCORES = "Broadway-Scores"


@dataclass(frozen=True)
class Limits:
    """In bytes; the defaults are for an API that does not state its limits."""

    log: int = 4 * MIB
    result: int = 4 * MIB
    body: int = 16 * MIB
    takes_returns: bool = False  # whether jobs can be returned
    has_files: bool = False  # whether jobs and results may have files
    tells_cancels: bool = False  # whether it tells which jobs are cancelled
    takes_scores: bool = False  # whether results may have scores
    takes_chunks: bool = False  # whether it takes chunks of logs
    takes_faults: bool = False  # whether it takes the fault of a grader


def optional_names(headers):
    """The names of the optional arguments of a registration that the headers state."""
    return {word.strip() for word in headers.get(OPTIONAL, "").split(",")}


def read_limits(headers):
    """The Limits in the headers of the answer to a registration, or to a websocket's handshake."""
    told = {name: headers.get(f"Broadway-Max-{name.capitalize()}-Bytes", "") for name in ("log", "result", "body")}
    outcomes = {word.strip() for word in headers.get(OUTCOMES, "").split(",")}
    numbers = {name: int(text) for name, text in told.items() if text.isdigit()}
    files = {word.strip() for word in headers.get(FILES, "").split(",")}
    return Limits(
        **numbers,
        takes_returns=INFRASTRUCTURE in outcomes,
        has_files=files >= FILES_OF,
        tells_cancels=headers.get(CANCEL) == "true",
        takes_scores=headers.get(SCORES) == "true",
        takes_chunks=headers.get(LOGS) == CHUNKS,
        takes_faults="fault" in optional_names(headers),
    )


def fit(reply, limits):
    """A job's {"success", "result", "logs"}, shortened so that the API accepts it unchanged: each log within its limit,
    with its end kept, as a Text; a result that is too large without the stages' output; the logs shortened further if
    the whole is too large, as JSON may take six bytes for one. Scores are in the result's value if the API has none."""
    if not limits.takes_scores:
        reply = without_scores(reply)
    result = reply["result"]
    if json_size([result]) > limits.result:  # a list in the course protocol
        result = shortened(result)
    room, sent = limits.log, limits.body - ENVELOPE_BYTES
    while True:
        logs = {name: Text(log, room) for name, log in reply["logs"].items()}
        if limits.takes_chunks:
            places = {f"{name}_cut": log.place(room) for name, log in reply["logs"].items()}
            logs.update({name: place for name, place in places.items() if place})
        fitting = {**reply, "result": result, "logs": logs}
        if room <= 0 or json_size(fitting) <= sent:
            return fitting
        room //= 2


def shortened(result):
    """The same result without the output of its stages."""
    stages = [{key: value for key, value in stage.items() if key not in OUTPUT_KEYS} for stage in result["stages"]]
    kept = {key: result[key] for key in ("score", "max_score") if key in result}
    return {"success": result["success"], "stages": stages, **kept, "shortened": True}


def job_return(fault):
    """The body that returns a job which this machine can't run, in place of its result."""
    return {"outcome": INFRASTRUCTURE, "reason": " ".join(f"{fault.kind}: {fault}".split())}
