"""Every way that kubectl knows to the API server, for kopf and for the client alike."""

import pathlib
from typing import Any, cast

import kopf
import pytest
from kubernetes.aio import client

from natsscaler.handlers import Handlers
from natsscaler.kube import connect
from natsscaler.reactor import Reactor
from tests.clusters import RealCluster

pytestmark = pytest.mark.control_plane
ACCOUNT = "system:serviceaccount:default:default"
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def kopf_is(api: client.ApiClient) -> str:
    """Say as whom the API server knows kopf."""
    session: kopf.AiohttpSession = await Handlers(cast("Reactor", None), api)._login()
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    async with session.aiohttp_session as http, http.post(session.server + REVIEW, json=body) as answer:
        told = await answer.json()
    return str(told["status"]["userInfo"]["username"] if answer.ok else told["message"])


async def client_is(api: client.ApiClient) -> str:
    """Say as whom the API server knows the client."""
    asked: Any = {}
    review: Any = await client.AuthenticationV1Api(api).create_self_subject_review(asked)
    return str(review.status.user_info.username)


@pytest.fixture
def pod(control_plane: RealCluster, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Let this process find a service account as in a pod; returns the directory of its files."""
    (tmp_path / "token").write_text(control_plane.kubectl("create", "token", "default").strip())
    (tmp_path / "ca.crt").write_bytes((control_plane.directory / "pki/ca.crt").read_bytes())
    module = "kubernetes.aio.config.incluster_config"
    monkeypatch.setattr(f"{module}.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(f"{module}.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(control_plane.port))
    return tmp_path


@pytest.mark.usefixtures("pod")
async def test_in_a_pod_kopf_and_the_client_are_its_service_account() -> None:
    async with await connect(None, in_cluster=True) as api:
        assert await client_is(api) == ACCOUNT
        assert await kopf_is(api) == ACCOUNT
