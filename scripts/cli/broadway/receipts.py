"""Checks receipts offline: the hash and the signature of each, and the chain of a run (docs/receipts.md)."""

import base64
import binascii
import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broadway.canonical import Number, number, write

VERSION = "1"
RUN_ID_LENGTH = 24
# What each receipt has, and whether it may be null.
TEXTS = {"made_with": False, "run_id": False, "job_id": False, "definition": True, "stages": True, "worker": True}
TEXTS |= {"handed_out_at": True, "finished_at": True, "outcome": False, "reason": True}
TEXTS |= {"owner": True, "note": True, "superseded_by": True}
TEXTS |= {"result": True, "files": True, "tests": True, "drift": True, "sent": True}
SCORES = ("score", "max_score")


class NoReceipts(Exception):
    """The file has neither a run's receipts nor a job's."""


@dataclass
class Findings:
    """What a check has found."""

    subject: str  # what was checked
    faults: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)  # the public keys whose signatures fit


def verify(document: object, trusted: set[str], definition: str | None) -> Findings:
    """Checks a document of `canonical.parse`: a run's receipts, a job with its receipt, or one receipt, each also in
    the envelope of the course protocol. `trusted`: the public keys that may sign, as base64; empty: any. `definition`:
    the digest that the run's definition must have. Raises NoReceipts."""
    document = _unpack(document)
    if isinstance(document.get("receipts"), list):
        return _verify_run(document, trusted, definition)
    if isinstance(document.get("receipt"), dict) and "hash" not in document:
        return _verify_job(document, trusted, definition)
    if isinstance(document.get("receipt"), dict):
        return _verify_single(document, trusted, definition)
    raise NoReceipts


def definition_digest(document: object) -> str:
    """The digest of a run's definition, as it was submitted. Raises ValueError for a number that no server takes."""
    return hashlib.sha256(write(document, sort_keys=True, shortest=True)).hexdigest()


def receipt_digest(receipt: object) -> str:
    """The hash of a receipt. A program that has rewritten the file may have written its scores otherwise."""
    if isinstance(receipt, dict):
        scores = {key: number(receipt[key]) for key in SCORES if isinstance(receipt.get(key), Number)}
        receipt = {**receipt, **scores}
    return hashlib.sha256(write(receipt, sort_keys=True)).hexdigest()


def _unpack(document: object) -> dict[str, object]:
    if isinstance(document, dict) and document.get("status") == "success" and isinstance(document.get("data"), dict):
        document = document["data"]
    if not isinstance(document, dict):
        raise NoReceipts
    return document


# ---- One receipt ----


def _verify_single(entry: dict, trusted: set[str], definition: str | None) -> Findings:
    findings = Findings(f"the receipt of {_name(entry)}")
    findings.faults += _entry_faults(entry, trusted, definition, findings.keys)
    if not findings.faults and entry["signature"] is None:
        findings.faults.append(f"{_name(entry)}: only the chain of its run vouches for it: verify the run's receipts")
    return findings


def _name(entry: object) -> str:
    receipt = entry.get("receipt") if isinstance(entry, dict) else None
    job = receipt.get("job_id") if isinstance(receipt, dict) else None
    return f"job {job}" if type(job) is str else "a job without an id"


def _entry_faults(entry: object, trusted: set[str], definition: str | None, keys: set[str]) -> Iterator[str]:
    """The faults of one receipt with its hash and signature, whose key is added to `keys`."""
    name = _name(entry)
    if not isinstance(entry, dict) or not isinstance(entry.get("receipt"), dict):
        yield f"{name}: an entry is not an object with a receipt"
        return
    receipt = entry["receipt"]
    yield from (f"{name}: {fault}" for fault in _shape_faults(receipt))
    digest = receipt_digest(receipt)
    if entry.get("hash") != digest:
        yield f"{name}: the receipt was changed: its hash is {digest}, the file says {_shown(entry.get('hash'))}"
    yield from (f"{name}: {fault}" for fault in _signature_faults(entry, digest, trusted, keys))
    if definition is not None and receipt.get("definition") != definition:
        said = _shown(receipt.get("definition"))
        yield f"{name}: it was graded by another definition: {said}, the given one is {definition}"


