"""Evaluates NetworkPolicies as Kubernetes defines them: a connection must be allowed by both sides; a side that no
policy selects allows everything; policies add up."""

import ipaddress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pod:
    """One end of a connection; without a namespace: a host outside of the cluster."""

    namespace: str | None
    labels: dict = field(default_factory=dict)
    namespace_labels: dict = field(default_factory=dict)
    ports: dict = field(default_factory=dict)  # {name: number}
    address: str = "10.1.2.3"


def may_connect(policies, source, target, port, protocol="TCP"):
    """True if both sides allow the connection."""
    return consents(policies, "Egress", source, target, target, port, protocol) and consents(
        policies, "Ingress", target, source, target, port, protocol
    )


def consents(policies, direction, own, other, target, port, protocol):
    """True if the side of `own` allows this connection with `other`."""
    if own.namespace is None:
        return True  # policies do not apply to hosts outside
    mine = [policy for policy in policies if selects(policy, own) and direction in policy["spec"]["policyTypes"]]
    peers, rules_key = ("to", "egress") if direction == "Egress" else ("from", "ingress")
    rules = [rule for policy in mine for rule in policy["spec"].get(rules_key) or []]
    home = own.namespace
    return not mine or any(
        any_peer(rule.get(peers), other, home) and any_port(rule.get("ports"), target, port, protocol) for rule in rules
    )


def selects(policy, pod):
    return policy["metadata"]["namespace"] == pod.namespace and matches(policy["spec"]["podSelector"], pod.labels)


def any_peer(peers, other, home):
    return peers is None or any(is_peer(peer, other, home) for peer in peers)


def is_peer(peer, other, home):
    if "ipBlock" in peer:
        address = ipaddress.ip_address(other.address)
        excluded = any(address in ipaddress.ip_network(block) for block in peer["ipBlock"].get("except", []))
        return address in ipaddress.ip_network(peer["ipBlock"]["cidr"]) and not excluded
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        is_there = matches(peer["namespaceSelector"], other.namespace_labels)
    else:
        is_there = other.namespace == home
    return is_there and matches(peer.get("podSelector", {}), other.labels)


def any_port(ports, target, number, protocol):
    return ports is None or any(
        port.get("protocol", "TCP") == protocol and target.ports.get(port["port"], port["port"]) == number
        for port in ports
    )


def matches(selector, labels):
    """True if the labels match all of a selector's matchLabels and matchExpressions."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(satisfies(expression, labels) for expression in selector.get("matchExpressions", []))


def satisfies(expression, labels):
    value, operator = labels.get(expression["key"]), expression["operator"]
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    assert operator in ("In", "NotIn"), operator
    return (value in expression["values"]) == (operator == "In")
