"""Lists and single objects, in the form that the user wants."""

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

FORMS = ("table", "wide", "csv", "json")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Column:
    """A column of a list: its title, and its value for an entry. `is_wide`: only in wide tables and CSV."""

    title: str
    value: Callable[[Any], Any]
    is_wide: bool = False


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --output and --json; the command gets `output`, one of FORMS."""

    def take(context: click.Context, parameter: click.Parameter, value: str) -> str:
        return "json" if context.params.pop("as_json", False) else value

    command = click.option(
        "-o", "--output", type=click.Choice(FORMS), default="table", show_default=True, callback=take
    )(command)
    return click.option("--json", "as_json", is_flag=True, is_eager=True, help="The same as --output json.")(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")


def safe(text: Any) -> str:
    """Text that can't control a terminal."""
    return CONTROL.sub("�", "" if text is None else str(text)).replace("\n", " ").replace("\t", " ")


def show_list(rows: Iterable[Any], columns: list[Column], form: str) -> None:
    """Prints a list. CSV is printed as it comes."""
    if form == "json":
        show_json(list(rows))
        return
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([column.title.lower().replace(" ", "_") for column in columns])
        writer.writerows([_csv_cell(column.value(row)) for column in columns] for row in rows)
        return
    shown = [column for column in columns if form == "wide" or not column.is_wide]
    table = Table(*(column.title for column in shown), box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(safe(_cell(column.value(row)))) for column in shown))
    console = Console(highlight=False)
    if not console.is_terminal or form == "wide":
        console.width = 10_000  # nothing is cut, nothing is wrapped
        for line in console.render_lines(table, pad=False):
            click.echo("".join(segment.text for segment in line).rstrip())
        return
    console.print(table)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _csv_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: its text may be anybody's, such as a note or a hostname."""
    cell = _cell(value)
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def show_object(pairs: dict[str, Any], answer: Any, form: str) -> None:
    """Prints one object: its pairs, or with form json the answer that they are from."""
    if form == "json":
        show_json(answer)
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([list(pairs), [_csv_cell(value) for value in pairs.values()]])
    else:
        width = max(map(len, pairs), default=0)
        for name, value in pairs.items():
            if value is not None or form == "wide":
                click.echo(f"{name:<{width}}  {safe(_cell(value))}".rstrip())


def show_json(value: Any) -> None:
    """Prints a value as JSON. What is no Unicode text is escaped."""
    try:
        click.echo(json.dumps(value, ensure_ascii=False, indent=2).encode())
    except UnicodeEncodeError:
        click.echo(json.dumps(value, indent=2))


def show_done(sentence: str, answer: Any, as_json: bool) -> None:
    """Prints what a command has done: a sentence, or `answer` as JSON."""
    if as_json:
        show_json(answer)
    else:
        click.echo(safe(sentence))


def student_name(env: dict[str, Any]) -> str:
    """A short name of a student: the value of the first variable."""
    return next((f"{name}={value}" for name, value in env.items()), "")
