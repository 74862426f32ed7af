"""What the tool says: a text for people, and JSON for machines."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from broadway_tools.grader_check.scenario import BROKEN, KEPT, NOT_SEEN, Finding
from broadway_tools.grader_check.sentences import PAGE, SENTENCES, Sentence

WIDTH = 120
INDENT = " " * 29


@dataclass(frozen=True)
class Row:
    """A sentence with what all scenarios found about it."""

    sentence: Sentence
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> str:
        """Broken if it was broken once; not seen if no scenario could find out."""
        outcomes = {finding.outcome for finding in self.findings}
        return BROKEN if BROKEN in outcomes else KEPT if KEPT in outcomes else NOT_SEEN

    @property
    def notes(self) -> list[str]:
        """What was seen, each once, as "scenario: what"."""
        seen = [finding for finding in self.findings if finding.outcome == self.outcome and finding.what]
        return list(dict.fromkeys(f"{finding.scenario}: {finding.what}" for finding in seen))


def make_rows(findings: list[Finding]) -> list[Row]:
    """A row for each sentence, in the order of the page."""
    return [
        Row(sentence, tuple(finding for finding in findings if finding.sentence == sentence.name))
        for sentence in SENTENCES
    ]


def exit_status(rows: list[Row]) -> int:
    """0 if all binding sentences that were seen are kept, and there are any; else 1."""
    outcomes = [row.outcome for row in rows if row.sentence.is_binding]
    return 0 if KEPT in outcomes and BROKEN not in outcomes else 1


def as_text(rows: list[Row], is_partial: bool) -> str:
    """The table. `is_partial`: without the sentences about which no scenario found anything."""
    shown = [row for row in rows if row.findings or not is_partial]
    lines: list[str] = []
    for title, is_binding in (("Sentences", True), ("Advice (doesn't count)", False)):
        lines += [
            title,
            "=" * len(title),
            *_section_lines([row for row in shown if row.sentence.is_binding == is_binding]),
        ]
    return "\n".join([*lines, summary(rows)])


def summary(rows: list[Row]) -> str:
    """One line with the counts."""
    binding, advice = (_counts([row for row in rows if row.sentence.is_binding == flag]) for flag in (True, False))
    return f"{binding}. Advice: {advice}."


def as_json(rows: list[Row], seconds: dict[str, float], ends: list[int]) -> dict[str, Any]:
    """`seconds` by scenario; `ends`: exit statuses of a grader that ended by itself."""
    return {
        "exit_status": exit_status(rows),
        "scenarios": [{"name": name, "seconds": round(value, 2)} for name, value in seconds.items()],
        "grader_exit_statuses": ends,
        "sentences": [
            {
                "name": row.sentence.name,
                "quote": row.sentence.quote,
                "url": f"{PAGE}#{row.sentence.anchor}" if row.sentence.anchor else None,
                "binding": row.sentence.is_binding,
                "outcome": row.outcome,
                "seen": row.notes,
            }
            for row in rows
        ],
    }


def _counts(rows: list[Row]) -> str:
    outcomes = [row.outcome for row in rows]
    return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in (KEPT, BROKEN, NOT_SEEN))


def _section_lines(rows: list[Row]) -> Iterator[str]:
    anchor = None
    for row in rows:
        if row.sentence.anchor != anchor:
            anchor = row.sentence.anchor
            yield f"{PAGE}#{anchor}" if anchor else "Not in the page"
        text = f"{row.outcome:<8}  {row.sentence.name:<17}  {row.sentence.quote}"
        yield from textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  " + INDENT)
        for note in row.notes:
            yield from textwrap.wrap(
                note, WIDTH, initial_indent="  " + INDENT + "- ", subsequent_indent="    " + INDENT
            )
    yield ""
