// The chart of one rule: backlog above, replicas below, as steps over the same time.

import { count, svg } from "./dom.js";

const LEFT = 64;
const RIGHT = 12;
const PANELS = [
  { name: "Backlog (messages)", top: 26, height: 170, column: 1, kind: "backlog" },
  { name: "Replicas", top: 236, height: 96, column: 2, kind: "replicas" },
];
const BOTTOM = 332;
const HEIGHT = 358;

// Draws points ([time, backlog, replicas], seconds) from `begin` to `end`; returns the SVG element.
export function draw({ points, actions, rule, begin, end, width }) {
  const x = (time) => LEFT + ((time - begin) / (end - begin)) * (width - LEFT - RIGHT);
  const steps = clip(points, begin, end);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img" });
  picture.append(svg("title", {}, describe(steps, rule)), hatching());
  for (const panel of PANELS) {
    const lines = panel.kind === "backlog" ? thresholds(rule) : bounds(rule);
    const values = steps.map((step) => step[panel.column]).filter((value) => value !== null);
    const top = ceiling(Math.max(1, ...values, ...lines.map(([, value]) => value)));
    const y = (value) => panel.top + panel.height * (1 - value / top);
    picture.append(...axis(panel, top, y, width));
    picture.append(...unknown(steps, panel, x, end));
    for (const [kind, value] of lines) {
      picture.append(svg("line", { class: kind, x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    }
    picture.append(svg("path", { class: `line ${panel.kind}`, d: path(steps, panel.column, x, y, end) }));
    if (panel.kind === "replicas") {
      picture.append(...marks(actions, begin, end, x, y));
    }
  }
  picture.append(...clockTicks(begin, end, x, width));
  return picture;
}

export function valueAt(points, time) {
  return points.findLast((point) => point[0] <= time);
}

export function timeAt(picture, clientX, begin, end) {
  const box = picture.getBoundingClientRect();
  const share = (clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
  return begin + Math.min(1, Math.max(0, share)) * (end - begin);
}

function clip(points, begin, end) {
  const before = points.findLast((point) => point[0] <= begin);
  const within = points.filter((point) => point[0] > begin && point[0] <= end);
  return before ? [[begin, before[1], before[2]], ...within] : within;
}

function path(steps, column, x, y, end) {
  let drawn = "";
  let last = null;
  for (const [index, step] of steps.entries()) {
    const value = step[column];
    if (value !== null) {
      const from = x(step[0]).toFixed(1);
      const to = x(steps[index + 1]?.[0] ?? end).toFixed(1);
      const height = y(value).toFixed(1);
      drawn += `${last === null ? `M${from} ${height}` : `V${height}`}H${to}`;
    }
    last = value;
  }
  return drawn;
}

function unknown(steps, panel, x, end) {
  return steps
    .map((step, index) => [step[panel.column], step[0], steps[index + 1]?.[0] ?? end])
    .filter(([value]) => value === null)
    .map(([, from, to]) =>
      svg("rect", { class: "unknown", x: x(from), y: panel.top, width: Math.max(1, x(to) - x(from)), height: panel.height }),
    );
}

function hatching() {
  const line = svg("path", { d: "M0 8L8 0", class: "hatch" });
  return svg("defs", {}, svg("pattern", { id: "hatching", width: 8, height: 8, patternUnits: "userSpaceOnUse" }, line));
}

function thresholds({ scaleUpThreshold: up, scaleDownThreshold: down }) {
  return up === null ? [] : [["up", up], ["down", down]];
}

function bounds({ minReplicas: min, maxReplicas: max }) {
  return min === null ? [] : [["bound", min], ["bound", max]];
}

function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * unit).find((step) => step >= value);
}

function axis(panel, top, y, width) {
  const ticks = [0, top / 2, top].filter(Number.isInteger);
  return [
    svg("text", { class: "name", x: 0, y: panel.top - 10 }, panel.name),
    ...ticks.flatMap((tick) => [
      svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick", x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, count(tick)),
    ]),
  ];
}

function marks(actions, begin, end, x, y) {
  return actions
    .map((action, index) => ({ action, number: actions.length - index, at: Date.parse(action.timestamp) / 1000 }))
    .filter(({ at }) => at >= begin && at <= end)
    .map(({ action, number, at }) => {
      const up = action.toReplicas > action.fromReplicas;
      const [left, height] = [x(at), y(action.toReplicas)];
      return svg(
        "g",
        { class: "action" },
        svg("title", {}, `${number}: ${action.fromReplicas} → ${action.toReplicas}, ${action.reason}`),
        svg("path", { d: up ? `M${left} ${height - 7}l6 11h-12z` : `M${left} ${height}l6 -11h-12z` }),
        svg("text", { x: left, y: height - (up ? 11 : 15), "text-anchor": "middle" }, String(number)),
      );
    });
}

function clockTicks(begin, end, x, width) {
  const number = Math.max(2, Math.min(6, Math.floor(width / 130)));
  return Array.from({ length: number + 1 }, (_, index) => {
    const time = begin + (index / number) * (end - begin);
    const text = new Date(time * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: end - begin < 3600 ? "2-digit" : undefined });
    const anchor = index === 0 ? "start" : index === number ? "end" : "middle";
    return svg("text", { class: "tick", x: x(time), y: BOTTOM + 20, "text-anchor": anchor }, text);
  });
}

function describe(steps, { scaleUpThreshold: up, scaleDownThreshold: down, minReplicas: min, maxReplicas: max }) {
  const known = (column) => steps.map((step) => step[column]).filter((value) => value !== null);
  const range = (values) =>
    values.length ? `between ${count(Math.min(...values))} and ${count(Math.max(...values))}` : "unknown";
  return `Backlog ${range(known(1))}, thresholds ${down} and ${up}. Replicas ${range(known(2))}, bounds ${min} and ${max}.`;
}
