"""Writes docs/metrics.md: what both binaries and the grader print as their metrics, as one table each."""

import re
import subprocess
from pathlib import Path

import click

from broadway_tools.grader.metrics import METRICS
from broadway_tools.launcher import ROOT

PAGE = Path(ROOT) / "docs" / "metrics.md"
HEAD = """# Metrics

All metrics of Broadway, as Prometheus text at `/metrics`: the API's on its internal port, the scheduler's on its
metrics port, the grader's on its `--health-port`. `scripts/metrics_page` writes this page from what the programs print.
Durations are in seconds, sizes in bytes. A histogram `NAME` has the samples `NAME_bucket`, `NAME_sum` and `NAME_count`.
No label holds an id. [operations.md](operations.md#metrics-and-logs) says what to watch.
"""
VARIED = ("broadway_build_info",)  # the values of its labels differ from build to build


def exposition(binary: Path) -> str:
    """What `binary` prints as its metrics."""
    return subprocess.run([binary, "--list-metrics"], check=True, capture_output=True, text=True).stdout


def families(text: str) -> dict[str, dict]:
    """{name: {"type", "help", "labels": {label: [values]}}} of Prometheus text, in its order."""
    found: dict[str, dict] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            found[name] = {"type": "", "help": words.rstrip("."), "labels": {}}
        elif line.startswith("# TYPE "):
            found[name]["type"] = line.split()[3]
        else:
            for label, value in re.findall(r'(\w+)="([^"]*)"', line):
                values = found[name]["labels"].setdefault(label, [])
                if value not in values:
                    values.append(value)
    return found


def _labels(name: str, labels: dict[str, list[str]]) -> str:
    shown = []
    for label, values in labels.items():
        if label == "le":
            continue
        listed = "" if name in VARIED or not values else ": " + ", ".join(f"`{value}`" for value in values)
        shown.append(f"`{label}`{listed}")
    return "; ".join(shown)


def table(rows: dict[str, dict]) -> str:
    """The rows as a table of Markdown."""
    lines = ["| name | type | labels | |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {row['type']} | {_labels(name, row['labels']) or '-'} | {row['help']} |"
        for name, row in rows.items()
    ]
    return "\n".join(lines) + "\n"


def page(build: Path) -> str:
    """The whole page, of the binaries in the directory `build`."""
    api, scheduler = (families(exposition(build / f"broadway-{name}")) for name in ("api", "scheduler"))
    common = {name: api[name] for name in api if name in scheduler}
    parts = [HEAD, "## Both binaries\n", table(common)]
    for title, rows in (("broadway-api", api), ("broadway-scheduler", scheduler)):
        parts += [f"## {title}\n", table({name: row for name, row in rows.items() if name not in common})]
    grader = {
        name: {"type": kind, "help": what, "labels": {label: [] for label in labels}}
        for name, (kind, what, labels) in METRICS.items()
    }
    parts += ["## scripts/grader\n", table(grader)]
    return "\n".join(parts)


@click.command(help="Write docs/metrics.md, the page of all metrics, from what the binaries and the grader print.")
@click.option(
    "--build",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(ROOT) / "build" / "release",
    help="The directory of the binaries [build/release].",
)
def main(build: Path) -> None:
    """The command."""
    PAGE.write_text(page(build), encoding="utf-8")
