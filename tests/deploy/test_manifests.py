"""The documents of deploy/kubernetes: valid, complete, and consistent with each other and with the binaries."""

import base64
import copy
import re

import flags
import jsonschema
import kubernetes_validate
import manifests
import pytest
import schemas
from manifests import ROOT, containers, documents, of_kind, pod_spec, render, settings, title, workloads
from tools import run, tools

each_rendered = pytest.mark.parametrize("name", manifests.RENDERED)
each_overlay = pytest.mark.parametrize("name", manifests.OVERLAYS)
INVALID = (kubernetes_validate.ValidationError, jsonschema.ValidationError, schemas.Unknown)

# The checks of kube-score that are ignored, with the reasons.
LET_BE = {
    "container-image-pull-policy": "images have versions or digests, which name one image for ever",
}


def seconds(container):
    """The seconds of its preStop hook."""
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "/bin/sleep", "the images have no shell to count on, but this"
    return float(command[1])


@pytest.mark.parametrize("version", schemas.VERSIONS)
@each_rendered
def test_every_document_is_valid_by_the_strict_schemas(name, version):
    found = documents(name)
    assert len(found) > 15
    for document in found:
        try:
            schemas.check(document, version)
        except INVALID as error:
            pytest.fail(f"{title(document)}, Kubernetes {version}: {error}")


MISSPELT = {
    "Deployment": ("spec", "template", "spec", "terminationGracePeriodSecond"),
    "StatefulSet": ("spec", "serviceNames"),
    "HorizontalPodAutoscaler": ("spec", "maxReplica"),
    "PodDisruptionBudget": ("spec", "maxUnavailabel"),
    "NetworkPolicy": ("spec", "policyType"),
    "Ingress": ("spec", "rule"),
    "Service": ("spec", "clusterIp"),
    "ScaledObject": ("spec", "maxReplicasCount"),
    "PrometheusRule": ("spec", "group"),
    "ServiceMonitor": ("spec", "endpoint"),
}


@pytest.mark.parametrize("kind", MISSPELT)
def test_a_misspelt_field_is_found(kind):
    document = copy.deepcopy(next(iter(of_kind(documents("overlays/production"), kind).values())))
    *path, field = MISSPELT[kind]
    place = document
    for step in path:
        place = place[step]
    place[field] = 1
    with pytest.raises(INVALID, match=field):
        schemas.check(document, schemas.VERSIONS[-1])


def test_a_kind_without_a_schema_is_not_valid():
    with pytest.raises(schemas.Unknown):
        schemas.check({"apiVersion": "v1", "kind": "Podd", "metadata": {"name": "x"}}, schemas.VERSIONS[-1])


@each_rendered
def test_the_linter_has_no_errors(name):
    linter = tools("kube-score") / "bin/kube-score"
    argv = [linter, "score", "--output-format=ci", "--ignore-container-cpu-limit", "--kubernetes-version=v1.28"]
    argv += [f"--ignore-test={check}" for check in LET_BE]
    status, said = run([*argv, "-"], input=render(name))
    complaints = [line for line in said.splitlines() if line.startswith("[CRITICAL]")]
    assert status == 0 and not complaints, "\n".join(complaints) or said


def test_the_linter_can_find_something():
    broken = render("base").replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    status, said = run([tools("kube-score") / "bin/kube-score", "score", "-"], input=broken)
    assert status != 0 and "ReadOnly" in said.replace(" ", "")


@each_rendered
def test_all_required_documents_exist(name):
    found = documents(name)
    kinds = {document["kind"] for document in found}
    assert {
        "Deployment",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "Service",
        "Secret",
    } <= kinds
    assert {"broadway-api", "broadway-scheduler"} <= set(of_kind(found, "Deployment"))
    assert {"broadway-api", "broadway-scheduler"} <= set(of_kind(found, "PodDisruptionBudget"))
    assert of_kind(found, "Deployment")["broadway-scheduler"]["spec"]["replicas"] == 2
    for workload in workloads(found):
        assert workload["metadata"]["name"] in of_kind(found, "PodDisruptionBudget"), title(workload)


