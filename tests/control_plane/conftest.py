"""A real cluster that nothing has been installed on: not even the CRD."""

import pathlib
from collections.abc import Iterator

import pytest

from tests.clusters import RealCluster, assets_from_environment

CONFIG = pathlib.Path(__file__).parents[2] / "config"


@pytest.fixture(scope="package")
def empty_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """The cluster of these tests; whoever installs something takes it away again."""
    assets = assets_from_environment()
    assert assets, "tests that use empty_cluster are marked control_plane"
    with RealCluster(assets, tmp_path_factory.mktemp("empty-cluster")) as cluster:
        yield cluster
