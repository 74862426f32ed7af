"""The grader's metrics, as Prometheus text."""

import threading

# name → (type, help, labels)
METRICS = {
    "broadway_grader_jobs_total": (
        "counter",
        "Jobs by how they ended, infrastructure: by a fault here",
        ("outcome",),
    ),
    "broadway_grader_running_jobs": ("gauge", "Jobs that run", ()),
    "broadway_grader_slots": ("gauge", "Jobs that may run at a time", ()),
    "broadway_grader_healthy": (
        "gauge",
        "1 while this machine can run jobs, 0 after a fault of it",
        (),
    ),
    "broadway_grader_draining": ("gauge", "1 after a signal to stop", ()),
    "broadway_grader_faults_total": (
        "counter",
        "Faults of this machine: engine, disk, directory, registry, image",
        ("kind",),
    ),
    "broadway_grader_pulls_total": ("counter", "Images pulled", ()),
    "broadway_grader_swept_containers_total": ("counter", "Containers of dead graders that were removed", ()),
    "broadway_grader_swept_directories_total": ("counter", "Directories of dead graders that were removed", ()),
}


class Metrics:
    """Any thread may call."""

    def __init__(self):
        self._lock = threading.Lock()
        self._values = {(name, ()): 0 for name, (_, _, labels) in METRICS.items() if not labels}

    def add(self, name, amount=1, **labels):
        """Adds to a counter or a gauge."""
        with self._lock:
            key = name, tuple(labels.items())
            self._values[key] = self._values.get(key, 0) + amount

    def set(self, name, value):
        """Sets a gauge."""
        with self._lock:
            self._values[name, ()] = value

    def text(self):
        """All of them."""
        with self._lock:
            values = sorted(self._values.items())
        lines = []
        for name, (kind, what, _) in METRICS.items():
            lines += [f"# HELP {name} {what}.", f"# TYPE {name} {kind}"]
            lines += [f"{name}{_labels(labels)} {value:g}" for (own, labels), value in values if own == name]
        return "\n".join(lines) + "\n"


def _labels(labels):
    inner = ",".join(f'{name}="{value}"' for name, value in labels)
    return f"{{{inner}}}" if inner else ""
