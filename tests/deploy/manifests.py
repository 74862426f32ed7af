"""Renders deploy/kubernetes, and queries the documents."""

import functools
import subprocess
from pathlib import Path

import yaml
from tools import tools

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = sorted(f"overlays/{path.name}" for path in (KUBERNETES / "overlays").iterdir())
RENDERED = ["base", *OVERLAYS]


def render_directory(directory):
    """The YAML of any kustomization."""
    done = subprocess.run(
        [tools("kubectl") / "bin/kubectl", "kustomize", directory], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{directory} doesn't render: {done.stderr}"
    return done.stdout


@functools.cache
def render(name):
    """The YAML of "base" or "overlays/NAME"."""
    return render_directory(KUBERNETES / name)


def parse(text):
    """Its documents."""
    return [document for document in yaml.safe_load_all(text) if document]


def documents(name):
    """All documents of "base" or "overlays/NAME"."""
    return parse(render(name))


def title(document):
    """The document's title for messages: "Deployment broadway/broadway-api"."""
    metadata = document["metadata"]
    return f"{document['kind']} {metadata.get('namespace', '-')}/{metadata['name']}"


def of_kind(found, kind):
    """{name: document} of one kind."""
    return {document["metadata"]["name"]: document for document in found if document["kind"] == kind}


def workloads(found):
    """The workloads: documents that create pods."""
    return [document for document in found if document["kind"] in ("Deployment", "StatefulSet")]


def pod_spec(workload):
    return workload["spec"]["template"]["spec"]


def containers(workload):
    spec = pod_spec(workload)
    return [*spec.get("initContainers", []), *spec["containers"]]


def settings(found, name):
    """The data of the generated ConfigMap whose name begins so; generators add a hash."""
    maps = [data for key, data in of_kind(found, "ConfigMap").items() if key.rpartition("-")[0] == name]
    assert len(maps) == 1, f"there are {len(maps)} ConfigMaps {name}"
    return maps[0]["data"]
