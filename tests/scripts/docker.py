"""A docker daemon for tests, with storage of its own and no network: its API, and the image of podman's tests."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from podman import write_image

# scripts/install unpacks it here, if the machine has none.
UNPACKED = Path(__file__).resolve().parents[2] / "build" / "docker"


class Docker:
    """`socket` is where its API listens. `close` removes all."""

    def __init__(self, image):
        self.top = Path(tempfile.mkdtemp(prefix="broadway-docker-"))
        self.socket = self.top / "docker.sock"
        self._path = f"{os.environ['PATH']}:/usr/sbin:/sbin:{UNPACKED / 'usr/sbin'}:{UNPACKED / 'usr/bin'}"
        self._daemon = None
        try:
            self._start()
            archive = write_image(self.top)
            self._ask("import", '--change=CMD ["/bin/echo","own"]', str(archive), image)
        except BaseException:
            self.close()
            raise

    def containers(self):
        """The ids of the containers that are there."""
        return self._ask("ps", "--all", "--quiet").split()

    def close(self):
        """Nothing of it remains."""
        if self._daemon is not None:
            self._daemon.terminate()  # which ends its containers
            self._daemon.wait(60)
        shutil.rmtree(self.top, ignore_errors=True)

    def _start(self):
        top = self.top
        argv = [self._program("dockerd"), "--iptables=false", "--ip6tables=false", "--bridge=none"]
        argv += ["--storage-driver=vfs", "--exec-opt=native.cgroupdriver=cgroupfs", f"--host=unix://{self.socket}"]
        argv += [f"--data-root={top / 'data'}", f"--exec-root={top / 'exec'}", f"--pidfile={top / 'pid'}"]
        argv += [f"--config-file={top / 'none.json'}", f"--init-path={self._program('docker-init')}"]
        (top / "none.json").write_text("{}")
        log = top / "docker.log"
        with open(log, "wb") as output:
            env = {**os.environ, "PATH": self._path}
            self._daemon = subprocess.Popen(argv, stdout=output, stderr=output, env=env, cwd=top)
        deadline = time.monotonic() + 60
        while not self._answers():
            is_late = time.monotonic() > deadline or self._daemon.poll() is not None
            assert not is_late, f"dockerd does not start: {log.read_text(errors='replace')[-3000:]}"
            time.sleep(0.1)

    def _answers(self):
        try:
            self._ask("version")
        except AssertionError:
            return False
        return True

    def _ask(self, *words):
        argv = [self._program("docker"), f"--host=unix://{self.socket}", *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"docker {words}: {done.stderr}"
        return done.stdout

    def _program(self, name):
        found = shutil.which(name, path=self._path)
        assert found, f"there is no {name}: scripts/install --checks"
        return found


@contextlib.contextmanager
def running_docker(image):
    """A Docker with the image, for the time of a `with`."""
    docker = Docker(image)
    try:
        yield docker
    finally:
        docker.close()
