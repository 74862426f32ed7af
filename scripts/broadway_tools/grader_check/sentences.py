"""The sentences of docs/protocol.md that scenarios check, and advice where that page says nothing binding."""

from dataclasses import dataclass

PAGE = "docs/protocol.md"


@dataclass(frozen=True)
class Sentence:
    """A sentence with the name by which scenarios refer to it. `quote` is in the page literally, white space apart.

    Advice (`is_binding` false) doesn't count for the exit status; without an anchor its text is this tool's own."""

    name: str
    anchor: str
    quote: str
    is_binding: bool = True


def _binding(anchor: str, **quotes: str) -> list[Sentence]:
    return [Sentence(name.replace("_", "-"), anchor, quote) for name, quote in quotes.items()]


def _advice(anchor: str, **quotes: str) -> list[Sentence]:
    return [Sentence(name.replace("_", "-"), anchor, quote, False) for name, quote in quotes.items()]


SENTENCES = [
    *_binding(
        "in-one-minute",
        loop="Then it **polls** for a job, runs the job's stages and **reports** the result, in a loop",
    ),
    *_binding(
        "requests-and-answers",
        known_arguments="An argument that the endpoint doesn't have is refused.",
        equal_arguments="An argument may be given both in the query and in the body if the two values are equal",
        valid_json="**JSON** must be UTF-8",
        same_ids="Ids are compared case-sensitively",
    ),
    *_binding(
        "the-environment-of-a-stage",
        env_list="A grader gets, for each stage, a list of `NAME=value` in this order",
        env_literal="all values of 1 and 2, are literal: nothing is expanded twice",
        env_last="A name may occur more than once in the list; the last entry counts.",
        env_size="An entry `NAME=value` and an argument in `entrypoint` take at most 131,072 bytes including the"
        " terminating NUL",
        env_total="All entries and arguments of a stage together take at most 2,031,616 bytes",
    ),
    *_binding(
        "post-apiv1grading_run",
        entrypoint="the command and its arguments, in place of the image's",
        timeout="enforced by the grader",
        logs_false="false: the grader leaves this stage's output out of the result's `logs`",
    ),
    *_binding(
        "get-apiv1worker_register",
        token="required: the cluster token",
        hostname="string of at most 255 bytes, no control characters",
        concurrency="integer from 1 to 1000",
        heartbeats_stated="A grader that states a `hostname` or a `concurrency` must send heartbeats, also while a job"
        " runs",
    ),
    *_binding(
        "get-apiv1grading_job",
        wait="number of seconds from 0 to 60",
        register_first="`worker 'ffffffffffffffffffffffffffffffff' is not known: register first`",
    ),
    *_binding(
        "post-apiv1grading_jobjob_id",
        result="in JSON any value, `null` included; else a string | required.",
        success="default true. false: the job has failed",
        same_result="Repeating the same result (equal `result`, `success`, `logs`, `files` and scores, by the same"
        " worker) is answered 200 and changes nothing",
    ),
    *_binding(
        "post-apiv1heartbeat",
        heartbeats="Send a heartbeat every `heartbeat` seconds (the number in the registration's answer), including"
        " while a job runs.",
    ),
    *_binding(
        "cancelled-jobs",
        ends_cancelled="The grader ends such a job, sends no result, and takes the next one.",
    ),
    *_binding(
        "job-lifecycle",
        always_report="So always report a finished job.",
        late="the answer is 400 with this reason: drop the result and continue",
        run_once="A grader may therefore receive the same `job_id` and `attempt` twice: run it once.",
        free_slot="So poll only with a free slot.",
        shutdown="Finish your jobs, report them, and stop polling.",
    ),
    *_binding(
        "a-whole-grader",
        directory="each job has a fresh, empty directory, which its stages share one after the other",
        working_directory="It is their working directory, its path is in the variable `JOB_DIR`",
        students="written into that directory before the first stage, in the jobs before and after the students",
        result_json="a JSON file that a stage may write there; it becomes part of the job's result",
        stage_fails="then no further stage runs, and the job has failed",
        logs='stdout and stderr of all stages, except those with `"logs": false`',
    ),
    *_binding(
        "retries",
        no_answer="none: the connection was refused, broke or timed out | repeat the request",
        retry_after="503 | repeat the request after `Retry-After` seconds",
        once_or_twice="500 | repeat the request once or twice",
        poll_again="498 | poll again, at once",
        unchanged="don't repeat the request unchanged: the answer would be the same",
        repeat_report="repeat it until the answer is something other than 503.",
        final="400 is final",
    ),
    *_binding(
        "classic-clients-and-graders",
        unknown_keys="Programs that reject unknown keys in answers must accept these.",
    ),
    *_advice(
        "get-apiv1worker_register",
        shorten="A grader should shorten its output to these limits",
    ),
    *_advice(
        "get-apiv1grading_job",
        client_timeout="The client's own timeout should be a few seconds longer than `wait`.",
    ),
    *_advice(
        "",
        poll_rate="Empty answers that come at once are followed by at most 10 polls a second for each slot.",
        exact_pause="`Retry-After` is the shortest pause (RFC 9110), so a pause is varied only upwards.",
        stays_up="A grader continues after each of these answers; it doesn't end.",
    ),
]
BY_NAME = {sentence.name: sentence for sentence in SENTENCES}
