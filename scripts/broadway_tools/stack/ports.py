"""Free ports of 127.0.0.1 that stay available for a restart."""

import random
import socket
from pathlib import Path

LOWEST = 12000


def free_ports(count):
    """`count` different free ports, outside the range that outgoing connections take theirs from: a restarted
    process finds its port again."""
    ports = []
    candidates = list(_candidates())
    random.shuffle(candidates)
    for port in candidates:
        if len(ports) == count:
            return ports
        if _is_free(port):
            ports.append(port)
    raise OSError(f"fewer than {count} ports are free on 127.0.0.1")


def _candidates():
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    return range(LOWEST, first) if first > LOWEST + 1000 else range(LOWEST, 65536)


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
