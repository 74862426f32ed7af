"""Free ports of 127.0.0.1 that stay available for a restart."""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
import time
from pathlib import Path

LOWEST = 12000
RESERVED_S = 60  # by then a process has opened its port


def free_ports(count):
    """`count` different free ports, outside the range that outgoing connections take theirs from: a restarted
    process finds its port again. Stacks of the same user that start at the same time get different ones."""
    candidates = list(_candidates())
    random.shuffle(candidates)
    with _reservations() as reserved:
        ports = []
        for port in candidates:
            if len(ports) == count:
                break
            if port not in reserved and _is_free(port):
                ports.append(port)
                reserved[port] = time.time()
    if len(ports) < count:
        raise OSError(f"fewer than {count} ports are free on 127.0.0.1")
    return ports


@contextlib.contextmanager
def _reservations():
    """The ports that were given away a moment ago, with the times; what is added is kept. Locked meanwhile."""
    path = Path(tempfile.gettempdir()) / f"broadway-ports-{os.getuid()}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:  # somebody else's file: nothing is reserved
        yield {}
        return
    with open(descriptor, "r+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        rows = (line.split() for line in file)
        reserved = {int(row[0]): float(row[1]) for row in rows if len(row) == 2}
        reserved = {port: at for port, at in reserved.items() if 0 <= time.time() - at < RESERVED_S}
        yield reserved
        file.seek(0)
        file.truncate()
        file.writelines(f"{port} {at}\n" for port, at in reserved.items())


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
