// What a newcomer sees: a complete rule to begin with.

import { html } from "./vendor/preact.js";
import { Command } from "./parts.js";

const RULE = `apiVersion: scaling.example.com/v1
kind: ScalingRule
metadata:
  name: my-app-scaling
  namespace: default
spec:
  deploymentName: my-app
  namespace: default
  minReplicas: 1
  maxReplicas: 10
  natsMonitoringURL: http://nats:8222
  subject: orders.processing
  scaleUpThreshold: 50
  scaleDownThreshold: 10
  messagesPerReplica: 50
`;

export function Empty() {
  return html`<section id="empty">
    <h2>No scaling rules yet</h2>
    <p>A ScalingRule says which Deployment to scale, and on which NATS subject its messages wait. Start with this one:</p>
    <${Command} text=${RULE} />
    <ol>
      <li>Save it as <code>my-rule.yaml</code>. Set the Deployment, the subject and the address of NATS.</li>
      <li>Create it: <${Command} text="kubectl apply -f my-rule.yaml" /></li>
      <li>It appears here within a second, with what it does and why. If it does not, ask <code>natsscaler check</code> in the operator's pod.</li>
    </ol>
    <p>To see a burst scale a Deployment without a cluster, run <code>natsscaler demo</code>.</p>
  </section>`;
}
