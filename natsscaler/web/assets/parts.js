// What more than one view is made of. Nothing is ever set as HTML, so what comes from a rule stays text.

import { html, useEffect, useState } from "./vendor/preact.js";
import { page } from "./address.js";
import { clock, seconds } from "./format.js";

export const STATES = {
  blocked: { sign: "✕", word: "Needs action" },
  attention: { sign: "!", word: "Warning" },
  waiting: { sign: "…", word: "Waiting" },
  ok: { sign: "✓", word: "OK" },
};
export const GRAVEST = Object.keys(STATES);
const COPIED_MS = 1500;

export const key = ({ namespace, name }) => `${namespace}/${name}`;

export function Sign({ state }) {
  const { sign, word } = STATES[state];
  return html`<span class="sign ${state}" role="img" aria-label=${word}>${sign}</span>`;
}

// Of a state, where it is seen at once that the rule does not scale.
export const titled = ({ title }) => title.replace(/^Not scaling: (.)/, (_, letter) => letter.toUpperCase());

export function RuleLink({ namespace, name }) {
  return html`<a href=${page("rules", namespace, name)} title="${namespace}/${name}">${name}</a>`;
}

export function Time({ at }) {
  return at ? html`<time datetime=${at} title=${clock(at)}>${clock(at)}</time>` : "–";
}

// How long ago, by the operator's clock.
export function Ago({ at, now }) {
  if (!at || !now) return "–";
  const passed = Math.max(0, (Date.parse(now) - Date.parse(at)) / 1000);
  return html`<time datetime=${at} title=${clock(at)}>${seconds(passed)}</time>`;
}

export function Change({ action }) {
  const { fromReplicas, toReplicas } = action;
  const up = toReplicas > fromReplicas;
  return html`<span class="change ${up ? "up" : "down"}"
    ><span aria-hidden="true">${up ? "▲" : "▼"} </span>${fromReplicas} → ${toReplicas}</span
  >`;
}

export function Command({ text }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    const timer = copied ? setTimeout(() => setCopied(false), COPIED_MS) : 0;
    return () => clearTimeout(timer);
  }, [copied]);
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      mark(); // without https a browser gives no clipboard
      document.execCommand("copy");
    }
    setCopied(true);
  }
  function mark() {
    const range = document.createRange();
    range.selectNodeContents(code.current);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  }
  const code = { current: null };
  return html`<div class="command">
    <code ref=${(element) => (code.current = element)}>${text}</code>
    <button type="button" onClick=${copy} aria-label="Copy: ${text}">${copied ? "Copied" : "Copy"}</button>
  </div>`;
}

export function Fix({ fix }) {
  if (!fix) return null;
  return html`<div class="fix">
    <p><strong>Fix: </strong>${fix.text.replace(/[^.:?!]$/, "$&.")}</p>
    ${fix.commands.map((command) => html`<${Command} key=${command} text=${command} />`)}
  </div>`;
}

export function Figure({ name, value, note, state = "", id }) {
  return html`<div class="figure ${state}" id=${id}>
    <dt>${name}</dt>
    <dd><strong>${value}</strong>${note ? html`<small>${note}</small>` : null}</dd>
  </div>`;
}

// A bar up to maxReplicas: what is asked for, and of it what is ready.
export function ReplicasBar({ replicas, readyReplicas, maxReplicas }) {
  if (replicas === null || !maxReplicas) return html`<span class="bar" aria-hidden="true"></span>`;
  const width = (number) => Math.min(60, (60 * number) / maxReplicas);
  const ready = readyReplicas === null ? 0 : Math.min(readyReplicas, replicas);
  return html`<svg class="bar" viewBox="0 0 60 8" aria-hidden="true">
    <rect class="track" width="60" height="8" rx="2" />
    <rect class=${replicas >= maxReplicas ? "asked full" : "asked"} width=${width(replicas)} height="8" rx="2" />
    <rect class="ready" y="2" width=${width(ready)} height="4" rx="1" />
  </svg>`;
}

const [WIDE, HIGH, SPAN] = [110, 20, 600];

// The backlog of the last ten minutes; unknown is hatched.
export function Spark({ trend, up, now }) {
  const end = Date.parse(now) / 1000;
  const x = (time) => Math.max(0, ((time - end + SPAN) / SPAN) * WIDE);
  const top = Math.max(1, up ?? 0, ...trend.map(([, value]) => value ?? 0)) * 1.08;
  const y = (value) => HIGH - 1 - (value / top) * (HIGH - 2);
  let line = "";
  let area = "";
  const gaps = [];
  for (const [index, [time, value]] of trend.entries()) {
    const [from, to] = [x(time), x(trend[index + 1]?.[0] ?? end)];
    if (value === null) {
      gaps.push(html`<rect class="unknown" x=${from} y="1" width=${Math.max(1, to - from)} height=${HIGH - 2} />`);
    } else if (to > from) {
      const joined = index > 0 && trend[index - 1][1] !== null && line;
      line += `${joined ? "L" : "M"}${from.toFixed(1)} ${y(value).toFixed(1)}H${to.toFixed(1)}`;
      area += `M${from.toFixed(1)} ${HIGH}V${y(value).toFixed(1)}H${to.toFixed(1)}V${HIGH}Z`;
    }
  }
  return html`<svg class="spark" viewBox="0 0 ${WIDE} ${HIGH}" aria-hidden="true">
    ${gaps}
    <path class="area" d=${area} />
    ${up ? html`<line class="threshold" x1="0" x2=${WIDE} y1=${y(up)} y2=${y(up)} />` : null}
    <path class="line" d=${line} />
  </svg>`;
}
