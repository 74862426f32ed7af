"""A Service like kube-proxy's: a new connection goes to any ready pod and stays there until it is closed; a pod that is
removed gets no new connections and keeps its open ones."""

import asyncio
import random
import threading


class Service:
    """Listens on a free port of 127.0.0.1, in its own thread."""

    def __init__(self):
        self._pods = ()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = None
        self.refused = 0  # connections without a pod, or refused by their pod

    def __enter__(self):
        self._thread.start()
        assert self._started.wait(10), "the service has not started"
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def set_pods(self, ports):
        """Sets the pods for new connections."""
        self._pods = tuple(ports)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _serve(self, reader, writer):
        try:
            onwards = await asyncio.open_connection("127.0.0.1", random.choice(self._pods))
        except (OSError, IndexError):
            self.refused += 1
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, onwards[1]), pump(onwards[0], writer))


async def pump(reader, writer):
    """Copies data in one direction, and then the end."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
