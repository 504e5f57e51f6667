// Makes elements and texts. Nothing is ever set as HTML, so what comes from a rule stays text.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

// Only a changed text is set, so that a screen reader speaks on changes and not every time.
export function say(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

export const STATES = {
  blocked: { sign: "✕", word: "Broken" },
  attention: { sign: "!", word: "Attention" },
  waiting: { sign: "…", word: "Waiting" },
  ok: { sign: "✓", word: "Fine" },
};

export function sign(state) {
  return el("span", { class: `sign ${state}`, role: "img", "aria-label": STATES[state].word }, STATES[state].sign);
}

export function count(number) {
  return number === null ? "unknown" : number.toLocaleString();
}

// Of a text or of milliseconds since the epoch; today's times without the date.
export function clock(moment) {
  const date = new Date(moment);
  return date.toDateString() === new Date().toDateString() ? date.toLocaleTimeString() : date.toLocaleString();
}

export function time(text) {
  return text ? el("time", { datetime: text, title: new Date(text).toLocaleString() }, clock(text)) : "never";
}

// A sentence of the operator's, its times as the reader's clock has them.
export function local(text) {
  return text.replace(/\d{4}-\d\d-\d\dT[\d:]+Z/g, clock);
}

export function remedy(fix) {
  if (!fix) return null;
  return el("p", { class: "fix" }, el("strong", {}, "What to do: "), fix.text, ...fix.commands.map((command) => el("code", {}, command)));
}

export function change(action) {
  const { fromReplicas, toReplicas } = action;
  const arrow = toReplicas > fromReplicas ? "▲" : "▼";
  return el(
    "span",
    { class: "change" },
    el("span", { "aria-hidden": "true" }, `${arrow} `),
    `${fromReplicas} → ${toReplicas}`,
  );
}

// A bar from minReplicas to maxReplicas, filled up to the replicas that there are.
export function replicasBar({ replicas, minReplicas, maxReplicas }) {
  if (minReplicas === null) {
    return el("span", {}, "unknown");
  }
  const range = `min ${minReplicas}, max ${maxReplicas}`;
  if (replicas === null) {
    return el("span", {}, "unknown", el("small", {}, range));
  }
  const span = Math.max(1, maxReplicas - minReplicas);
  const share = maxReplicas === minReplicas ? 1 : Math.min(1, Math.max(0, (replicas - minReplicas) / span));
  return el(
    "span",
    {},
    el("span", { class: "figure" }, String(replicas)),
    gauge(share, [], replicas >= maxReplicas ? "full" : "normal"),
    el("small", {}, range),
  );
}

// A bar with a mark at each threshold.
export function backlogBar({ backlog, scaleUpThreshold: up, scaleDownThreshold: down }) {
  const rule =
    up === null ? [] : [el("small", {}, `up above ${count(up)}`), el("small", {}, `down below ${count(down)}`)];
  if (backlog === null) {
    return el("span", {}, "unknown", ...rule);
  }
  const most = Math.max(1.5 * up, 1);
  const level = backlog > up ? "high" : backlog < down ? "low" : "normal";
  return el(
    "span",
    {},
    el("span", { class: "figure" }, count(backlog)),
    gauge(Math.min(1, backlog / most), [down / most, up / most], level),
    ...rule,
  );
}

function gauge(share, marks, level) {
  return svg(
    "svg",
    { class: `gauge ${level}`, viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", x: 0, y: 2, width: 100, height: 6 }),
    svg("rect", { class: "filled", x: 0, y: 2, width: 100 * share, height: 6 }),
    ...marks
      .filter((mark) => mark > 0 && mark <= 1)
      .map((mark) => svg("rect", { class: "mark", x: 100 * mark - 0.5, y: 0, width: 1, height: 10 })),
  );
}
