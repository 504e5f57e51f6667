"""`natsscaler record`: a rule's past, as the operator's page knows it, to be simulated later."""

from collections.abc import Sequence

import msgspec

from natsscaler.commands.simulating_arguments import record_parser
from natsscaler.commands.traces import from_operator, rule_key
from natsscaler.settings import parse as parse_settings


def record(program: str, arguments: Sequence[str]) -> str:
    """Give the recording as JSON. Raises SettingsError."""
    options = record_parser(program).parse_args(arguments)
    token = parse_settings([]).activity_token
    found = from_operator(options.from_operator, rule_key(options.rule), token, options.seconds)
    return msgspec.json.encode(found).decode()
