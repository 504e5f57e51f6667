"""All that natsscaler asks of the Kubernetes API and writes to it, besides Kopf's watch of ScalingRules.

Read `kubeconfig` (which API server, as whom), `login` (credentials, kept up to date), `connection` (both, as
a client), `objects` (what is decoded), `api` (a request and its failures), `watch` (a table kept by list and
watch), `bodies` (what is written), `cluster` (all of it together).
"""

from natsscaler.kube.cluster import Kube
from natsscaler.kube.connection import KubeClient, connect
from natsscaler.kube.objects import Deployment
from natsscaler.kube.watch import Watch

__all__ = ["Deployment", "Kube", "KubeClient", "Watch", "connect"]
