"""A real Kubernetes control plane on this machine, without containers; standard library only.

etcd and kube-apiserver (with RBAC, so permissions are enforced), and by default also kube-controller-manager,
kube-scheduler and kwok, which makes fake nodes and moves the pods scheduled there to Running and Ready:
Deployments become available for real, only the containers are missing. It is ready in about 5 seconds.
"""

import contextlib
import json
import os
import pathlib
import secrets
import ssl
import subprocess
import time
import urllib.request
from types import TracebackType
from typing import Self

from natsscaler.demo.kubeconfig import write_kubeconfig
from natsscaler.demo.ports import free_port

READY_SECONDS = 60.0
FAKE = {"node.alpha.kubernetes.io/ttl": "0", "kwok.x-k8s.io/node": "fake"}
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "status": {
        "allocatable": {"cpu": "256", "memory": "1Ti", "pods": "10000"},
        "capacity": {"cpu": "256", "memory": "1Ti", "pods": "10000"},
    },
}


class ClusterError(RuntimeError):
    """A part of the control plane ended by itself or was not ready in time."""


def assets_from_environment() -> pathlib.Path | None:
    """Return the directory of the binaries, as setup-envtest names it, if there is one."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    return pathlib.Path(named) if named else None


class RealCluster:
    """Runs the binaries in `assets`, with data and logs in `directory`; `with` starts and stops it.

    `nodes`: how many fake nodes; 0 leaves etcd and kube-apiserver alone. `host`: the address that the API
    server listens on; containers reach the one of their network's gateway.
    """

    def __init__(
        self, assets: pathlib.Path, directory: pathlib.Path, *, nodes: int = 3, host: str = "127.0.0.1"
    ) -> None:
        self.assets, self.directory, self._nodes, self._host = assets, directory, nodes, host
        self.kubeconfig = directory / "kubeconfig"
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._pki = directory / "pki"

    @property
    def authority(self) -> pathlib.Path:
        """The file with the certificate that the API server's, and those of its clients, are signed by."""
        return self._pki / "ca.crt"

    def sign(self, name: str, group: str, path: pathlib.Path) -> None:
        """Make a client certificate, and beside it its key: PATH.crt, PATH.key."""
        request = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/O={group}/CN={name}"]
        signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1"]
        for command in (
            [*request, "-keyout", f"{path}.key", "-out", f"{path}.csr"],
            ["x509", "-req", "-in", f"{path}.csr", *signing, "-out", f"{path}.crt"],
        ):
            subprocess.run(["openssl", *command], cwd=self._pki, check=True, capture_output=True)

    @property
    def url(self) -> str:
        return f"https://{self._host}:{self.port}"

    def start(self) -> None:
        """Start everything and wait until the API is ready; raises ClusterError."""
        self._pki.mkdir(parents=True)
        self._make_certificates()
        self._write_kubeconfig()
        self._etcd_port = free_port()
        self._run(
            "etcd", "--data-dir=etcd", "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{self._etcd_port}",
            f"--advertise-client-urls=http://127.0.0.1:{self._etcd_port}",
            f"--listen-peer-urls=http://127.0.0.1:{free_port()}",
        )  # fmt: skip
        self.start_api_server()
        if self._nodes:
            self._start_controllers()

    def stop(self) -> None:
        """End everything at once: nothing here outlives the run."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.processes.clear()

    def start_api_server(self) -> None:
        """Start kube-apiserver, on the same port as before, and wait until it is ready."""
        pki = self._pki
        self._run(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--bind-address={self._host}", f"--secure-port={self.port}",
            f"--tls-cert-file={pki / 'server.crt'}", f"--tls-private-key-file={pki / 'server.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki / 'accounts.pub'}",
            f"--service-account-signing-key-file={pki / 'accounts.key'}",
            "--service-cluster-ip-range=10.0.0.0/24", "--allow-privileged=true",
            "--authorization-mode=RBAC", "--token-auth-file=tokens.csv", f"--client-ca-file={pki / 'ca.crt'}",
        )  # fmt: skip
        self._wait_ready()

    def stop_api_server(self) -> None:
        """Kill kube-apiserver, as in a crash; etcd and the others go on."""
        process = self.processes.pop("kube-apiserver")
        process.kill()
        process.wait()

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Return what kubectl prints; raises CalledProcessError if it fails."""
        command = [str(self.assets / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, text=True, check=True, stdout=subprocess.PIPE)
        return done.stdout

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, name: str, *arguments: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            command = [str(self.assets / name), *arguments]
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)

    def _start_controllers(self) -> None:
        kubeconfig = f"--kubeconfig={self.kubeconfig}"
        delegated = [
            kubeconfig,
            f"--authentication-kubeconfig={self.kubeconfig}",
            f"--authorization-kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ]
        self._run(
            "kube-controller-manager", *delegated, f"--secure-port={free_port()}",
            f"--service-account-private-key-file={self._pki / 'accounts.key'}",
            f"--root-ca-file={self._pki / 'ca.crt'}", "--use-service-account-credentials=false",
        )  # fmt: skip
        self._run("kube-scheduler", *delegated, f"--secure-port={free_port()}")
        self._run(
            "kwok", kubeconfig, "--manage-all-nodes=true", f"--config={self.assets / 'kwok-stages.yaml'}",
            f"--server-address=127.0.0.1:{free_port()}", "--node-lease-duration-seconds=40",
        )  # fmt: skip
        names = [f"node-{i}" for i in range(self._nodes)]
        nodes = [
            {
                **NODE,
                "metadata": {
                    "name": name,
                    "annotations": FAKE,
                    "labels": {"kubernetes.io/hostname": name},
                },
            }
            for name in names
        ]
        self.kubectl("create", "-f", "-", stdin="\n".join(json.dumps(node) for node in nodes))

    def _make_certificates(self) -> None:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        (self._pki / "names").write_text(
            f"subjectAltName=IP:{self._host},DNS:localhost,DNS:kubernetes.default.svc\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"  # asked for since Python 3.13
        )
        for command in (
            ["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", "accounts.key"],
            ["ec", "-in", "accounts.key", "-pubout", "-out", "accounts.pub"],
            [
                "req", "-x509", *curve, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key",
                "-out", "ca.crt", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            ],
            ["req", *curve, "-subj", "/CN=kube-apiserver", "-keyout", "server.key", "-out", "server.csr"],
            [
                "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "names", "-out", "server.crt",
            ],
        ):  # fmt: skip
            subprocess.run(["openssl", *command], cwd=self._pki, check=True, capture_output=True)

    def _write_kubeconfig(self) -> None:
        (self.directory / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")
        write_kubeconfig(self.kubeconfig, self.url, token=self.token, authority=str(self._pki / "ca.crt"))

    def _wait_ready(self) -> None:
        context = ssl.create_default_context(cafile=str(self._pki / "ca.crt"))
        request = urllib.request.Request(
            f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token}"}
        )
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    log = self.directory / f"{name}.log"
                    raise ClusterError(f"{name} exited with {process.returncode}: see {log}")
            with contextlib.suppress(OSError), urllib.request.urlopen(request, context=context, timeout=2):
                return
            time.sleep(0.05)
        raise ClusterError(f"kube-apiserver was not ready in {READY_SECONDS:g} s: see {self.directory}")
