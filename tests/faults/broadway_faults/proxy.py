"""A TCP proxy per link that injects network faults. One thread with an event loop serves all proxies; rules are set
from any thread and apply from the next piece of data on."""

import asyncio
import threading
from dataclasses import dataclass

UP, DOWN = "up", "down"  # from the client to the server, and back
PIECE = 65536


@dataclass
class Rules:
    """The faults of a link; by default none."""

    refuse: bool = False  # new connections are reset at once
    hold: tuple = ()  # directions in which data waits until the rule is removed
    drop: tuple = ()  # directions in which data is dropped; connections stay open
    delay_s: float = 0.0  # each piece, each way
    cut_after: int = 0  # bytes from the client until the connection is reset
    match: bytes = b""  # the bytes that the next three rules search for in a client's piece
    cut_reply: int = 0  # how many matching requests are passed on, and reset before the answer
    cut_request: int = 0  # how many matching requests are reset before they arrive
    hold_match: bool = False  # matching pieces wait until the rule is removed, even if their sender disconnects


class Loop:
    """The thread that all proxies share."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self.thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def call(self, function):
        async def wrapped():
            return function()

        return self.run(wrapped())

    def close(self):
        self.run(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    @staticmethod
    async def _cancel_all():
        """Cancels all waiting tasks."""
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Connection:
    """One connection through a proxy: two streams and its counters."""

    def __init__(self, near, far):
        self.near, self.far = near, far
        self.sent_up = 0
        self.loses_reply = False

    def abort(self):
        for writer in (self.near, self.far):
            writer.transport.abort()


class Proxy:
    """Listens on a port of 127.0.0.1 and passes data on to `target` according to its rules."""

    def __init__(self, loop, name, target):
        self.loop, self.name, self.target = loop, name, target
        self.rules = Rules()
        self.changed = None
        self.connections = set()
        self.counts = {"connections": 0, "cut": 0, "held": 0, "refused": 0}
        self.tasks = set()
        self.server = loop.run(self._listen())
        self.port = self.server.sockets[0].getsockname()[1]

    async def _listen(self):
        self.changed = asyncio.Condition()
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def set(self, **rules):
        """Replaces the rules."""

        def change():
            self.rules = Rules(**rules)

        self.loop.call(change)
        self.loop.run(self._wake())

    def heal(self):
        self.set()

    def cut(self):
        """Resets every connection that is open now."""
        self.loop.call(lambda: [connection.abort() for connection in list(self.connections)])

    def close(self):
        self.loop.call(self.server.close)
        self.cut()

    async def _wake(self):
        async with self.changed:
            self.changed.notify_all()

    async def _serve(self, reader, near):
        self.counts["connections"] += 1
        if self.rules.refuse:
            self.counts["refused"] += 1
            near.transport.abort()
            return
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            near.transport.abort()
            return
        connection = Connection(near, far)
        self.connections.add(connection)
        try:
            await asyncio.gather(
                self._pump(connection, reader, far, UP), self._pump(connection, far_reader, near, DOWN)
            )
        finally:
            connection.abort()
            self.connections.discard(connection)

    async def _pump(self, connection, reader, writer, direction):
        try:
            while True:
                data = await reader.read(PIECE)
                if not data:
                    break
                if not await self._pass(connection, writer, direction, data):
                    self.counts["cut"] += 1
                    connection.abort()
                    return
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, ConnectionError, RuntimeError):
            connection.abort()

    async def _until(self, condition):
        async with self.changed:
            await self.changed.wait_for(condition)

    async def _pass(self, connection, writer, direction, data):
        """Applies the rules to one piece. False: the connection is reset."""
        rules = self.rules
        if direction in rules.hold:
            self.counts["held"] += 1
            await self._until(lambda: direction not in self.rules.hold)
            rules = self.rules
        if rules.match and direction == UP and rules.match in data and not await self._match(connection, data):
            return False
        if direction in rules.drop:
            return True
        if rules.delay_s:
            await asyncio.sleep(rules.delay_s)
        if direction == DOWN and connection.loses_reply:
            return False
        return await self._write(connection, writer, direction, data)

    async def _match(self, connection, data):
        rules = self.rules
        if rules.hold_match:
            self.counts["held"] += 1
            await self._until(lambda: not self.rules.hold_match)
        if rules.cut_request > 0:
            rules.cut_request -= 1
            return False
        if rules.cut_reply > 0:
            rules.cut_reply -= 1
            connection.loses_reply = True
        return True

    async def _write(self, connection, writer, direction, data):
        limit = self.rules.cut_after
        if direction == UP and limit:
            data = data[: max(0, limit - connection.sent_up)]
        writer.write(data)
        await writer.drain()
        if direction == UP:
            connection.sent_up += len(data)
        return not (direction == UP and limit and connection.sent_up >= limit)
