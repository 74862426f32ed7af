"""Free ports of 127.0.0.1 that stay available for a restart."""

import random
import socket
import time
from pathlib import Path

LOWEST = 12000
RESERVED_S = 60  # by then a process has opened its port


_reservations = []  # (the socket that reserves a port, the time) of this process


def free_ports(count):
    """`count` different free ports, outside the range that outgoing connections take theirs from: a restarted
    process finds its port again. Stacks that start at the same time get different ones: a port stays reserved until
    this process ends, at most RESERVED_S."""
    while _reservations and time.monotonic() - _reservations[0][1] > RESERVED_S:
        _reservations.pop(0)[0].close()
    candidates = list(_candidates())
    random.shuffle(candidates)
    ports = []
    for port in candidates:
        if len(ports) == count:
            break
        if _reserve(port):
            ports.append(port)
    if len(ports) < count:
        raise OSError(f"fewer than {count} ports are free on 127.0.0.1")
    return ports


def _reserve(port):
    """Whether the port is free and nobody has reserved it. The reservation is a name of a Unix socket that is no
    file, so the kernel removes it with the process."""
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0broadway-port-{port}")
        if _is_free(port):
            _reservations.append((reservation, time.monotonic()))
            return True
    except OSError:
        pass
    reservation.close()
    return False


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