def test_production_has_tls_monitoring_and_scaling():
    found = documents("overlays/production")
    kinds = {document["kind"] for document in found}
    assert {"Ingress", "ServiceMonitor", "PrometheusRule", "ScaledObject", "StatefulSet"} <= kinds
    database = of_kind(found, "StatefulSet")["mongodb"]
    assert database["spec"]["replicas"] == 3
    arguments = " ".join(database["spec"]["template"]["spec"]["containers"][0]["args"])
    assert "--tlsMode=requireTLS" in arguments and "--keyFile=" in arguments
    metrics = of_kind(found, "HorizontalPodAutoscaler")["broadway-api"]["spec"]["metrics"]
    named = {metric.get("pods", metric.get("resource")).get("metric", {"name": "cpu"})["name"] for metric in metrics}
    assert named == {"cpu", "broadway_api_parked_polls", "broadway_api_requests_per_second"}


@each_rendered
def test_roll_outs_remove_no_pod_before_another_is_ready(name):
    for deployment in of_kind(documents(name), "Deployment").values():
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, title(deployment)
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"] >= 1, title(deployment)


@each_rendered
def test_the_times_of_termination_are_consistent(name):
    found = documents(name)
    spec = pod_spec(of_kind(found, "Deployment")["broadway-api"])
    pause, grace = seconds(spec["containers"][0]), float(settings(found, "broadway-api")["BROADWAY_GRACE"])
    assert pause >= 5, "proxies must have heard before the replica stops taking connections"
    assert grace >= 20, "a result may wait that long for the database"
    assert spec["terminationGracePeriodSeconds"] >= pause + grace + 5
    spec = pod_spec(of_kind(found, "Deployment")["broadway-scheduler"])
    grace = float(settings(found, "broadway-scheduler")["BROADWAY_GRACE"])
    assert spec["terminationGracePeriodSeconds"] >= grace + 5


@each_rendered
def test_readiness_does_not_depend_on_the_database(name):
    container = pod_spec(of_kind(documents(name), "Deployment")["broadway-api"])["containers"][0]
    assert container["readinessProbe"]["tcpSocket"]["port"] == "public"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"


@each_rendered
def test_all_but_graders_are_restricted(name):
    found = documents(name)
    for workload in workloads(found):
        if workload["metadata"]["namespace"] == "broadway-graders":
            continue
        spec = pod_spec(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True, title(workload)
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
        for container in containers(workload):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
    enforced = of_kind(found, "Namespace")["broadway"]["metadata"]["labels"]
    assert enforced["pod-security.kubernetes.io/enforce"] == "restricted"


@each_rendered
def test_every_namespace_allows_only_selected_connections(name):
    found = documents(name)
    policies = [document for document in found if document["kind"] == "NetworkPolicy"]
    for namespace in of_kind(found, "Namespace"):
        closed = [
            policy
            for policy in policies
            if policy["metadata"]["namespace"] == namespace
            and policy["spec"]["podSelector"] == {}
            and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
            and "ingress" not in policy["spec"]
        ]
        assert closed, f"{namespace} has no default deny"
    labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads(found)]
    names = {each["app.kubernetes.io/name"] for each in labels} | {"mongodb"}
    for policy in policies:
        for selector in selectors(policy["spec"]):
            assert selector in names, f"{title(policy)} is about {selector}, which does not exist"


def selectors(value):
    """The names of all applications in a policy's selectors."""
    if isinstance(value, list):
        return [name for item in value for name in selectors(item)]
    if not isinstance(value, dict):
        return []
    named = [value["app.kubernetes.io/name"]] if "app.kubernetes.io/name" in value else []
    named += value["values"] if value.get("key") == "app.kubernetes.io/name" else []
    return named + [name for item in value.values() for name in selectors(item)]


