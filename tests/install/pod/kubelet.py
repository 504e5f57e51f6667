"""What a kubelet and a container runtime do for a pod, without containers.

The pods are real objects, made by the control plane from the manifests. Their process is started here, with
the command, environment, volumes, user and rights of the pod's spec, and a token of its ServiceAccount.
"""

import asyncio
import base64
import json
import os
import pathlib
import random
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any

from natsscaler.demo.ports import free_port
from tests.install.pod.pythons import ROOT, Python
from tests.support.clusters import RealCluster

Object = dict[str, Any]
SANDBOX = pathlib.Path(__file__).with_name("sandbox.sh")
UIDS = range(1_000_700_000, 1_000_800_000)
"""Where OpenShift takes a namespace's uid from, for pods that name none; the group is 0 then."""
PORTS = {"metrics": "METRICS", "probes": "PROBE", "activity": "ACTIVITY"}
"""Pods here share one network, so each gets free ports instead of the manifest's."""


def can_run_pods() -> bool:
    """Say whether this is root, with namespaces of its own to be had."""
    if os.geteuid() or not (shutil.which("unshare") and shutil.which("setpriv")):
        return False
    return not subprocess.run(
        ["unshare", "--mount", "--uts", "true"], check=False, capture_output=True
    ).returncode


class Pod:
    """A pod of the cluster, and the process of its one container."""

    def __init__(self, cluster: RealCluster, pod: Object, python: Python, directory: pathlib.Path) -> None:
        self.name, self.namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        self.process: asyncio.subprocess.Process | None = None
        self._cluster, self._pod, self._python = cluster, pod, python
        (self._container,) = pod["spec"]["containers"]
        self._log = directory / "operator.log"
        self._directory = directory / self.name
        self._ports = {port["name"]: free_port() for port in self._container["ports"]}
        self._tokens: list[tuple[str, str]] = []
        """Tokens that count, oldest first, and the Secrets that they are bound to."""
        uid = random.SystemRandom().choice(UIDS)
        context = pod["spec"].get("securityContext", {}) | self._container["securityContext"]
        self._user = context.get("runAsUser", uid), context.get("runAsGroup", 0)
        self._context = context
        self._mounts: list[tuple[pathlib.Path, str]] = []

    async def start(self, *, refused: bool = False) -> None:
        """Mount the volumes and start the process; `refused`: with a token that counts no more."""
        await asyncio.to_thread(self.mount)
        if refused:
            await asyncio.to_thread(self.revoke_token)
        with self._log.open("ab") as log:
            command = self._command(*self._container.get("command", ["natsscaler"]), *self._container["args"])
            self.process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env={})

    async def stop(self) -> int:
        """End the process as a kubelet does; returns its exit status."""
        assert self.process
        if self.process.returncode is None:
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), self._pod["spec"]["terminationGracePeriodSeconds"])

    async def execute(self, *command: str) -> str:
        """Run a command as `kubectl exec` does; returns what it prints, with its exit status at the end."""
        process = await asyncio.create_subprocess_exec(
            *self._command(*command),
            env={},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return f"{output.decode()}exit status {process.returncode}"

    async def probe(self, kind: str) -> tuple[int, str]:
        """Ask the livenessProbe or the readinessProbe; status 0: no answer."""
        probe = self._container[f"{kind}Probe"]
        asked = probe["httpGet"]
        url = f"http://127.0.0.1:{self._ports[asked['port']]}{asked['path']}"
        return await asyncio.to_thread(_get, url, probe["timeoutSeconds"])

    async def ready(self) -> int:
        """Give the HTTP status of the readinessProbe."""
        return (await self.probe("readiness"))[0]

    async def metrics(self) -> str:
        return (await asyncio.to_thread(_get, f"http://127.0.0.1:{self._ports['metrics']}/metrics", 5))[1]

    @property
    def log(self) -> str:
        return self._log.read_text()

    def process_status(self) -> dict[str, str]:
        """Give what the kernel says of the process: proc_pid_status(5)."""
        assert self.process
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def renew_token(self) -> None:
        """Put a new token into the place of the one before, as a kubelet does; the old one counts on."""
        self._write(self._account_files, {"token": self._token()})

    def revoke_token(self) -> None:
        """Have the API server refuse the oldest token that counts: what it is bound to goes.

        Returns once it does, which takes some seconds: the API server remembers what it has accepted.
        """
        token, bound_to = self._tokens.pop(0)
        self._kubectl("delete", "secret", bound_to)
        deadline = time.monotonic() + 60
        while self._accepted(token):
            assert time.monotonic() < deadline, "the token is still accepted"
            time.sleep(0.2)

    def _accepted(self, token: str) -> bool:
        # a kubeconfig with a token of its own would win
        options = ("--kubeconfig=/dev/null", f"--server={self._cluster.url}", "--insecure-skip-tls-verify")
        command = [str(self._cluster.assets / "kubectl"), *options, f"--token={token}", "auth", "whoami"]
        return not subprocess.run(command, check=False, capture_output=True).returncode

    def _token(self) -> str:
        """Ask for a token; it is bound to a Secret of its own instead of the pod, to be revoked alone."""
        name = f"token-{uuid.uuid4().hex[:8]}"
        self._kubectl("create", "secret", "generic", name)
        account = self._pod["spec"]["serviceAccountName"]
        bound = ("--bound-object-kind=Secret", f"--bound-object-name={name}")
        token = self._kubectl("create", "token", account, *bound)
        self._tokens.append((token, name))
        return token

    def mount(self) -> None:
        """Write the files of the volumes."""
        volumes = {volume["name"]: volume for volume in self._pod["spec"].get("volumes", ())}
        for mount in self._container.get("volumeMounts", ()):
            directory = self._directory / mount["name"]
            if not directory.exists():
                directory.mkdir(parents=True)
                self._write(directory, self._files(volumes[mount["name"]], directory))
            self._mounts.append((directory, mount["mountPath"]))

    def _files(self, volume: Object, directory: pathlib.Path) -> dict[str, str]:
        if "secret" in volume:
            return self._secret(volume["secret"]["secretName"])
        found: dict[str, str] = {}
        for source in volume["projected"]["sources"]:
            if "serviceAccountToken" in source:
                self._account_files = directory
                found[source["serviceAccountToken"]["path"]] = self._token()
            elif "configMap" in source:
                data = self._get("configmap", source["configMap"]["name"])["data"]
                found |= {item["path"]: data[item["key"]] for item in source["configMap"]["items"]}
            else:
                items = source["downwardAPI"]["items"]
                found |= {item["path"]: self._field(item["fieldRef"]["fieldPath"]) for item in items}
        return found

    def _write(self, directory: pathlib.Path, files: Mapping[str, str]) -> None:
        """Replace files at once: by the link ..data to a directory that has all of them."""
        data, version = directory / "..data", directory / f"..{uuid.uuid4().hex}"
        if data.exists():
            shutil.copytree(data, version)
        version.mkdir(exist_ok=True)
        for name, text in files.items():
            (version / name).write_text(text)
            if not (directory / name).is_symlink():
                (directory / name).symlink_to(f"..data/{name}")
        draft = directory / "..data_tmp"
        draft.symlink_to(version.name)
        draft.replace(data)

    def container(self, image: str) -> list[str]:
        """Give the arguments by which `docker run` does the same with an image."""
        uid, gid = self._user
        volumes = [f"--volume={directory}:{path}:ro" for directory, path in self._mounts]
        return [
            *("--network=host", f"--user={uid}:{gid}", *volumes),
            *(f"--env={name}={value}" for name, value in self._environment().items()),
            *(("--read-only",) if self._context["readOnlyRootFilesystem"] else ()),
            *(f"--cap-drop={name}" for name in self._context["capabilities"]["drop"]),
            *(("--security-opt=no-new-privileges",) if not self._context["allowPrivilegeEscalation"] else ()),
            *(image, *self._container["args"]),
        ]

    def _environment(self) -> dict[str, str]:
        service = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._cluster.port),
            "HOSTNAME": self.name,
        }
        given = {variable["name"]: self._value(variable) for variable in self._container.get("env", ())}
        ports = {f"NATSSCALER_{PORTS[name]}_PORT": str(port) for name, port in self._ports.items()}
        return service | given | ports

    def _value(self, variable: Object) -> str:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            return self._field(source["fieldRef"]["fieldPath"])
        if "secretKeyRef" in source:
            return self._secret(source["secretKeyRef"]["name"])[source["secretKeyRef"]["key"]]
        return str(variable.get("value", ""))

    def _field(self, path: str) -> str:
        found: Any = self._pod
        for name in path.split("."):
            found = found[name]
        return str(found)

    def _command(self, program: str, *arguments: str) -> list[str]:
        assert program == "natsscaler"
        uid, gid = self._user
        capabilities = self._context["capabilities"]["drop"] == ["ALL"]
        root = self._directory / f"root-{uuid.uuid4().hex[:8]}"
        root.mkdir(parents=True)
        image = {
            "PATH": f"{self._python.program.parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }
        programs = [(path, path) for path in {ROOT, *self._python.directories} if not _is_system(path)]
        binds = [f"{source}:{target}" for source, target in (*programs, *self._mounts)]
        return [
            *("unshare", "--mount", "--uts", str(SANDBOX), str(root), self.name, *binds, "--"),
            *("/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"),
            *(("--no-new-privs",) if not self._context["allowPrivilegeEscalation"] else ()),
            *(("--bounding-set=-all", "--inh-caps=-all") if capabilities else ()),
            *(
                "/usr/bin/env",
                "-i",
                *(f"{name}={value}" for name, value in (image | self._environment()).items()),
            ),
            *(str(self._python.program), "-m", "natsscaler", *arguments),
        ]

    def _secret(self, name: str) -> dict[str, str]:
        data = self._get("secret", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self._kubectl("get", kind, name, "-o", "json"))
        return found

    def _kubectl(self, *arguments: str) -> str:
        return self._cluster.kubectl("-n", self.namespace, *arguments).strip()


def _is_system(path: pathlib.Path) -> bool:
    return path.is_relative_to("/usr")


def _get(url: str, seconds: float) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)
