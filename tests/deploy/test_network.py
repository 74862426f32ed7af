"""The allowed connections, computed from the NetworkPolicies: all necessary ones, and no others."""

import manifests
import pytest
from manifests import containers, documents, of_kind, title, workloads
from network import Pod, may_connect

# The other ends of connections. Hosts have an address and no namespace.
OTHERS = {
    "world": Pod(None, address="203.0.113.7"),
    "database outside": Pod(None, address="192.0.2.10"),
    "metadata of the machine": Pod(None, address="169.254.169.254"),
    "dns": Pod("kube-system", {"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"}),
    "ingress": Pod("ingress-nginx", {"app": "ingress"}, {"broadway-clients": "true"}),
    "prometheus": Pod("monitoring", {"app": "prometheus"}, {"broadway-monitoring": "true"}),
    "stranger": Pod("elsewhere", {"app.kubernetes.io/name": "broadway-scheduler"}),
}
METRICS = (1471, 1472)


class Cluster:
    """The pods and policies of one rendering."""

    def __init__(self, name):
        found = documents(name)
        self.policies = [document for document in found if document["kind"] == "NetworkPolicy"]
        self.namespaces = of_kind(found, "Namespace")
        self.own = {workload["metadata"]["name"]: self._pod(workload) for workload in workloads(found)}
        self.ends = {**OTHERS, **self.own}
        self.database = {"base": None, "overlays/external-mongodb": "database outside"}.get(name, "mongodb")

    def _pod(self, workload):
        home = workload["metadata"]["namespace"]
        labels = {**self.namespaces[home]["metadata"]["labels"], "kubernetes.io/metadata.name": home}
        ports = [port for container in containers(workload) for port in container.get("ports", [])]
        return Pod(
            home,
            workload["spec"]["template"]["metadata"]["labels"],
            labels,
            {port["name"]: port["containerPort"] for port in ports},
        )

    def allows(self, source, target, port, protocol="TCP"):
        return may_connect(self.policies, self.ends[source], self.ends[target], port, protocol)

    def needed(self):
        """{(from, to, port)} of all necessary connections, except DNS."""
        pairs = {
            ("broadway-scheduler", "broadway-api", 1471),
            ("ingress", "broadway-api", 1470),
            ("prometheus", "broadway-api", 1471),
            ("prometheus", "broadway-scheduler", 1472),
        }
        if self.database:
            pairs |= {(tier, self.database, 27017) for tier in ("broadway-api", "broadway-scheduler")}
        if "mongodb" in self.own:
            pairs.add(("mongodb", "mongodb", 27017))
        if "broadway-grader" in self.own:
            pairs |= {("broadway-grader", "broadway-api", 1470), ("broadway-grader", "world", 443)}
        return pairs


@pytest.fixture(params=manifests.RENDERED)
def cluster(request):
    return Cluster(request.param)


def test_necessary_connections_are_allowed(cluster):
    for source, target, port in cluster.needed():
        assert cluster.allows(source, target, port), f"{source} can't reach {target} by {port}"
    for name in cluster.own:
        for protocol in ("TCP", "UDP"):
            assert cluster.allows(name, "dns", 53, protocol), f"{name} can't ask for names by {protocol}"


def test_other_connections_are_denied(cluster):
    wanted = cluster.needed()
    # One policy has the metrics' ports of both tiers; a tier does not listen on the other's.
    wanted |= {("prometheus", tier, port) for tier in ("broadway-api", "broadway-scheduler") for port in METRICS}
    for target in cluster.own:
        for port in {22, 1470, *METRICS, 27017}:
            for source in cluster.ends:
                allowed = cluster.allows(source, target, port)
                assert allowed == ((source, target, port) in wanted), f"{source} to {target} by {port}: {allowed}"


def test_pods_reach_only_necessary_hosts_outside(cluster):
    for name in cluster.own:
        assert not cluster.allows(name, "metadata of the machine", 80), name
        assert not cluster.allows(name, "stranger", 80), name
        assert cluster.allows(name, "world", 443) == (name == "broadway-grader"), name


def test_every_namespace_denies_by_default(cluster):
    for pod in cluster.own.values():
        cluster.ends["new"] = Pod(pod.namespace, {"app": "new"}, {})
        assert not cluster.allows("new", "world", 80) and not cluster.allows("world", "new", 80)
        assert not cluster.allows("new", "broadway-api", 1471)


def test_a_removed_policy_is_detected():
    whole = Cluster("overlays/production")
    for policy in whole.policies:
        if policy["metadata"]["name"] == "default-deny":
            continue
        fewer = Cluster("overlays/production")
        fewer.policies = [each for each in fewer.policies if title(each) != title(policy)]
        lost = [pair for pair in whole.needed() if not fewer.allows(*pair)]
        lost += [name for name in fewer.own if not fewer.allows(name, "dns", 53)]
        assert lost, f"nothing needs {title(policy)}"