@each_rendered
def test_referenced_objects_exist(name):
    found = documents(name)
    exists = {(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]): d for d in found}
    for workload in workloads(found):
        namespace = workload["metadata"]["namespace"]
        spec = pod_spec(workload)
        mounted = {volume["name"] for volume in spec.get("volumes", [])}
        mounted |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for volume in spec.get("volumes", []):
            if "secret" in volume:
                assert ("Secret", namespace, volume["secret"]["secretName"]) in exists, volume
            if "configMap" in volume:
                assert ("ConfigMap", namespace, volume["configMap"]["name"]) in exists, volume
        for container in containers(workload):
            for source in container.get("envFrom", []):
                assert ("ConfigMap", namespace, source["configMapRef"]["name"]) in exists, source
            for mount in container.get("volumeMounts", []):
                assert mount["name"] in mounted, f"{title(workload)} mounts {mount['name']}, which is no volume"


@each_rendered
def test_services_find_pods_by_their_ports(name):
    found = documents(name)
    for service in of_kind(found, "Service").values():
        selector = service["spec"]["selector"]
        chosen = [
            workload
            for workload in workloads(found)
            if selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert len(chosen) == 1, f"{title(service)} selects {len(chosen)} workloads"
        ports = {port["name"] for container in containers(chosen[0]) for port in container.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@each_rendered
def test_files_of_secrets_are_mounted_where_the_settings_say(name):
    found = documents(name)
    for workload in ("broadway-api", "broadway-scheduler"):
        deployment = of_kind(found, "Deployment")[workload]
        container, volumes = pod_spec(deployment)["containers"][0], pod_spec(deployment)["volumes"]
        where = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        secrets = {volume["name"]: volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
        paths = [entry["value"] for entry in container["env"] if entry["name"].endswith("_FILE")]
        assert paths
        for path in paths:
            directory, _, key = path.rpartition("/")
            assert key in of_kind(found, "Secret")[secrets[where[directory]]]["data"], path


def given_to(found, binary):
    """The variables of a binary's container."""
    container = pod_spec(of_kind(found, "Deployment")[binary])["containers"][0]
    named = {entry["name"] for entry in container["env"]} - {"POD_IP"}
    return {*settings(found, "broadway-shared"), *settings(found, binary), *named}


@each_rendered
@pytest.mark.parametrize("binary", ["broadway-api", "broadway-scheduler"])
def test_every_setting_is_a_flag_of_its_binary(name, binary):
    assert flags.unknown(binary, given_to(documents(name), binary)) == []


@pytest.mark.parametrize("name", ["overlays/production", "overlays/single-node"])
def test_every_argument_of_graders_is_a_flag_of_theirs(name):
    grader = pod_spec(of_kind(documents(name), "Deployment")["broadway-grader"])["containers"][0]
    assert flags.unknown_arguments("broadway-grader", grader["args"]) == []


def test_an_unknown_flag_is_detected():
    assert flags.unknown("broadway-api", ["BROADWAY_PORT", "BROADWAY_METRICS_PORT"]) == ["BROADWAY_METRICS_PORT"]
    assert flags.unknown("broadway-scheduler", ["BROADWAY_CLIENT_TOKEN_FILE"]) == ["BROADWAY_CLIENT_TOKEN_FILE"]
    assert flags.unknown_arguments("broadway-grader", ["--runner=podman", "--runners=x"]) == ["runners"]


@each_overlay
def test_the_authority_in_the_uri_is_mounted_at_its_path(name):
    found = documents(name)
    for binary in ("broadway-api", "broadway-scheduler"):
        spec = pod_spec(of_kind(found, "Deployment")[binary])
        volumes = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
        mounts = spec["containers"][0]["volumeMounts"]
        where = {mount["mountPath"]: volumes[mount["name"]] for mount in mounts if mount["name"] in volumes}
        shared = base64.b64decode(of_kind(found, "Secret")[volumes["shared"]]["data"]["mongodb-uri"]).decode()
        assert "tls=true" in shared
        authority = re.search(r"tlsCAFile=(.*)/([^/&]*)", shared)
        if name == "overlays/external-mongodb" and authority is None:
            continue  # then the system's authorities are used
        assert authority[2] in of_kind(found, "Secret")[where[authority[1]]]["data"], shared


def nginx_seconds(ingress, key):
    return float(ingress["metadata"]["annotations"][f"nginx.ingress.kubernetes.io/{key}"])


@pytest.mark.parametrize("name", ["overlays/production", "overlays/external-mongodb"])
def test_the_ingress_has_timeouts_for_polls_streams_and_sockets(name):
    ingress = of_kind(documents(name), "Ingress")["broadway"]
    marks = ingress["metadata"]["annotations"]
    for key in ("proxy-read-timeout", "proxy-send-timeout"):
        assert nginx_seconds(ingress, key) >= 3600, "an event stream or a websocket may be quiet for long"
    for key in ("server", "client", "tunnel"):
        assert float(marks[f"haproxy.org/timeout-{key}"].removesuffix("s")) >= 3600
    assert marks["nginx.ingress.kubernetes.io/proxy-buffering"] == "off", "events must be passed on as they come"
    assert "non_idempotent" not in marks["nginx.ingress.kubernetes.io/proxy-next-upstream"]
    source = (ROOT / "api/options.c").read_text(encoding="utf-8")
    body = int(re.search(r'"max-body-bytes".*?"(\d+)"', source)[1])
    assert float(marks["nginx.ingress.kubernetes.io/proxy-body-size"].removesuffix("m")) * 2**20 >= body
    assert ingress["spec"]["tls"], "tokens don't travel in the open"


def test_the_database_is_a_set_of_three_with_a_way_to_initiate_it():
    found = documents("overlays/production")
    database = of_kind(found, "StatefulSet")["mongodb"]
    first, *_ = (c for c in containers(database) if c["name"] == "initiate")
    given = {entry["name"]: entry["value"] for entry in first["env"]}
    assert int(given["MEMBERS"]) == database["spec"]["replicas"] == 3
    service = of_kind(found, "Service")[database["spec"]["serviceName"]]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    assert given["DOMAIN"] == "mongodb.broadway.svc.cluster.local"
    single = of_kind(documents("overlays/single-node"), "StatefulSet")["mongodb"]
    given = {e["name"]: e["value"] for c in containers(single) if c["name"] == "initiate" for e in c["env"]}
    assert int(given["MEMBERS"]) == single["spec"]["replicas"] == 1


@each_rendered
def test_pods_of_a_tier_are_spread_and_advertise_their_own_address(name):
    found = documents(name)
    for tier in ("broadway-api", "broadway-scheduler"):
        spec = pod_spec(of_kind(found, "Deployment")[tier])
        assert {spread["topologyKey"] for spread in spec["topologySpreadConstraints"]} == {
            "topology.kubernetes.io/zone"
        }
        terms = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert {term["podAffinityTerm"]["topologyKey"] for term in terms} == {"kubernetes.io/hostname"}
    env = pod_spec(of_kind(found, "Deployment")["broadway-api"])["containers"][0]["env"]
    assert [e["value"] for e in env if e["name"] == "BROADWAY_INTERNAL_URL"] == ["http://$(POD_IP):1471"]
    names = [entry["name"] for entry in env]
    assert names.index("POD_IP") < names.index("BROADWAY_INTERNAL_URL"), "a reference looks only backwards"
    services = of_kind(found, "Service")
    assert services["broadway-api-internal"]["spec"]["clusterIP"] == "None"
    assert {port["port"] for port in services["broadway-api"]["spec"]["ports"]} == {1470}
    scheduler = [s for s in services.values() if s["spec"]["selector"]["app.kubernetes.io/name"].endswith("scheduler")]
    assert [port["name"] for service in scheduler for port in service["spec"]["ports"]] == ["metrics"]


@each_overlay
def test_images_carry_the_version_of_the_source(name):
    version = re.search(r"project\(broadway VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))[1]
    for workload in workloads(documents(name)):
        for container in containers(workload):
            image, _, tag = container["image"].partition(":")
            assert tag == (version if image.startswith("broadway-") else "7.0"), container["image"]


def test_graders_may_finish_the_longest_job():
    found = documents("overlays/production")
    source = (ROOT / "scheduler/options.c").read_text(encoding="utf-8")
    job_timeout = float(re.search(r'"job-timeout".*?"(\d+)"', source)[1])
    spec = pod_spec(of_kind(found, "Deployment")["broadway-grader"])
    assert spec["terminationGracePeriodSeconds"] >= job_timeout + 30
