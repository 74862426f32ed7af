"""The manifests with a real kube-apiserver: it accepts all of them, and refuses invalid ones."""

import copy
import json

import manifests
import pytest
from apiserver import ApiServer
from manifests import documents, of_kind, pod_spec, render, title, workloads
from test_manifests import MISSPELT

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = ApiServer(tmp_path_factory.mktemp("apiserver"))
    try:
        started.start()
        # Namespaces must exist before objects in them.
        namespaces = list(of_kind(documents("overlays/production"), "Namespace").values())
        listed = {"apiVersion": "v1", "kind": "List", "items": namespaces}
        status, said = started.kubectl("create", "-f", "-", text=json.dumps(listed))
        assert status == 0, said
        yield started
    finally:
        started.stop()


@pytest.mark.parametrize("name", manifests.RENDERED)
def test_the_server_accepts_every_document(server, name, capsys):
    status, said = server.dry_run(render(name))
    assert status == 0, said
    assert "Warning" not in said, said
    count = len(documents(name))
    assert said.count("serverside-applied (server dry run)") == count, said
    with capsys.disabled():
        print(f"\n{name}: {count} documents accepted by kube-apiserver {server.version()}")


@pytest.mark.parametrize("kind", MISSPELT)
def test_the_server_rejects_a_misspelt_field(server, kind):
    document = copy.deepcopy(next(iter(of_kind(documents("overlays/production"), kind).values())))
    *path, field = MISSPELT[kind]
    place = document
    for step in path:
        place = place[step]
    place[field] = 1
    status, said = server.dry_run(json.dumps(document))
    assert status != 0 and field in said, said


def pod_of(workload):
    """A pod of the workload, with its claims as empty directories."""
    template = copy.deepcopy(workload["spec"]["template"])
    claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
    template["spec"].setdefault("volumes", []).extend({"name": name, "emptyDir": {}} for name in claims)
    metadata = {**template["metadata"], "name": "tried", "namespace": workload["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize("name", manifests.RENDERED)
def test_pods_pass_the_security_that_their_namespace_enforces(server, name):
    for workload in workloads(documents(name)):
        status, said = server.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(pod_of(workload)))
        assert status == 0, f"{title(workload)}: {said}"


def test_a_privileged_pod_is_refused_in_broadways_namespace(server):
    workload = of_kind(documents("overlays/production"), "Deployment")["broadway-grader"]
    pod = pod_of(workload)
    pod["metadata"]["namespace"] = "broadway"
    status, said = server.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(pod))
    assert status != 0 and "violates PodSecurity" in said, said
    assert pod_spec(workload)["containers"][0]["securityContext"]["privileged"] is True
