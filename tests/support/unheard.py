"""nats-servers whose users may not do everything."""

from collections.abc import Awaitable, Callable

from natsscaler.demo.nats_server import NatsServer

Servers = Callable[..., Awaitable[NatsServer]]


USERS = """
authorization {
  users = [
    {user: admin, password: admin}
    {user: limited, password: limited, permissions: %s}
  ]
}
no_auth_user: limited
"""
