"""What `natsscaler check` asks for is what config/rbac grants."""

import pathlib

import yaml

from natsscaler.core.permissions import ACTING, LEADING, READING_SECRETS, Permission

RBAC = pathlib.Path(__file__).parents[2] / "config/rbac"


def granted(role: str) -> set[Permission]:
    return {
        Permission(verb, resource, group)
        for rule in yaml.safe_load((RBAC / role).read_text())["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_what_is_asked_for_is_what_is_granted() -> None:
    assert granted("manager_role.yaml") == set(ACTING)
    assert granted("secret_reader_role.yaml") == {READING_SECRETS}
    assert granted("leader_election_role.yaml") == set(LEADING)
