"""Files that a user names: texts, JSON objects and rosters. Every fault is a Problem that names the place."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from broadway.canonical import unique_object
from broadway.cli.outcome import Problem


def read_text(path: Path) -> str:
    """The text of a file as it is, without a byte order mark."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Problem(f"{path}: is not UTF-8 at byte {error.start}") from None
    except ValueError:
        raise Problem(f"{str(path)!r} is not the name of a file") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file."""
    try:
        document = json.loads(read_text(path), object_pairs_hook=unique_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise Problem(f"{path}: is nested too deep") from None
    except ValueError as error:
        raise Problem(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Problem(f"{path}: must be a JSON object")
    return document


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number in JSON")


def read_roster(path: Path) -> list[dict[str, str]]:
    """The students of a CSV file: each column is a variable. Rows are counted as a spreadsheet does: the header is
    row 1. Blank rows are left out."""
    rows = _read_rows(path)
    header = next(rows, None)
    if header is None:
        raise Problem(f"{path}: is empty: its first row must have the names of the variables")
    _check_header(path, header[1])
    students = []
    for number, row in rows:
        if len(row) != len(header[1]):
            at = f"column {header[1][len(row)]!r} is missing" if len(row) < len(header[1]) else "has too many columns"
            raise Problem(f"{path}, row {number}: {at}: it has {len(row)}, the header has {len(header[1])}")
        for name, value in zip(header[1], row, strict=True):
            if "\0" in value:
                raise Problem(f"{path}, row {number}, column {name!r}: has a NUL character")
        students.append(dict(zip(header[1], row, strict=True)))
    if not students:
        raise Problem(f"{path}: has no students: there is only a header")
    return students


def _read_rows(path: Path) -> Any:
    """Yields (number, cells) of each row that is not blank."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    number = 0
    while True:
        number += 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Problem(f"{path}, row {number}: is not CSV: {error}") from None
        if any(row):
            yield number, row


def _check_header(path: Path, header: list[str]) -> None:
    for place, name in enumerate(header, 1):
        is_name = name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
        if not is_name:
            raise Problem(
                f"{path}, row 1, column {place}: {name!r} is not the name of a variable: letters, digits and _"
            )
        if name in header[: place - 1]:
            raise Problem(f"{path}, row 1, column {place}: {name!r} is there twice")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, whose directory is made if it is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}") from None
