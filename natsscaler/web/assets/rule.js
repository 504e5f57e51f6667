// One rule: why it does what it does, its past, and what would change it.

import { draw, timeAt, valueAt } from "./chart.js";
import { backlogBar, change, clock, count, el, local, remedy, replicasBar, say, sign, time } from "./dom.js";
import { address, follow } from "./live.js";

const RANGES = [
  [600, "10 minutes"],
  [3600, "hour"],
  [86400, "day"],
];
// Seconds that a chart covers at least.
const SHORTEST = 60;
const SOURCES = {
  deadline: "Deadline: the poll interval, or the time of the next change",
  doorbell: "Doorbell: messages were published",
  late: "A decision that could not be carried out in time",
  advisory: "Advisory: JetStream told of a stream or consumer",
  connection: "Connection to NATS: came or went",
  deployment: "Deployment: changed, or its HorizontalPodAutoscaler",
  rule: "Rule: created or edited, or one of the same Deployment",
  scaled: "Its own change of replicas",
};

const [namespace, name] = location.pathname.split("/").slice(-2).map(decodeURIComponent);
const chart = document.getElementById("chart");
const readout = document.getElementById("readout");
const points = document.getElementById("points");
const ranges = document.querySelector("#ranges fieldset");

let rule = null;
let history = [];
let now = 0;
let standsBy = false;
let range = RANGES[0][0];

// The verdict is what a person who has never seen this page needs first.
function verdict({ summary, steps, conditions, pollIntervalSeconds }) {
  const { state, title, text, fix } = summary.state;
  const next = steps.find((one) => one.title === "Next change");
  const failing = conditions.find((one) => one.type === "Ready" && one.status === "False");
  const slower = summary.events.listening === false ? `no event triggers a check, one is made every ${pollIntervalSeconds} s: ${summary.events.message}` : null;
  return el(
    "div",
    { class: `verdict ${state}` },
    el("p", { class: "title" }, sign(state), " ", title, failing ? el("small", {}, "not ready since ", time(failing.lastTransitionTime)) : null),
    el("p", {}, local(text)),
    remedy(fix),
    next ? el("p", {}, el("strong", {}, "Next change: "), local(next.text)) : null,
    slower ? el("p", {}, el("strong", {}, "Reacts slower: "), slower) : null,
  );
}

function checkedAgain({ summary, evaluatedAt, lastDecision, pollIntervalSeconds }) {
  if (!evaluatedAt) return null;
  if (summary.backlog === null) return "tried repeatedly";
  const checked = Date.parse(evaluatedAt);
  const poll = checked + 1000 * pollIntervalSeconds;
  const change = Date.parse(lastDecision?.nextChangeTime);
  const next = change > checked ? Math.min(change, poll) : poll;
  return `again ${summary.events.listening ? "with the next event, and " : ""}at ${clock(next)}`;
}

// One that stands by does not look itself, and the one that leads writes only what is new.
function facts(detail) {
  const { summary, consumers, evaluatedAt } = detail;
  const { deployment, subject, desired, replicas, messagesPerReplica, drainTargetSeconds: drain } = summary;
  const wants = desired !== null && desired !== replicas ? el("small", {}, `wanted: ${desired}`) : null;
  const each = messagesPerReplica ? `${count(messagesPerReplica)} messages per replica` : "one replica per step";
  const by = drain ? `a wait of ${drain} s at most` : each;
  const again = checkedAgain(detail);
  return [
    [deployment?.kind ?? "Deployment", el("span", {}, deployment ? `${deployment.namespace}/${deployment.name}` : "unknown")],
    ["Replicas", el("span", {}, replicasBar(summary), wants)],
    ["Backlog", backlogBar(summary)],
    ["Rates", el("span", {}, ...worked(detail.rates))],
    ["Subject", el("span", {}, subject ?? "unknown", consumers.length ? el("small", {}, `counted on ${consumers.join(", ")}`) : null)],
    ["Scales by", el("span", {}, deployment ? by : "unknown")],
    standsBy
      ? ["Written at", el("span", {}, time(evaluatedAt), el("small", {}, "by the one that leads, who writes changes"))]
      : ["Last checked", el("span", {}, time(evaluatedAt), again ? el("small", {}, again) : null)],
  ].flatMap(([term, value]) => [el("div", {}, el("dt", {}, term), el("dd", {}, value))]);
}

function worked(rates) {
  if (!rates) return ["not yet known"];
  const { arrivingPerSecond: come, processingPerSecond: done, processingPerReadyReplica: each, drainSeconds: drain, estimated } = rates;
  const known = (number, words) => (number === undefined ? null : `${number} ${words}`);
  const lines = [
    known(done, each === undefined ? "processed per second" : `processed per second, ${each} per ready replica`) ?? "processed: unknown",
    known(drain, "s until the backlog is done at this rate"),
    estimated ? "messages delivered again may count as new" : null,
  ];
  return [known(come, "come per second") ?? "coming: unknown", ...lines.filter(Boolean).map((line) => el("small", {}, line))];
}

