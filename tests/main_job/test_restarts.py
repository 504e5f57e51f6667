"""Nothing is lost, and nothing scaled wrongly, when what natsscaler depends on goes away and comes back."""

from functools import partial

from tests.conftest import KubeApi
from tests.main_job.stage import Stage
from tests.main_job.test_main_job import LONG, listening


async def test_an_exit_on_sigterm_is_clean(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG)
    operator = await stage.start()
    await listening(stage)
    operator.terminate()
    assert await operator.wait() == 0


async def test_a_burst_while_the_kubernetes_api_is_away_scales_once_it_is_back(
    stage: Stage, kube_api: KubeApi
) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    operator = await stage.start()
    await listening(stage)
    await kube_api.stop()
    await stage.publish(100)
    await kube_api.start()
    await stage.becomes(5, stage.replicas, seconds=40)
    assert operator.returncode is None
    await stage.publish(20)
    await stage.becomes(6, stage.replicas)


async def test_nats_restarting_loses_no_wake_up(stage: Stage) -> None:
    await stage.create_deployment()
    await stage.apply_sample(pollIntervalSeconds=LONG, messagesPerReplica=20)
    await stage.start()
    await listening(stage)
    await stage.nats.kill()
    await stage.becomes(("False", "NotConnected"), partial(stage.condition, "EventDriven"))
    await stage.nats.start()
    await listening(stage)
    await stage.publish(100)
    await stage.becomes(5, stage.replicas)
