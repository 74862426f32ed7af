"""A rolling update according to the Deployments in deploy/kubernetes: order, signals and times.

Kubernetes is simulated; the processes are real. Per pod, with maxSurge 1 and maxUnavailable 0: a new pod starts;
minReadySeconds after its startup probe and readiness probe have passed, the old one is removed from the Service, and
gets preStop, SIGTERM, and SIGKILL after terminationGracePeriodSeconds.
"""

import os
import random
import signal
import time
from dataclasses import dataclass

from manifests import documents, of_kind, pod_spec, settings
from waiting import wait_until

OVERLAY = "overlays/production"
# The longest time until every proxy has removed an ending pod; preStop must be longer.
NEWS_S = 5


@dataclass(frozen=True)
class Times:
    """The times of a Deployment, in seconds."""

    min_ready: float
    pre_stop: float
    termination: float
    startup: float
    flags: tuple


def times_of(name):
    """The times of a Deployment, and the flags from its settings."""
    found = documents(OVERLAY)
    deployment = of_kind(found, "Deployment")[name]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    spec = pod_spec(deployment)
    container = spec["containers"][0]
    hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["/bin/sleep", "0"])
    probe = container["startupProbe"]
    flags = {**settings(found, "broadway-shared"), **settings(found, name)}
    return Times(
        min_ready=deployment["spec"]["minReadySeconds"],
        pre_stop=float(hook[1]),
        termination=spec["terminationGracePeriodSeconds"],
        startup=probe["periodSeconds"] * probe["failureThreshold"],
        flags=tuple(
            f"{key.removeprefix('BROADWAY_').lower().replace('_', '-')}={value}"
            for key, value in flags.items()
            if key != "BROADWAY_MONGODB_DATABASE"
        ),
    )


@dataclass
class Pod:
    """A process that stands for a pod."""

    name: str
    pid: int
    port: int  # the Service's target port, or None
    is_running: object
    said: object


def terminate(pod, times, stop_routing):
    """Terminates a pod. Returns the seconds from the signal to its end; fails if it had to be killed."""
    heard = random.uniform(0, NEWS_S)
    time.sleep(heard)  # until the proxies have removed the pod
    stop_routing()
    time.sleep(max(0, times.pre_stop - heard))  # the rest of the hook
    os.kill(pod.pid, signal.SIGTERM)
    begun = time.monotonic()
    wait_until(lambda: not pod.is_running(), times.termination - times.pre_stop, f"{pod.name} has left by itself")
    said = pod.said()
    assert "stopped" in said.splitlines()[-1], f"{pod.name} did not close in order: {said[-400:]}"
    assert "requests are left without an answer" not in said
    return time.monotonic() - begun


def roll(pods, times, start_new, route):
    """Replaces every pod. `start_new` returns one that is ready; `route` is called with the pods that accept
    connections."""
    spent = []
    for index in range(len(pods)):
        new = start_new(index)
        route([*pods, new])
        time.sleep(times.min_ready)
        assert new.is_running(), f"{new.name} has ended within minReadySeconds"
        old, pods[index] = pods[index], new
        spent.append(terminate(old, times, lambda: route(pods)))
    return spent
