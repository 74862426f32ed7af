"""What a run would be: its jobs with their expanded environments, computed without a server.

docs/protocol.md and docs/protocol-course.md define the environments. The server checks more than this: what is said
here is what an author gets wrong most.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TEXT, NUMBER, BOOLEAN, LIST, OBJECT = "a string", "a number", "true or false", "a list", "an object"
_TYPES = {TEXT: str, NUMBER: (int, float), BOOLEAN: bool, LIST: list, OBJECT: dict}

_STAGE = {
    "image": TEXT,
    "env": OBJECT,
    "entrypoint": LIST,
    "networking": BOOLEAN,
    "hostname": TEXT,
    "timeout": NUMBER,
    "memory": TEXT,
    "cpuset_cpus": TEXT,
    "cpus": NUMBER,
    "pids": NUMBER,
    "disk": TEXT,
    "user": TEXT,
    "read_only": BOOLEAN,
    "results": TEXT,
    "secret_env": LIST,
    "privileged": BOOLEAN,
    "logs": BOOLEAN,
}
_STAGE_CLASSIC = _STAGE | {"enable_networking": BOOLEAN, "host_name": TEXT}
# What limits or widens a stage, in the order in which people look for it.
LIMITS = ("timeout", "memory", "cpus", "pids", "disk", "cpuset_cpus", "user", "read_only", "networking", "privileged")
_LIMIT_NAMES = {"enable_networking": "networking"}

_RUN = {
    "student_pipeline": LIST,
    "students": LIST,
    "preprocessing_pipeline": LIST,
    "postprocessing_pipeline": LIST,
    "env": OBJECT,
    "priority": NUMBER,
    "name": TEXT,
    "labels": OBJECT,
    "class": TEXT,
    "requires": LIST,
    "submitter": TEXT,
    "max_attempts": NUMBER,
    "breaker": None,
    "files": LIST,
    "student_files": LIST,
    "owner_rules": LIST,
    "supersede_key": TEXT,
    "supersede_keys": LIST,
    "supersede_share": NUMBER,
    "webhooks": LIST,
}
_CONFIG = {
    "student_pipeline": LIST,
    "pre_processing_pipeline": LIST,
    "post_processing_pipeline": LIST,
    "env": OBJECT,
    "owner_rules": LIST,
}
# What stands in a plan for ids that only the server knows.
RUN_ID, JOB_ID = "<id of the run>", "<id of the job>"
MASK = "***"


@dataclass
class PlannedStage:
    """A stage of a job: its expanded environment, and its size in bytes as it is handed out."""

    place: str
    image: str
    entrypoint: list[str]
    env: dict[str, Any]
    secrets: frozenset[str]
    limits: dict[str, Any]
    size: int

    def shown_env(self) -> dict[str, Any]:
        """The environment without the values of `secret_env`."""
        return {name: MASK if name in self.secrets else value for name, value in self.env.items()}


@dataclass
class PlannedJob:
    """A job: `student` is its place in the list of students, or None for the job before or after them."""

    kind: str
    student: int | None
    env: dict[str, Any]
    stages: list[PlannedStage]

    @property
    def size(self) -> int:
        """Bytes of the job's stages as compact JSON."""
        return 2 + max(0, len(self.stages) - 1) + sum(stage.size for stage in self.stages)


@dataclass
class Plan:
    """A run before it is submitted. `problems` are sentences; a run with any will be refused."""

    jobs: list[PlannedJob] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def images(self) -> list[str]:
        """All images, each once."""
        return sorted({stage.image for job in self.jobs for stage in job.stages})

    @property
    def most_seconds(self) -> float | None:
        """The sum of the timeouts of all stages of all jobs; None if a stage has none."""
        timeouts = [stage.limits.get("timeout") for job in self.jobs for stage in job.stages]
        return None if None in timeouts else sum(timeouts)


def plan_run(definition: dict[str, Any]) -> Plan:
    """The plan of a run of the classic protocol."""
    plan = Plan(problems=_shape_problems(definition, _RUN, ("student_pipeline", "students"), _STAGE_CLASSIC))
    plan.problems += _env_problems("env", definition.get("env", {}))
    for index, student in enumerate(_list(definition, "students")):
        plan.problems += _env_problems(f"students[{index}]", student)
    if not plan.problems:
        run_env = definition.get("env", {})
        for kind, pipeline, students in (
            ("preprocessing", "preprocessing_pipeline", [None]),
            ("student", "student_pipeline", list(enumerate(definition["students"]))),
            ("postprocessing", "postprocessing_pipeline", [None]),
        ):
            for student in students if definition.get(pipeline) or kind == "student" else []:
                plan.jobs.append(_classic_job(kind, pipeline, definition, run_env, student, plan.problems))
    return plan


