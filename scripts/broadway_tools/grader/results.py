"""The files of one job that hold scores: where they are found, and what is read of them."""

import os
import re

from broadway_tools.grader.collect import open_file
from broadway_tools.grader.engine import JOB_DIRECTORY
from broadway_tools.grader.scores import MAX_FILE_BYTES, read_scores
from broadway_tools.grader.scores_model import ScoresError, UnknownForm
from broadway_tools.grader.stage import StageError

# Looked for after the last stage, if no stage names a path. Any job may have a file of such a name, so one that is not
# in a known form means nothing, and one that is malformed is only noted.
DEFAULTS = ("results.json", "results/results.json", "results.xml")
# The API checks the same; commas, for one, would be read by an engine's command line.
PATH = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9_.-]+){2,}")
# Nothing can be mounted there, or not below.
MOUNTED, KERNEL = ("/tmp", "/var/tmp", "/run"), ("/proc", "/sys", "/dev")
# The result's keys with scores, beside its value.
KEYS = ("score", "max_score", "tests")


class JobResults:
    """Finds the scores of one job. Call `prepare` before each stage, `take` after it, and `finish` after the last.

    A file that a stage names and that is malformed raises ScoresError; but if the stage was ended early, it may have
    left half a file: then `note` is called with the sentence instead."""

    def __init__(self, workspace, stages, note, has_defaults=True):
        self._workspace = workspace
        self._note = note
        self._directories = {}  # where the container has it → a directory of the host
        self._has_defaults = has_defaults and not any(fields.get("results") for fields in stages)
        self._scores = None
        self._path = None  # of the file with these scores, in the container

    def prepare(self, stage):
        """Makes a path of the stage that is outside of the job's directory writable. Raises StageError, OSError."""
        if stage.results is None:
            return
        if not PATH.fullmatch(stage.results):
            raise StageError(f"results {stage.results!r} is not a path such as {JOB_DIRECTORY}/results.json")
        directory = os.path.dirname(stage.results)
        if _is_below(directory, JOB_DIRECTORY):
            return
        if directory in MOUNTED or any(_is_below(directory, top) for top in KERNEL):
            raise StageError(f"results {stage.results} can't be read: the directory {directory} can't be mounted")
        if directory not in self._directories:
            self._directories[directory] = self._workspace.make_outside(f"results-{len(self._directories)}")
        stage.results_mount = (str(self._directories[directory]), directory)

    def take(self, stage, outcome):
        """Reads the file that a stage names, if it has run. After a success the file must be there. Raises
        ScoresError."""
        if stage.results is None or outcome.exit_code is None:
            return
        try:
            if not self._read(stage.results, *self._find(stage.results)) and outcome.succeeded:
                raise ScoresError(f"{stage.results}: there is no such file, or it is not a plain one")
        except ScoresError as error:
            if not outcome.killed:
                raise
            self._note(str(error))

    def finish(self):
        """Looks for a file at one of the default paths, unless a stage names one: None, or a sentence about the first
        that is malformed, if there is no good one before."""
        for path in DEFAULTS if self._has_defaults else ():
            try:
                if self._read(f"{JOB_DIRECTORY}/{path}", self._workspace.path, path):
                    return None
            except UnknownForm:
                continue
            except ScoresError as error:
                return f"{error}; no stage names this file, so it has no scores"
        return None

    def reply(self):
        """The keys of the job's result with scores, beside its value."""
        scores = self._scores
        if scores is None:
            return {}
        found = {"score": scores.score, "max_score": scores.max_score, "tests": scores.tests or None}
        return {key: value for key, value in found.items() if value is not None}

    def report(self):
        """The key `results` of the result's value: which file was read, and what has no other place."""
        scores = self._scores
        if scores is None:
            return {}
        more = {"gradable": scores.is_gradable, "output": scores.output, "tests_left_out": scores.left_out or None}
        known = {key: value for key, value in more.items() if value is not None}
        return {"results": {"path": self._path, "format": scores.form, **known}}

    def _find(self, path):
        """(a directory of the host, the path below it)"""
        directory, name = os.path.split(path)
        if directory in self._directories:
            return self._directories[directory], name
        return self._workspace.path, os.path.relpath(path, JOB_DIRECTORY)

    def _read(self, shown, top, path):
        """Whether there is a plain file. `shown`: its path in the container."""
        file = open_file(top, path)
        if file is None:
            return False
        try:
            self._scores, self._path = _read_open(file, shown), shown
        except ScoresError as error:
            raise type(error)(f"{shown}: {error}") from None
        return True


def without_scores(reply):
    """A job's reply for an API that has no scores: they are in the result's value."""
    found = {key: reply[key] for key in KEYS if key in reply}
    rest = {key: value for key, value in reply.items() if key not in (*KEYS, "owner")}
    return {**rest, "result": {**reply["result"], **found}}


def _read_open(file, path):
    with file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ScoresError(f"it holds more than {MAX_FILE_BYTES} bytes")
    return read_scores(content, path)


def _is_below(path, top):
    return path == top or path.startswith(f"{top}/")
