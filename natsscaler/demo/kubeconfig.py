"""Writes kubeconfigs, for clusters that live no longer than a demo or a test."""

import json
import pathlib
from typing import Any

NAME = "natsscaler"


def write_kubeconfig(
    path: pathlib.Path, server: str, *, token: str = "", authority: str = "", namespace: str = "default"
) -> None:
    """Write a kubeconfig (in JSON, which is YAML) that only its owner can read.

    `authority`: the file with the CA certificates of a server that speaks TLS.
    """
    cluster: dict[str, Any] = {"server": server} | ({"certificate-authority": authority} if authority else {})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": {"token": token} if token else {}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": namespace}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2))
