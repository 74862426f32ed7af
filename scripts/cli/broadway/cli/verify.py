"""`broadway verify`: checks receipts offline."""

import base64
import binascii
import sys
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from broadway import canonical, receipts
from broadway.cli.files import read_text
from broadway.cli.outcome import FAILED, SUCCESS, Problem
from broadway.cli.output import json_option, show_json

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=FILE)
@click.option("--key", "keys", type=FILE, multiple=True, help="A public key that may sign, as PEM; may be repeated.")
@click.option("--definition", type=FILE, help="What was submitted to start the run: it must be what was graded.")
@json_option
def verify(file: Path, keys: tuple[Path, ...], definition: Path | None, as_json: bool) -> None:
    """Checks receipts of grading, offline.

    FILE is an answer of GET grading_run/{id}/receipts, or of GET grading_job/{job} with its receipt. Without --key it
    is only checked that everything fits together: anybody could have signed it. Exits 0 if it verifies, 1 if it
    doesn't, 2 if a file can't be read.
    """
    trusted = {_read_key(path) for path in keys}
    digest = None if definition is None else _read_definition(definition)
    try:
        findings = receipts.verify(_read_json(file), trusted, digest)
    except receipts.NoReceipts:
        raise Problem(f"{file}: has neither the receipts of a run nor a job with its receipt") from None
    except RecursionError:
        raise Problem(f"{file}: is nested too deep") from None
    except UnicodeEncodeError:
        raise Problem(f"{file}: has text that is not Unicode") from None
    if as_json:
        _show_findings(findings, bool(trusted))
        sys.exit(FAILED if findings.faults else SUCCESS)
    for fault in findings.faults:
        click.echo(fault)
    if findings.faults:
        click.echo(f"{findings.subject}: does not verify", err=True)
        sys.exit(FAILED)
    click.echo(f"{findings.subject}: verifies; signed by the key {', '.join(sorted(findings.keys))}")
    if not trusted:
        click.echo("whose key that is was not checked: give it with --key", err=True)


def _show_findings(findings: receipts.Findings, is_key_checked: bool) -> None:
    show_json(
        {
            "subject": findings.subject,
            "verifies": not findings.faults,
            "faults": list(findings.faults),
            "keys": sorted(findings.keys),
            "key_checked": is_key_checked,
        }
    )


def _read_json(path: Path) -> object:
    try:
        return canonical.parse(read_text(path))
    except RecursionError:
        raise Problem(f"{path}: is nested too deep") from None
    except ValueError as error:
        raise Problem(f"{path}: is not JSON: {error}") from None


def _read_definition(path: Path) -> str:
    document = _read_json(path)
    try:
        return receipts.definition_digest(document)
    except (ValueError, OverflowError, RecursionError):
        raise Problem(f"{path}: has a number that no server takes") from None


def _read_key(path: Path) -> str:
    """The public key as base64, from PEM or from the answer of GET receipts/key."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}") from None
    if content.lstrip().startswith(b"{"):
        document = _read_json(path)
        content = str(document.get("pem", "")).encode() if isinstance(document, dict) else b""
    try:
        key = load_pem_public_key(content)
    except (ValueError, TypeError, binascii.Error):
        raise Problem(f"{path}: has no public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise Problem(f"{path}: the public key is of another kind than Ed25519")
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