function step({ title, text, state = "ok", fix }) {
  return el(
    "li",
    { class: state },
    sign(state),
    " ",
    el("strong", {}, `${title}: `),
    local(text),
    remedy(fix),
  );
}

function action(one) {
  return el(
    "li",
    {},
    time(one.timestamp),
    " ",
    change(one),
    ` at a backlog of ${count(one.pendingMessages)}`,
    el("small", {}, one.reason),
  );
}

function condition({ type, status, reason, message, lastTransitionTime, bad }) {
  return el(
    "tr",
    { class: bad ? "bad" : null },
    el("th", { scope: "row" }, type),
    el("td", {}, bad ? el("strong", {}, status) : status),
    el("td", {}, reason),
    el("td", {}, message),
    el("td", {}, time(lastTransitionTime)),
  );
}

function wakeUp({ source, time: at }) {
  return [el("dt", {}, SOURCES[source] ?? source), el("dd", {}, time(at))];
}

// A past that is shorter than what is asked for fills the chart too.
function begin() {
  return Math.max(now - range, Math.min(history[0]?.[0] ?? now, now - SHORTEST));
}

function redraw() {
  if (!rule || chart.clientWidth === 0) {
    return;
  }
  if (history.length === 0) {
    say(chart, "Nothing is known of its past yet.");
    return;
  }
  const picture = draw({
    points: history,
    actions: rule.actions,
    rule: rule.summary,
    begin: begin(),
    end: now,
    width: chart.clientWidth,
  });
  chart.replaceChildren(picture, legend(rule.summary));
  if (points.open) {
    table();
  }
}

function legend({ scaleUpThreshold: up, scaleDownThreshold: down, minReplicas: min, maxReplicas: max }) {
  const keys = [
    ["key backlog", "backlog"],
    ["key replicas", "replicas"],
    ...(up === null ? [] : [["key up", `scales up above ${count(up)}`], ["key down", `scales down below ${count(down)}`]]),
    ...(min === null ? [] : [["key bound", `bounds ${min} and ${max}`]]),
    ["key unknown", "unknown"],
    ["key action", "change of replicas, with its number below"],
  ];
  return el("ul", { class: "legend" }, ...keys.map(([kind, text]) => el("li", {}, el("span", { class: kind }), text)));
}

function table() {
  const rows = history.filter(([at]) => at >= now - range).toReversed().slice(0, 200);
  points.querySelector("table")?.remove();
  points.append(
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...["From", "Backlog", "Replicas"].map((text) => el("th", { scope: "col" }, text)))),
      el(
        "tbody",
        {},
        ...rows.map(([at, backlog, replicas]) =>
          el("tr", {}, el("td", {}, time(new Date(1000 * at).toISOString())), el("td", {}, count(backlog)), el("td", {}, count(replicas))),
        ),
      ),
    ),
  );
}

function read(event) {
  const picture = chart.querySelector("svg");
  if (picture && rule) {
    const at = timeAt(picture, event.clientX, begin(), now);
    const found = valueAt(history, at);
    const when = clock(1000 * at);
    readout.textContent = found ? `${when}: backlog ${count(found[1])}, replicas ${count(found[2])}` : `${when}: unknown`;
  }
}

function replace(id, children) {
  document.getElementById(id).replaceChildren(...children);
}

function show() {
  const panel = document.getElementById("verdict");
  document.getElementById("rule").hidden = rule === null;
  if (rule === null) {
    panel.replaceChildren(
      el("div", { class: "verdict blocked" }, el("p", { class: "title" }, sign("blocked"), " There is no such rule"), el("p", {}, `ScalingRule ${namespace}/${name} does not exist, or not any more.`)),
    );
    return;
  }
  const said = verdict(rule);
  if (panel.textContent !== said.textContent) {
    panel.replaceChildren(said);
  }
  replace("facts", facts(rule));
  replace("actions", rule.actions.map(action));
  document.getElementById("none").hidden = rule.actions.length > 0;
  replace("steps", rule.steps.map(step));
  replace("wakeups", rule.wakeUps.length ? rule.wakeUps.flatMap(wakeUp) : [el("dt", {}, "Not known by this process"), el("dd", {}, "")]);
  document.querySelector("#conditions tbody").replaceChildren(...rule.conditions.map(condition));
  redraw();
}

function update(data) {
  rule = data.rule;
  now = Date.parse(data.timestamp) / 1000;
  standsBy = data.leader?.self === false;
  if (rule) {
    history = [...history.filter(([at]) => at < rule.historyFrom), ...rule.history];
  } else {
    history = [];
  }
  show();
}

say(document.getElementById("name"), `${namespace}/${name}`);
document.title = `${namespace}/${name} – natsscaler`;
for (const [seconds, text] of RANGES) {
  const input = el("input", { type: "radio", name: "range", value: seconds, checked: seconds === range });
  ranges.append(el("label", {}, input, ` ${text}`));
}
ranges.addEventListener("change", () => {
  range = Number(ranges.querySelector("input:checked").value);
  redraw();
});
chart.addEventListener("pointermove", read);
points.addEventListener("toggle", () => points.open && table());
new ResizeObserver(redraw).observe(chart);
follow(address("api", "rules", namespace, name, "events"), update);
