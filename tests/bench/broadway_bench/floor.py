"""`floor`: the speed of the database and of the HTTP server alone."""

import subprocess

from broadway_tools.stack.ports import free_ports

from broadway_bench.setting import PROGRAMS, Generator, database_alone, program

BATCHES = (8, 64, 256)
CONNECTIONS = 64
# About how many documents are written before a measurement (for the floor, for as many seconds as they take at
# 10,000/s): a new database is faster than one in use, and ten thousand registrations alone slow it down.
AGE = 20000


def floor(wanted):
    """Inserts in batches, one journaled insert, one delivery, a bare POST."""
    figures = {}
    for batch in BATCHES:
        with database_alone(wanted) as (uri, name):
            answer = program("bench-floor", uri, name, "inserts", batch, 5 * wanted.scale)
        figures[f"jobs/s at batches of {batch}"] = answer["jobs_per_s"]
    with database_alone(wanted) as (uri, name):
        program("bench-floor", uri, name, "inserts", 256, AGE / 10000)
        single = program("bench-floor", uri, name, "single", wanted.count(300, 50))
        delivery = program("bench-floor", uri, name, "delivery", wanted.count(300, 50))
    figures["one journaled insert, p50 ms"] = single["p50_ms"]
    figures["one journaled insert, p99 ms"] = single["p99_ms"]
    figures["one delivery, p50 ms"] = delivery["p50_ms"]
    figures["one delivery, p99 ms"] = delivery["p99_ms"]
    figures["bare ulfius POST/s"] = _bare_posts(wanted)
    return figures


def _bare_posts(wanted):
    (port,) = free_ports(1)
    server = subprocess.Popen(
        [PROGRAMS / "bench-ulfius", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        server.stdout.readline()
        generator = Generator([f"http://127.0.0.1:{port}"])
        answer = generator.ask("submit", 0, CONNECTIONS, 3 * wanted.scale, "/bare")
        generator.close()
    finally:
        server.stdin.close()
        server.wait(timeout=30)
    return answer["accepted"] / answer["seconds"]