def _shape_faults(receipt: dict) -> Iterator[str]:
    if receipt.get("version") != VERSION:
        yield f"the receipt has version {_shown(receipt.get('version'))}; this command knows version {VERSION}"
    for key, may_be_null in TEXTS.items():
        value = receipt.get(key, 0)
        if type(value) is not str and not (value is None and may_be_null):
            yield f"the receipt has no proper {key!r}"
    for key in SCORES:
        if not isinstance(receipt.get(key, 0), Number | None):
            yield f"the receipt has no proper {key!r}"
    if not isinstance(receipt.get("images"), list):
        yield "the receipt has no list of images"


def _signature_faults(entry: dict, digest: str, trusted: set[str], keys: set[str]) -> Iterator[str]:
    made_with = entry["receipt"].get("made_with")
    if made_with == "chain":
        if entry.get("signature") is not None:
            yield "a receipt that was made with the chain has a signature of its own"
    elif made_with != "result":
        yield f"the receipt was made with {_shown(made_with)}, not with a result or the chain"
    else:
        yield from _key_faults(entry, f"broadway receipt 1 {digest}", "the signature", trusted, keys)


def _key_faults(holder: dict, statement: str, what: str, trusted: set[str], keys: set[str]) -> Iterator[str]:
    key, signature = holder.get("key"), holder.get("signature")
    if type(key) is not str or type(signature) is not str:
        yield f"{what} or its key is missing"
    elif not _is_signed(key, signature, statement):
        yield f"{what} does not fit the key {key}"
    elif trusted and key not in trusted:
        yield f"{what} is by the key {key}, which is none of the given ones"
    else:
        keys.add(key)


def _is_signed(key: str, signature: str, statement: str) -> bool:
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
        public.verify(base64.b64decode(signature, validate=True), statement.encode())
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def _shown(value: object) -> str:
    if isinstance(value, Number):
        value = number(value)
    if isinstance(value, str):
        return value if len(value) <= 80 else f"{value[:80]}…"
    return "nothing" if value is None else f"a value of another type ({type(value).__name__})"


# ---- A job as the API shows it ----


def _verify_job(job: dict, trusted: set[str], definition: str | None) -> Findings:
    entry = job["receipt"]
    findings = Findings(f"{_name(entry)} and its receipt")
    findings.faults += _entry_faults(entry, trusted, definition, findings.keys)
    receipt = entry.get("receipt")
    if isinstance(receipt, dict):
        findings.faults += [f"{_name(entry)}: {fault}" for fault in _job_faults(job, receipt)]
    return findings


# Members of a job that its receipt has too, and lists whose digests it has.
SHOWN = ("job_id", "run_id", "outcome", "ended_at", "owner", "note", "superseded_by", *SCORES)
LISTS = {"files": "files", "tests": "tests", "drift": "images that differ from the run's"}


def _plain(value: object) -> object:
    return number(value) if isinstance(value, Number) else value


def _is_attested(value: object, digest: object) -> bool:
    """Whether a value that is shown has this digest, as it is written, or with its numbers as the server writes
    them."""
    for shortest in (False, True):
        with contextlib.suppress(ValueError, OverflowError):  # a number that no server writes
            if hashlib.sha256(write(value, sort_keys=False, shortest=shortest)).hexdigest() == digest:
                return True
    return False


