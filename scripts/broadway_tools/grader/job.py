"""Runs one job: its stages in order, in one directory, until the first that fails."""

import contextlib
import json
import logging
import time

from broadway_tools.grader.faults import MIB, Fault, check_disk, directory_fault, free_bytes
from broadway_tools.grader.job_files import INPUT, FilesError
from broadway_tools.grader.live_log import STREAMS
from broadway_tools.grader.masks import Mask, MaskedSink, log_masks
from broadway_tools.grader.output import MAX_OUTPUT_FILE, HeadTail, Tee, parse_result_file
from broadway_tools.grader.results import JobResults
from broadway_tools.grader.scores_model import ScoresError
from broadway_tools.grader.stage import Outcome, StageError, parse_stage
from broadway_tools.grader.workspace import Workspace

# Limit of each stage's stdout and stderr in the result; the logs have up to --max-log-bytes.
EXCERPT_BYTES = 8192
RESULT_FILE = "result.json"
# The API ends an attempt that takes a minute more than the limits of its stages. A job whose images are not here before
# that is returned, so that no attempt is lost.
PULL_GRACE_S = 30
# Keys of a stage's report that are there only if the runner knows them.
FIGURES = ("timed_out", "signal", "oom_killed", "image_digest", "peak_memory", "cpu_seconds")

log = logging.getLogger("grader")


