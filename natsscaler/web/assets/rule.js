// One rule: why it does what it does, its past, and what would change it.

import { html, useEffect, useReducer, useRef } from "./vendor/preact.js";
import { address, page, path } from "./address.js";
import { clock, count, drain, local, plural, rate } from "./format.js";
import { History } from "./history.js";
import { useStream } from "./live.js";
import { Ago, Change, Command, Figure, Fix, Sign, Time } from "./parts.js";
import { Shell } from "./shell.js";
import { yaml } from "./yaml.js";

const SOURCES = {
  deadline: "Timer: the poll interval, or the time of the next change",
  doorbell: "Messages were published",
  late: "A decision that could not be carried out in time",
  advisory: "JetStream reported a change of the stream or consumer",
  connection: "The connection to NATS came or went",
  deployment: "The Deployment or its HorizontalPodAutoscaler changed",
  rule: "The rule, or one of the same Deployment, was created or edited",
  scaled: "Its own change of replicas",
};
const [, namespace, name] = path();

export function View() {
  const store = useRef({ known: false, rule: null, history: [], now: 0 }).current;
  const [, redraw] = useReducer((times) => times + 1, 0);
  const link = useStream(address("api", "rules", namespace, name, "events"), (data) => {
    const { rule } = data;
    const kept = rule ? store.history.filter(([at]) => at < rule.historyFrom) : [];
    Object.assign(store, { known: true, rule, history: rule ? [...kept, ...rule.history] : [] });
  });
  useEffect(() => {
    addEventListener("zone", redraw);
    return () => removeEventListener("zone", redraw);
  }, []);
  const { rule, known } = store;
  return html`<${Shell} link=${link} title=${`${rule ? { blocked: "✕ ", attention: "! " }[rule.summary.state.state] ?? "" : ""}${namespace}/${name} – natsscaler`}>
    <p class="crumbs"><a href=${page("")}>Rules</a> / ${namespace} /</p>
    <h1>${name}</h1>
    ${rule
      ? html`<${Rule} detail=${rule} history=${store.history} now=${link.asOf} standsBy=${link.leader?.self === false} />`
      : html`<section id="verdict" role="status" aria-label="State of the rule" class="verdict ${known ? "blocked" : ""}">
          ${known ? html`<p class="title"><${Sign} state="blocked" /> There is no such rule</p><p>ScalingRule ${namespace}/${name} does not exist, or was deleted.</p>` : "Loading the rule…"}
        </section>`}
  <//>`;
}

function Rule({ detail, history, now, standsBy }) {
  const { summary, actions } = detail;
  return html`
    <${Verdict} ...${detail} now=${now} />
    <${Facts} detail=${detail} now=${now} standsBy=${standsBy} />
    <${History} points=${history} actions=${actions} rule=${summary} now=${Date.parse(now) / 1000} />
    <div class="columns">
      <${Why} ...${detail} />
      <${Scaling} actions=${actions} now=${now} />
    </div>
    <div class="columns">
      <section class="panel"><h2>Commands</h2>
        <${Command} text=${`natsscaler explain ${name} -n ${namespace}`} />
        ${(summary.state.fix?.commands ?? []).map((command) => html`<${Command} key=${command} text=${command} />`)}
      </section>
      <section class="panel" aria-labelledby="wakeups-heading"><h2 id="wakeups-heading">Triggers</h2>
        <dl id="wakeups">${detail.wakeUps.length
          ? detail.wakeUps.map(({ source, time }) => html`<div><dt>${SOURCES[source] ?? source}</dt><dd><${Ago} at=${time} now=${now} /> ago</dd></div>`)
          : html`<div><dt>Unknown to this process</dt></div>`}</dl>
      </section>
    </div>
    <${Conditions} conditions=${detail.conditions} />
    ${detail.spec ? html`<details id="yaml"><summary>YAML</summary><${Command} text=${manifest(detail.spec)} /></details>` : null}
  `;
}

// What a person who has never seen this page needs first.
function Verdict({ summary, steps, now }) {
  const { state, title, text, fix } = summary.state;
  const next = steps.find((one) => one.title === "Next change");
  return html`<section id="verdict" role="status" aria-label="State of the rule" class="verdict ${state}">
    <p class="title"><${Sign} state=${state} /> ${title}
      ${summary.since ? html` <small>not ready for <${Ago} at=${summary.since} now=${now} /></small>` : null}</p>
    <p>${local(text)}</p>
    <${Fix} fix=${fix} />
    ${next ? html`<p><strong>Next change: </strong>${local(next.text)}</p>` : null}
  </section>`;
}

function checkedAgain({ summary, evaluatedAt, lastDecision, pollIntervalSeconds }) {
  if (!evaluatedAt || summary.backlog === null) return "retrying";
  const checked = Date.parse(evaluatedAt);
  const poll = checked + 1000 * pollIntervalSeconds;
  const change = Date.parse(lastDecision?.nextChangeTime);
  const next = change > checked ? Math.min(change, poll) : poll;
  return `${summary.events.listening ? "next: on a message, at the latest" : "next:"} ${clock(next)}`;
}

