"""Real containers for tests: podman with storage and settings of its own, and an image of a single static binary."""

import contextlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

IMAGE = "localhost/busybox:1"
BUSYBOX = "/bin/busybox"
# Works where systemd and raised limits are missing, as in a container, and shares nothing with other podmans.
SETTINGS = """[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1000:1000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
lock_type = "file"
tmp_dir = "{top}/tmp"
[engine.runtimes]
runc = ["{runc}"]
[network]
network_config_dir = "{top}/networks"
"""
NETAVARK = Path("/usr/lib/podman/netavark")
STORAGE = """[storage]
driver = "vfs"
graphroot = "{top}/storage"
runroot = "{top}/run"
"""


class Podman:
    """`env` leads any client to it; `socket` is where its API listens. `close` removes all."""

    def __init__(self):
        self.top = Path(tempfile.mkdtemp(prefix="broadway-podman-"))
        write_settings(self.top)
        self.env = {
            "CONTAINERS_CONF": str(self.top / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.top / "storage.conf"),
        }
        self.socket = self.top / "podman.sock"
        self._service = None
        try:
            self._make_image()
        except BaseException:
            self.close()
            raise

    def run(self, *words):
        """What a command prints; it must succeed."""
        env = {**os.environ, **self.env}
        done = subprocess.run(["podman", *words], env=env, cwd=self.top, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"podman {words}: {done.stderr}"
        return done.stdout

    def containers(self, *filters):
        """The containers that are there: a list of objects with Id, Labels and State."""
        return json.loads(self.run("ps", "--all", "--format=json", *(f"--filter={one}" for one in filters)) or "[]")

    def start_service(self):
        """Its API listens from now on."""
        with open(self.top / "service.log", "ab") as log:
            self._service = subprocess.Popen(
                ["podman", "system", "service", "--time=0", f"unix://{self.socket}"],
                env={**os.environ, **self.env},
                cwd=self.top,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 20
        while not self.socket.exists():
            assert time.monotonic() < deadline, "podman's API does not listen"
            time.sleep(0.02)

    def stop_service(self):
        """Its API doesn't answer any more."""
        if self._service is not None:
            self._service.kill()
            self._service.wait()
            self._service = None
        self.socket.unlink(missing_ok=True)

    def close(self):
        """Nothing of it remains."""
        self.stop_service()
        left = self.containers()
        if left:
            self.run("rm", "--force", "--time=0", "--all")
        shutil.rmtree(self.top, ignore_errors=True)

    def _make_image(self):
        archive = write_image(self.top)
        self.run("import", '--change=CMD=["/bin/echo","own"]', str(archive), IMAGE)
        archive.unlink()


def write_image(top):
    """Writes the root file system of the image, as an archive in the directory `top`: its path."""
    archive = top / "image.tar"
    with tarfile.open(archive, "w") as tar:
        for directory in ("bin", "etc", "proc", "sys", "dev", "tmp", "run", "var", "var/tmp", "home"):
            tar.addfile(_entry(directory, tarfile.DIRTYPE))
        tar.add(BUSYBOX, "bin/busybox")
        for name in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if name != "busybox":
                tar.addfile(_entry(f"bin/{name}", tarfile.SYMTYPE))
    return archive


def write_settings(top):
    """Writes containers.conf and storage.conf for a podman that keeps everything in the directory `top`."""
    runc = shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    backend = 'network_backend = "netavark"\n' if NETAVARK.exists() else ""
    (top / "containers.conf").write_text(SETTINGS.format(top=top, runc=runc) + backend)
    (top / "storage.conf").write_text(STORAGE.format(top=top))


def _entry(name, kind):
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname = kind, 0o1777, "busybox" if kind == tarfile.SYMTYPE else ""
    return entry


@contextlib.contextmanager
def running_podman():
    """A Podman whose API listens, for the time of a `with`."""
    podman = Podman()
    try:
        podman.start_service()
        yield podman
    finally:
        podman.close()
