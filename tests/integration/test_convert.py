"""What `natsscaler convert` makes is accepted by a real API server with the CRD."""

import pytest
import yaml

from tests.support.clusters import RealCluster
from tests.unit.keda import INPUTS, converted

NAMESPACE = "converted"


@pytest.mark.control_plane
def test_every_converted_rule_is_accepted(control_plane: RealCluster) -> None:
    rules = [rule for name in INPUTS for rule in yaml.safe_load_all(converted(name)) if rule]
    for rule in rules:
        rule["metadata"]["namespace"] = rule["spec"]["namespace"] = NAMESPACE
    control_plane.kubectl("create", "namespace", NAMESPACE)
    command = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
    accepted = control_plane.kubectl(*command, stdin=yaml.safe_dump_all(rules))
    names = {line.split()[0] for line in accepted.splitlines()}
    assert names == {f"scalingrule.scaling.example.com/{rule['metadata']['name']}" for rule in rules}
    assert len(rules) > len(INPUTS)
