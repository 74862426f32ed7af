"""Where a run comes from: files that the user names. Another source of runs is another function that returns a
Submission."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broadway.cli.files import read_object, read_roster
from broadway.cli.outcome import Problem
from broadway.gradescope import GradescopeError, Settings, build_run


@dataclass(frozen=True)
class Submission:
    """What is submitted: the body, and of a course the assignment. `files` must be stored before, and `config` as that
    of the assignment; `notes` are sentences that the user should read."""

    body: dict[str, Any]
    assignment: str | None = None
    config: dict[str, Any] | None = None
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def from_files(definition: Path | None, roster: Path | None) -> Submission:
    """A run by its definition, whose students the roster has, if there is one. Raises Problem."""
    if definition is None:
        raise Problem("give the definition of the run: a JSON file, as docs/protocol.md describes it")
    return Submission(_with_students(definition, read_object(definition), roster, "students"))


def from_assignment(assignment: str, body: Path | None, roster: Path | None) -> Submission:
    """A run of a course's assignment, by the body of its request or a roster, or both. Raises Problem."""
    if body is None and roster is None:
        raise Problem("give the students by --students, or the body of the run as a JSON file")
    document = {} if body is None else read_object(body)
    return Submission(_with_students(body, document, roster, "students_env"), assignment)


def from_gradescope(
    autograder: Path, submissions: Path | None, directory: Path, settings: Settings, assignment: str | None
) -> Submission:
    """A run of an autograder for Gradescope, whose files are written into `directory`. With an assignment of a course,
    the autograder becomes its config. Raises Problem."""
    if submissions is None:
        raise Problem("--gradescope needs --submissions, a directory with a submission per entry")
    try:
        run = build_run(autograder, submissions, directory, settings)
    except GradescopeError as error:
        raise Problem(str(error)) from None
    files = list(run.files.values())
    if assignment is None:
        return Submission(run.definition, files=files, notes=run.notes)
    body, config = run.for_course()
    notes = [*run.notes, f"The config of {assignment} is replaced: it is the stage of the autograder now."]
    return Submission(body, assignment, config, files, notes)


def _with_students(path: Path | None, document: dict[str, Any], roster: Path | None, key: str) -> dict[str, Any]:
    if roster is None:
        return document
    if document.get(key):
        raise Problem(f"{path} has students of its own: leave its {key!r} out, or leave out --students")
    return {**document, key: read_roster(roster)}
