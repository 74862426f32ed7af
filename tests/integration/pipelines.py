"""Grading runs to submit."""


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


def long_run_of(count=1, **more):
    """The same, too long to stand in its run's own document."""
    return run_of(count, env={"PADDING": "x" * 5000}, **more)


def without(definition, key):
    return {name: value for name, value in definition.items() if name != key}


PRE, STUDENT, POST = 0, 1, 2


def kind_of(job_id):
    """Job ids are computed: after the run's 24 digits comes the kind."""
    return int(job_id[24], 16)


def job_id_of(run, kind, index=0):
    return f"{run}{kind:x}{index:07x}"
