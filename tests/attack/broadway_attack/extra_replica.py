"""One more replica for a scene's stack."""

import subprocess
import time

import httpx

from broadway_attack.scene import Scene, clean_environment, free_port


class ExtraReplica:
    """A broadway-api with the flags of the attacked one, except ports and those in `without`; `limit`: a hard limit of
    descriptors."""

    def __init__(self, scene: Scene, limit: int | None = None, without: tuple[str, ...] = ()):
        self.port, self.internal_port = free_port(), free_port()
        self.url, self.internal_url = (f"http://127.0.0.1:{port}" for port in (self.port, self.internal_port))
        own = {"--port": self.port, "--internal-port": self.internal_port, "--internal-url": self.internal_url}
        kept = [word for word in scene.attacked.argv if word.partition("=")[0] not in (*own, *without)]
        self.log = scene.stack.directory / f"extra-{self.port}.log"
        words = [*kept, *(f"{name}={value}" for name, value in own.items())]
        words = words if limit is None else ["prlimit", f"--nofile={limit}:{limit}", *words]
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean_environment(),
            )

    def is_refused(self, seconds: float = 15) -> bool:
        """Waits until the replica is ready (False) or has ended (True)."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return True
            if self.health_seconds("/readyz") is not None:
                return False
            time.sleep(0.05)
        raise TimeoutError("the extra replica is neither ready nor gone")

    def health_seconds(self, path: str = "/healthz") -> float | None:
        """The response time of its internal port; None if it is over 2 s."""
        begun = time.monotonic()
        try:
            if httpx.get(self.internal_url + path, timeout=2, trust_env=False).status_code != 200:
                return None
        except httpx.HTTPError:
            return None
        return time.monotonic() - begun

    def end(self) -> None:
        """Stops it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