// One that stands by does not look itself, and the leader writes only what is new.
function Facts({ detail, now, standsBy }) {
  const { summary, consumers, evaluatedAt, rates, lastDecision: last } = detail;
  const { backlog, replicas, readyReplicas, desired, deployment, messagesPerReplica, drainTargetSeconds } = summary;
  const each = rates?.processingPerReadyReplica;
  const sources = last?.sources ?? [];
  const bySources = sources.some((one) => one.messagesPerReplica) ? "messages per replica of each source" : "one replica per step";
  const steps = messagesPerReplica ? `1 per ${count(messagesPerReplica)} messages` : bySources;
  const by = drainTargetSeconds ? `messages wait ${count(drainTargetSeconds)} s at most` : steps;
  const split = last?.pending !== undefined && last.unacknowledged !== undefined;
  return html`<dl id="facts" class="strip">
    <${Figure} name="Backlog" value=${count(backlog)} note=${backlog === null ? "unknown" : split ? `${count(last.pending)} pending, ${count(last.unacknowledged)} unacknowledged` : "messages"} />
    <${Figure} name="Replicas ready" value=${html`${count(readyReplicas)}<span class="of"> / ${count(replicas)}</span>`}
      note=${summary.maxReplicas === null ? "unknown" : `min ${summary.minReplicas}, max ${summary.maxReplicas}${desired !== null && desired !== replicas ? `, needs ${desired}` : ""}`} />
    <${Figure} name="Arriving" value=${html`${rate(rates?.arrivingPerSecond)}<span class="of"> /s</span>`} note=${rates?.estimated ? "may count redeliveries" : "mean of the last minute"} />
    <${Figure} name="Processing" value=${html`${rate(rates?.processingPerSecond)}<span class="of"> /s</span>`} note=${each === undefined ? "mean of the last minute" : `${rate(each)} /s per ready replica`} />
    <${Figure} name="Drains in" value=${drain(summary)} note="at this rate" />
    <${Figure} name=${standsBy ? "Reported" : "Checked"} value=${html`<${Ago} at=${evaluatedAt} now=${now} />`}
      note=${standsBy ? "by the leader, which reports changes" : checkedAgain(detail)} />
  </dl>
  <p class="target">
    ${deployment ? `${deployment.kind} ${deployment.namespace}/${deployment.name} · ${by} · ` : ""}subject <code>${summary.subject ?? "unknown"}</code>${consumers.length ? ` · counted on ${consumers.join(", ")}` : ""}
  </p>
  ${sources.length ? html`<ul id="sources" class="target">${sources.map((one) => html`<li key=${one.subject}>${source(one)}</li>`)}</ul>` : null}`;
}

function source({ subject, backlog, messagesPerReplica: size }) {
  return html`<code>${subject}</code>: ${backlog === undefined ? "unknown" : `backlog ${count(backlog)}`}${size ? `, ${count(size)} per replica` : ""}`;
}

function Why({ summary, steps }) {
  const passed = steps.filter(({ state = "ok" }) => state === "ok");
  const others = steps.filter(({ state = "ok" }) => state !== "ok");
  const list = (shown) => html`<ol class="steps">${shown.map(({ title, text, state = "ok", fix }, index) => html`<li key=${title + index}>
    <${Sign} state=${state} /> <strong>${title}: </strong>${local(text)}
    ${fix && fix.text !== summary.state.fix?.text ? html`<${Fix} fix=${fix} />` : null}
  </li>`)}</ol>`;
  return html`<section id="steps" class="panel" aria-labelledby="steps-heading">
    <h2 id="steps-heading">${summary.replicas === null ? "Why" : `Why ${plural(summary.replicas, "replica")}`}</h2>
    ${list(others)}
    ${passed.length ? html`<details><summary><span class="sign ok" aria-hidden="true">✓</span> ${plural(passed.length, "check")} passed</summary>${list(passed)}</details>` : null}
  </section>`;
}

function Scaling({ actions, now }) {
  return html`<section class="panel" aria-labelledby="actions-heading">
    <h2 id="actions-heading">Scaling history</h2>
    ${actions.length
      ? html`<ol id="actions" reversed>${actions.map((one) => html`<li key=${one.timestamp + one.toReplicas}>
          <${Time} at=${one.timestamp} /> <${Change} action=${one} /> <span class="quiet"><${Ago} at=${one.timestamp} now=${now} /> ago, backlog ${count(one.pendingMessages)}</span>
          <small>${one.reason}</small>
        </li>`)}</ol>`
      : html`<p class="quiet">No scaling recorded. Every change will appear here with its reason.</p>`}
  </section>`;
}

function Conditions({ conditions }) {
  const bad = conditions.filter((one) => one.bad).length;
  return html`<details id="conditions"><summary>Conditions (${bad ? `${bad} not as expected` : "all as expected"})</summary>
    <div class="scroll" role="region" aria-label="Conditions" tabindex="0"><table>
      <thead><tr>${["Condition", "Status", "Reason", "Message", "Since"].map((text) => html`<th scope="col">${text}</th>`)}</tr></thead>
      <tbody>${conditions.map(({ type, status, reason, message, lastTransitionTime, bad: wrong }) => html`<tr key=${type} class=${wrong ? "bad" : ""}>
        <th scope="row">${type}</th><td>${status}</td><td>${reason}</td><td>${message}</td><td><${Time} at=${lastTransitionTime} /></td>
      </tr>`)}</tbody>
    </table></div>
  </details>`;
}

function manifest(spec) {
  return yaml({ apiVersion: "scaling.example.com/v1", kind: "ScalingRule", metadata: { name, namespace }, spec });
}
