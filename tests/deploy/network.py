"""What NetworkPolicies come to: may this pod open a connection to that one? As Kubernetes defines it: a connection
needs the consent of both sides; a side that no policy selects consents to all; policies add up."""

import ipaddress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pod:
    """One end of a connection; without a namespace it is a host outside of the cluster."""

    namespace: str | None
    labels: dict = field(default_factory=dict)
    namespace_labels: dict = field(default_factory=dict)
    ports: dict = field(default_factory=dict)  # {name: number}
    address: str = "10.1.2.3"


def may_connect(policies, source, target, port, protocol="TCP"):
    """Do both sides consent?"""
    return consents(policies, "Egress", source, target, target, port, protocol) and consents(
        policies, "Ingress", target, source, target, port, protocol
    )


def consents(policies, direction, own, other, target, port, protocol):
    """Does the side of `own` let this connection with `other` through?"""
    if own.namespace is None:
        return True  # nobody asks hosts outside
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
    """By a label selector: matchLabels and matchExpressions, all of them."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(satisfies(expression, labels) for expression in selector.get("matchExpressions", []))


def satisfies(expression, labels):
    value, operator = labels.get(expression["key"]), expression["operator"]
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    assert operator in ("In", "NotIn"), operator
    return (value in expression["values"]) == (operator == "In")