def _job_faults(job: dict, receipt: dict) -> Iterator[str]:
    """Where what is shown of the job differs from its receipt."""
    for shown in SHOWN:
        attested = "finished_at" if shown == "ended_at" else shown
        if _plain(job.get(shown)) != _plain(receipt.get(attested)):
            yield f"its {shown} is {_shown(job.get(shown))}, the receipt says {_shown(receipt.get(attested))}"
    if receipt.get("result") is None:
        if job.get("result") != receipt.get("reason"):
            yield "its result is not the reason that the receipt has"
    elif not _is_attested(job.get("result"), receipt["result"]):
        yield "its result is another one than the receipt attests"
    for key, name in LISTS.items():
        is_there = receipt.get(key) is not None or job.get(key) is not None
        if is_there and not _is_attested(job.get(key), receipt.get(key)):
            yield f"the list of its {name} is another one than the receipt attests"
    attempts = job.get("attempts")
    for attempt in attempts if isinstance(attempts, list) else []:
        if not isinstance(attempt, dict) or attempt.get("end") != "result":
            continue
        if (attempt.get("attempt"), attempt.get("worker")) != (receipt.get("attempt"), receipt.get("worker")):
            yield "the attempt that brought its result is another one than the receipt attests"


# ---- A run ----


def _verify_run(run: dict, trusted: set[str], definition: str | None) -> Findings:
    run_id = run.get("run_id") if type(run.get("run_id")) is str else "without an id"
    entries = run["receipts"]
    findings = Findings(f"run {run_id} with {len(entries)} receipts")
    if run.get("version") != VERSION:
        findings.faults.append(f"the file has version {_shown(run.get('version'))}; this command knows {VERSION}")
    for entry in entries:
        findings.faults += _entry_faults(entry, trusted, definition, findings.keys)
    receipts = [
        entry["receipt"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("receipt"), dict)
    ]
    findings.faults += _order_faults(run_id, receipts)
    head = _follow(run_id, entries, findings.faults)
    if _number(run.get("count")) != len(entries):
        findings.faults.append(
            f"run {run_id}: the chain has {_shown(run.get('count'))} receipts, here are {len(entries)}"
        )
    if run.get("head") != head:
        findings.faults.append(f"run {run_id}: the chain ends with {_shown(run.get('head'))}, the receipts make {head}")
    statement = f"broadway chain 1 {run_id} {len(entries)} {head}"
    faults = _key_faults(run, statement, "the signature of the chain", trusted, findings.keys)
    findings.faults += [f"run {run_id}: {fault}" for fault in faults]
    return findings


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, Number) and value.isdecimal() and len(value) < 10 else None


def _order_faults(run_id: str, receipts: list[dict]) -> Iterator[str]:
    """Receipts of other runs, of one job twice, in another order, or by several definitions."""
    last = ""
    for receipt in receipts:
        job = receipt.get("job_id")
        if type(job) is not str:
            continue
        if receipt.get("run_id") != run_id or job[:RUN_ID_LENGTH] != run_id:
            yield f"job {job}: its receipt is of another run: {_shown(receipt.get('run_id'))}"
        if job <= last:
            yield f"job {job}: its receipt is not in the order of job ids, or there twice"
        last = job
    definitions = sorted({_shown(receipt.get("definition")) for receipt in receipts} - {"nothing"})
    if len(definitions) > 1:
        yield f"run {run_id}: its jobs were graded by {len(definitions)} definitions: {', '.join(definitions[:3])}"


def _follow(run_id: str, entries: list, faults: list[str]) -> str:
    """The head of the chain that the receipts make. Adds a fault for the first link that differs."""
    link = hashlib.sha256(f"broadway chain 1 {run_id}".encode()).hexdigest()
    is_broken = False
    for entry in entries:
        receipt = entry.get("receipt") if isinstance(entry, dict) else None
        digest = receipt_digest(receipt)
        link = hashlib.sha256(f"{link}{digest}".encode()).hexdigest()
        if not is_broken and (not isinstance(entry, dict) or entry.get("link") != link):
            is_broken = True
            faults.append(f"{_name(entry)}: the chain breaks here: a receipt was changed, added or left out")
    return link
