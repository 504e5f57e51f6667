"""All that natsscaler asks of the Kubernetes API and writes to it, besides Kopf's watch of ScalingRules.

Read `kubeconfig` (which API server and user), `login` (credentials, kept up to date), `connection` (both, as
a client), `objects` (what is decoded), `client` (a request and its failures), `watch` (a table kept by list
and watch), `patches` (what is written), `cluster` (all of it together).
"""
