"""One tenant's rules and servers beside a good rule, which goes on as if it were alone."""

import pytest
from nats.aio.client import Client

from natsscaler.demo.nats_server import NatsServer
from tests import faulty_monitoring as faults
from tests.shell.world import TARGET, World, publish, until

pytestmark = pytest.mark.timeout(60)
AT_ONCE = {"scaleDown": {"stabilizationWindowSeconds": 0}}


async def test_a_slow_server_that_claims_another_ones_id_pays_for_itself(
    here: World, orders: Client, nats_server: NatsServer
) -> None:
    """What the operator spends on a read is kept by where the answer came from, not by what it claims."""
    here.apply("good", messagesPerReplica=20, behavior=AT_ONCE)
    await here.rests()
    async with faults.front(nats_server) as liar:
        liar.fault = faults.slow(4.5)
        reads = here.monitoring.reads
        here.apply("slow", deploymentName="other", natsMonitoringURL=liar.url, events=[])
        await until(lambda: here.monitoring.reads == reads + 1)
        await publish(orders, 100)
        await until(lambda: here.cluster.table[TARGET] == 5)
