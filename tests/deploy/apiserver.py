"""A real kube-apiserver with etcd, without nodes: a cluster accepts what it accepts."""

import json
import secrets
import subprocess

from harness import free_port, last_lines
from tools import run, tools
from waiting import wait_until


class ApiServer:
    """Both processes, and kubectl for them."""

    def __init__(self, directory):
        self.directory = directory
        self.tools = tools("etcd", "kube-apiserver", "kubectl", "crds")
        self.children = []
        self.kubeconfig = directory / "kubeconfig.json"

    def start(self):
        """Returns when the server is ready and has the custom resources."""
        client, peer, port = free_port(), free_port(), free_port()
        self._spawn(
            "etcd",
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        )
        token = secrets.token_hex(16)
        tokens, key = self.directory / "tokens.csv", self.directory / "service-accounts.key"
        tokens.write_text(f"{token},tester,tester,system:masters\n", encoding="utf-8")
        assert run(["openssl", "genrsa", "-out", key, "2048"])[0] == 0
        self._spawn(
            "kube-apiserver",
            self.tools / "bin/kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{client}",
            "--bind-address=127.0.0.1",
            "--advertise-address=192.0.2.1",  # not used: clients connect to the bound address
            "--endpoint-reconciler-type=none",
            f"--secure-port={port}",
            f"--cert-dir={self.directory / 'certificates'}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",  # as clusters have it; Pod Security decides
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            # No controller runs that would create the accounts that this plugin requires.
            "--disable-admission-plugins=ServiceAccount",
        )
        self.kubeconfig.write_text(json.dumps(kubeconfig(port, token)), encoding="utf-8")
        wait_until(self._is_ready, 120, "the API server is ready")
        status, said = self.kubectl("apply", "--server-side", "-f", self.tools / "crds")
        assert status == 0, said
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        return self

    def stop(self):
        """Ends both."""
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def kubectl(self, *arguments, text=None):
        """(exit status, output)."""
        argv = [self.tools / "bin/kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]
        return run(argv, input=text)

    def version(self):
        return json.loads(self.kubectl("get", "--raw=/version")[1])["gitVersion"]

    def dry_run(self, text):
        """The server's answer to these documents, of which it stores none."""
        return self.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", text=text)

    def _spawn(self, name, *argv):
        with open(self.directory / f"{name}.log", "wb") as log:
            self.children.append(
                subprocess.Popen(
                    [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
                )
            )

    def _is_ready(self):
        for child in self.children:
            assert child.poll() is None, f"{child.args[0]} has ended:\n" + "".join(
                last_lines(path) for path in sorted(self.directory.glob("*.log"))
            )
        return self.kubectl("get", "--raw=/readyz")[1].strip() == "ok"


def kubeconfig(port, token):
    """A configuration for kubectl. The server's certificate is self-signed, on loopback."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