class Job:
    """The execution of a hand-out. Call `run` once, from one thread; `kill` at any time, from another."""

    def __init__(self, handout, runner, settings, files=None, live=None):
        self.id = handout["job_id"]
        self.is_cancelled = False
        self._handout = handout
        self._runner = runner
        self._settings = settings
        self._files = files  # JobFiles; None if the API has none
        self._cpuset = None
        self._results = None  # JobResults, while it runs
        self._is_scored = True  # no file with scores was malformed
        self._live = live  # LiveLog; None if the API takes no chunks
        self._stdout, self._stderr = (
            HeadTail(settings.max_log_bytes, settings.work_dir, live and live.sink(stream)) for stream in STREAMS
        )
        self._mask = Mask()
        self._pull_until = None

    def run(self):
        """What came of it: {"success", "result", "logs": a HeadTail of each}, and perhaps "files", "score",
        "max_score", "tests" and "owner". A job without stages succeeds. Raises Fault if this machine can't run it."""
        # A stage may print what an earlier one has left: each value is masked in all of them.
        stages = [parse_stage(fields, self._settings.stage_timeout_s) for fields in self._handout["stages"]]
        self._pull_until = time.monotonic() + sum(stage.timeout_s for stage in stages) + PULL_GRACE_S
        self._mask = Mask(value for stage in stages for value in stage.secrets())
        with log_masks.of(self._mask), self._live or contextlib.nullcontext():
            try:
                return self._run_masked()
            except Fault as fault:
                fault.args = (self._mask.text(str(fault)),)
                raise

    def _run_masked(self):
        reply = None
        try:
            with self._processors(), Workspace(self._settings.work_dir, self._runner.DIRECTORY_MODE) as workspace:
                reply = self._run_in(workspace)
        except OSError as error:
            if reply is None:
                raise directory_fault(error) from error
            log.error("job %s: its directory could not be removed: %s", self.id, error)
        return reply

    def cancel(self):
        """Ends the running stage by TERM and, after a grace, KILL: its result is not needed. No other stage starts."""
        self.is_cancelled = True
        self._runner.end(self._settings.stop_grace_s)

    def kill(self):
        """Kills the running stage; no other stage starts."""
        self._runner.kill()

    @contextlib.contextmanager
    def _processors(self):
        """While the context is open, stages without processors of their own run on those of the slot."""
        with self._settings.cpusets.borrow() if self._settings.cpusets else contextlib.nullcontext() as cpus:
            self._cpuset = cpus
            yield

    def _run_in(self, workspace):
        if "students" in self._handout:
            workspace.add("students.json", json.dumps(self._handout["students"]))
        files, refusal = [], {}
        self._results = JobResults(workspace, self._handout["stages"], self._note, self._settings.has_default_results)
        stages, success = [], False
        try:
            self._give_files(workspace)
            stages, success = self._run_stages(workspace)
            files = self._mask_paths(self._take_files(workspace, success))
        except FilesError as error:
            self._note(str(error))
            success, refusal = False, {"error": str(error)}
        report = self._results.report() if self._is_scored else {}
        output = {**_read_output(workspace), **report, **refusal}
        masked = {name: self._mask.value(value) for name, value in output.items()}
        result = {"success": success, "stages": stages, **masked}
        logs = {"stdout": self._stdout, "stderr": self._stderr}
        scores = self._mask.value(self._results.reply(), masks_names=False) if self._is_scored else {"owner": "course"}
        more = {**({"files": files} if files else {}), **scores}
        return {"success": success, "result": result, "logs": logs, **more}

    def _run_stages(self, workspace):
        """(reports, all succeeded)"""
        stages, success = [], True
        for fields in self._handout["stages"]:
            report, success = self._run_stage(fields, workspace)
            stages.append(report)
            if not success:
                break
        if stages and self._is_scored and (note := self._results.finish()):
            stages[-1]["note"] = self._mask.text(note)
        return stages, success

    def _take_scores(self, stage, outcome, report):
        """Whether the file that the stage names is not malformed; else its report says how."""
        try:
            self._results.take(stage, outcome)
        except ScoresError as error:
            self._is_scored = False
            report["error"] = str(error)
            self._note(str(error))
        return self._is_scored

    def _give_files(self, workspace):
        entries = self._handout.get("files")
        if not entries:
            return
        if self._files is None:
            raise Fault("files", "the job has files, of which this API said nothing at the registration")
        self._files.give(entries, workspace)
        if workspace.inputs.exists():
            self._runner.give_inputs(workspace.inputs, workspace.path / INPUT)

    def _take_files(self, workspace, success):
        if self._files is None:
            return []
        try:
            return self._files.take(workspace, success and self._may_share(), self._note)
        except (Fault, OSError) as error:
            filled = self._clear_disk(workspace) if _is_about_disk(error) else None
            if filled is None:
                raise
            raise FilesError(filled) from error

    def _mask_paths(self, files):
        """Of files whose paths are the same then, the first stays."""
        masked = {}
        for entry in files:
            masked.setdefault(self._mask.text(entry["path"]), entry)
        return [{**entry, "path": path} for path, entry in masked.items()]

    def _may_share(self):
        """Whether it may be the job before the students; the one after them looks the same."""
        return "students" in self._handout

    def _note(self, sentence):
        """A line at the end of the job's log."""
        self._stderr.write(f"[{self._mask.text(sentence)}]\n".encode())

    def _attempt(self, stage, workspace, sinks):
        """The Outcome of a stage. Raises Fault, OSError."""
        filled = None
        try:
            self._results.prepare(stage)
            outcome = self._runner.run(stage, workspace.path, *sinks)
        except StageError as error:
            outcome = Outcome(error=str(error))
        except (Fault, OSError) as error:
            filled = self._clear_disk(workspace) if _is_about_disk(error) else None
            if filled is None:
                raise
            outcome = Outcome()
        if not outcome.succeeded:
            sentences = outcome.error, filled or self._clear_disk(workspace)
            outcome.error = "; ".join(filter(None, sentences)) or None
        return outcome

    def _clear_disk(self, workspace):
        """A sentence if the disk was full of what this job has written, which is removed then; None if the disk is not
        full. Raises Fault if it is full of something else."""
        directory, least = self._settings.work_dir, self._settings.min_free_bytes
        try:
            check_disk(directory, least)
            return None
        except Fault as fault:
            own = workspace.size()
            if fault.kind != "disk" or own + free_bytes(directory) < least:
                raise
        workspace.empty()
        check_disk(directory, least)
        return f"its output filled the disk of the grader: the {own // MIB} MiB of the job's files were removed"

    def _run_stage(self, fields, workspace):
        """(report, succeeded)"""
        stage = parse_stage(fields, self._settings.stage_timeout_s)
        stage.pinned_digest = self._handout.get("image_digests", {}).get(stage.image)
        stage.pull_until = self._pull_until
        stage.cpuset_cpus = stage.cpuset_cpus or self._cpuset
        stdout, stderr = HeadTail(EXCERPT_BYTES), HeadTail(EXCERPT_BYTES)
        out, err = (Tee(stdout, self._stdout), Tee(stderr, self._stderr)) if stage.logs else (Tee(), Tee())
        out, err = MaskedSink(out, self._mask), MaskedSink(err, self._mask)
        outcome = self._attempt(stage, workspace, (out, err))
        out.flush()
        err.flush()
        report = {
            "image": stage.image,
            "exit_code": outcome.exit_code,
            "seconds": outcome.seconds,
            "killed": outcome.killed,
            **{key: value for key in FIGURES if (value := getattr(outcome, key)) is not None},
            "stdout": stdout.text(),
            "stderr": stderr.text(),
        }
        if outcome.error:
            report["error"] = outcome.error
        is_scored = self._take_scores(stage, outcome, report)
        if "error" in report:
            report["error"] = self._mask.text(report["error"])
        return report, outcome.succeeded and is_scored


def _is_about_disk(error):
    """Whether this Fault or OSError is about a disk that is full, or can't be written."""
    fault = error if isinstance(error, Fault) else directory_fault(error)
    return fault.kind == "disk"


def _read_output(workspace):
    """{"output": the content of result.json}, {} if there is none, {"output_error"} if it is invalid."""
    try:
        content = workspace.read(RESULT_FILE, MAX_OUTPUT_FILE)
        return {} if content is None else {"output": parse_result_file(content)}
    except ValueError as error:
        return {"output_error": f"{RESULT_FILE}: {error}"}