def plan_config(config: dict[str, Any], students: list[dict[str, Any]]) -> Plan:
    """The plan of a run of an assignment with this config, in the course protocol."""
    plan = Plan(problems=config_problems(config))
    if plan.problems:
        return plan
    for kind, pipeline, envs in (
        ("preprocessing", "pre_processing_pipeline", [(None, {})]),
        ("student", "student_pipeline", list(enumerate(students))),
        ("postprocessing", "post_processing_pipeline", [(None, {})]),
    ):
        stages = config.get(pipeline) or []
        for index, student in envs if stages or kind == "student" else []:
            merged = [
                {**config.get("env", {}), "GRADING_RUN_ID": RUN_ID, **stage.get("env", {}), **student,
                 "GRADING_JOB_ID": JOB_ID}
                for stage in stages
            ]  # fmt: skip
            planned = [
                _stage(f"{pipeline}[{place}]", stage, env, env)
                for place, (stage, env) in enumerate(zip(stages, merged, strict=True))
            ]
            plan.jobs.append(PlannedJob(kind, index, student, planned))
    return plan


def config_problems(config: dict[str, Any]) -> list[str]:
    """What is wrong with the config of an assignment of a course, a sentence each."""
    present = {
        key: value
        for key, value in config.items()
        if value is not None or key not in ("pre_processing_pipeline", "post_processing_pipeline", "env")
    }
    return _shape_problems(present, _CONFIG, ("student_pipeline",), _STAGE)


def _classic_job(
    kind: str,
    pipeline: str,
    definition: dict[str, Any],
    run_env: dict[str, str],
    student: tuple[int, dict[str, str]] | None,
    problems: list[str],
) -> PlannedJob:
    index, env = student if student is not None else (None, {})
    stages = []
    for place, stage in enumerate(definition[pipeline]):
        where = f"{pipeline}[{place}].env" + (f", student {index}" if index is not None else "")
        own = {}
        for name, value in stage.get("env", {}).items():
            own[name], problem = _resolve(name, value, run_env, env)
            if problem is not None:
                problems.append(f"{where}: {problem}")
        pairs = [f"{name}={value}" for part in (run_env, env, own) for name, value in part.items()]
        stages.append(_stage(f"{pipeline}[{place}]", stage, {**run_env, **env, **own}, pairs))
    return PlannedJob(kind, index, env, stages)


def _resolve(name: str, value: str, run_env: dict[str, str], student: dict[str, str]) -> tuple[str, str | None]:
    """The value of a stage's own variable, and the problem with it, if any."""
    if value and not value.startswith("$"):
        return value, None
    source = value[1:] or name
    if source in run_env:
        return run_env[source], None
    if source in student:
        return student[source], None
    return "", f"{name} refers to {source!r}, which neither the run's nor the student's env has"


def _stage(place: str, stage: dict[str, Any], env: dict[str, Any], handed_out: Any) -> PlannedStage:
    limits = {_LIMIT_NAMES.get(name, name): value for name, value in stage.items()}
    text = json.dumps({**stage, "env": handed_out}, ensure_ascii=False, separators=(",", ":"))
    return PlannedStage(
        place=place,
        image=stage["image"],
        entrypoint=stage.get("entrypoint", []),
        env=env,
        secrets=frozenset(stage.get("secret_env", [])),
        limits={name: limits[name] for name in LIMITS if name in limits},
        size=len(text.encode("utf-8", "surrogatepass")),
    )


# ---- The form of a definition ----


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    return value if isinstance(value, list) else []


def _shape_problems(
    document: dict[str, Any], keys: dict[str, Any], required: tuple[str, ...], stage_keys: dict[str, str]
) -> list[str]:
    problems = [f"{key}: is required" for key in required if key not in document]
    problems += _key_problems("", document, keys)
    for pipeline in (key for key in keys if key.endswith("pipeline")):
        for place, stage in enumerate(_list(document, pipeline)):
            problems += _stage_problems(f"{pipeline}[{place}]", stage, stage_keys)
    return problems


def _stage_problems(where: str, stage: Any, keys: dict[str, str]) -> list[str]:
    if not isinstance(stage, dict):
        return [f"{where}: must be an object"]
    problems = _key_problems(where, stage, keys)
    if "image" not in stage:
        problems.append(f"{where}.image: is required")
    for key in ("entrypoint", "secret_env"):
        if any(not isinstance(item, str) for item in _list(stage, key)):
            problems.append(f"{where}.{key}: must be a list of strings")
    if "enable_networking" in keys:
        problems += _env_problems(f"{where}.env", stage.get("env", {}))
    return problems


def _key_problems(where: str, document: dict[str, Any], keys: dict[str, Any]) -> list[str]:
    problems = []
    for key, value in document.items():
        at = f"{where}.{key}" if where else key
        if key not in keys:
            problems.append(f"{where}: unknown key {key!r}" if where else f"unknown key {key!r}")
        elif keys[key] is not None and not _is_of(value, keys[key]):
            problems.append(f"{at}: must be {keys[key]}")
    return problems


def _is_of(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == BOOLEAN or not isinstance(value, bool))


def _env_problems(where: str, env: Any) -> list[str]:
    if not isinstance(env, dict):
        return [f"{where}: must be an object"]
    problems = [f"{where}: {name!r} is not the name of a variable" for name in env if not NAME.fullmatch(name)]
    return problems + [f"{where}.{name}: must be a string" for name, value in env.items() if not isinstance(value, str)]
