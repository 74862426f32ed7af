"""Grading runs to submit."""

import time


def stage(**more):
    return {"image": "alpine:3.20", **more}


def students(count, prefix="student"):
    return [{"NETID": f"{prefix}{number}"} for number in range(count)]


def run_of(count=1, pre=False, post=False, **more):
    """A run of `count` students, with one stage in each pipeline that it has."""
    definition = {"student_pipeline": [stage(env={"NETID": ""})], "students": students(count)}
    if pre:
        definition["preprocessing_pipeline"] = [stage(env={"STEP": "pre"})]
    if post:
        definition["postprocessing_pipeline"] = [stage(env={"STEP": "post"})]
    return {**definition, **more}


def own_limits():
    """A pipeline with a time limit that no other test uses: what is usual for a job is learned by it."""
    number = int(time.monotonic() * 1000) % 100000 / 1000 + 60
    return {"student_pipeline": [{"image": "alpine:3.20", "timeout": number}]}


def long_run_of(count=1, **more):
    """The same with a definition that is too long for the run's own document."""
    return run_of(count, env={"PADDING": "x" * 5000}, **more)


def without(definition, key):
    return {name: value for name, value in definition.items() if name != key}


# What a grader reads of a stage, in both protocols, and per key: values that are accepted, values that are refused.
CONFINED = {
    "cpus": 0.1,
    "pids": 64,
    "disk": "1g",
    "user": "1000:staff",
    "read_only": True,
    "results": "/job/results.json",
    "secret_env": ["NETID"],
}
CONFINING_VALUES = {
    "cpus": ([0.01, 0.1, 2, 1024], [0, 0.009, -1, 1024.5, "2", None]),
    "pids": ([1, 4194304], [0, -1, 1.5, 4194305, "64", True]),
    "disk": (["0", "10G", "9" * 15 + "b"], ["", "1gb", "0.5g", "m", "1g\n", "9" * 16, 512]),
    "user": (["0", "1000:1000", "www-data:_x.y", "u" * 256], ["", "u" * 257, "-1", "a:", ":a", "a b", "a\n", "ü", 0]),
    "read_only": ([True, False], ["yes", 1, None]),
    "results": (
        ["/job/results.json", "/a/b", "/grade/results/results.json", "/job/.x/..y"],
        [
            "",
            "/",
            "/results.json",
            "job/r.json",
            "/job/",
            "/job//r",
            "/job/../r",
            "/job/.",
            "/a/b c",
            "/a/b,c",
            "/a/b\n",
            1,
        ],
    ),
    "secret_env": ([[], ["A", "a.b"], ["A"] * 64], ["A", [""], ["a=b"], ["x" * 256], ["A"] * 65, None]),
}


PRE, STUDENT, POST = 0, 1, 2


def kind_of(job_id):
    """The kind of a job, which is the digit after the 24 digits of its run."""
    return int(job_id[24], 16)


def job_id_of(run, kind, index=0):
    return f"{run}{kind:x}{index:07x}"
