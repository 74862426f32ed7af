"""Runs one job: its stages in order, in one directory, until the first that fails."""

import json
import logging

from broadway_tools.grader.output import MAX_OUTPUT_FILE, HeadTail, parse_result_file
from broadway_tools.grader.stage import Outcome, StageError, parse_stage
from broadway_tools.grader.workspace import Workspace

# Of each stage's stdout and stderr, in the result; the whole (up to --max-log-bytes) is in the logs.
EXCERPT_BYTES = 8192
RESULT_FILE = "result.json"

log = logging.getLogger("grader")


class Tee:
    """Writes to several sinks at once."""

    def __init__(self, *sinks):
        self._sinks = sinks

    def write(self, chunk):
        """Passes a chunk of bytes on."""
        for sink in self._sinks:
            sink.write(chunk)


class Job:
    """A hand-out on its way to a result. `run` once, from one thread; `kill` at any time from another."""

    def __init__(self, handout, runner, settings):
        self.id = handout["job_id"]
        self._handout = handout
        self._runner = runner
        self._settings = settings
        self._stdout = HeadTail(settings.max_log_bytes)
        self._stderr = HeadTail(settings.max_log_bytes)

    def run(self):
        """What to post: {"success", "result", "logs"}. A job without stages succeeds."""
        reply = None
        try:
            with Workspace(self._settings.work_dir, self._runner.DIRECTORY_MODE) as workspace:
                reply = self._run_in(workspace)
        except OSError as error:
            if reply is None:
                raise
            log.error("job %s: its directory could not be removed: %s", self.id, error)
        return reply

    def kill(self):
        """Ends the running stage; no other starts."""
        self._runner.kill()

    def _run_in(self, workspace):
        if "students" in self._handout:
            workspace.add("students.json", json.dumps(self._handout["students"]))
        stages, success = [], True
        for fields in self._handout["stages"]:
            report, success = self._run_stage(fields, workspace)
            stages.append(report)
            if not success:
                break
        result = {"success": success, "stages": stages, **_read_output(workspace)}
        logs = {"stdout": self._stdout.text(), "stderr": self._stderr.text()}
        return {"success": success, "result": result, "logs": logs}

    def _run_stage(self, fields, workspace):
        """(report, succeeded)"""
        stage = parse_stage(fields, self._settings.stage_timeout_s)
        stdout, stderr = HeadTail(EXCERPT_BYTES), HeadTail(EXCERPT_BYTES)
        try:
            out, err = (Tee(stdout, self._stdout), Tee(stderr, self._stderr)) if stage.logs else (stdout, stderr)
            outcome = self._runner.run(stage, workspace.path, out, err)
        except StageError as error:
            outcome = Outcome(error=str(error))
        report = {
            "image": stage.image,
            "exit_code": outcome.exit_code,
            "seconds": outcome.seconds,
            "killed": outcome.killed,
            "stdout": stdout.text(),
            "stderr": stderr.text(),
        }
        if outcome.error:
            report["error"] = outcome.error
        return report, outcome.succeeded


def _read_output(workspace):
    """{"output": what the job left in result.json}, {} if nothing, {"output_error"} if it is no good."""
    try:
        content = workspace.read(RESULT_FILE, MAX_OUTPUT_FILE)
        return {} if content is None else {"output": parse_result_file(content)}
    except ValueError as error:
        return {"output_error": f"{RESULT_FILE}: {error}"}
