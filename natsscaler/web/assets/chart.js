// Backlog above, replicas below, over the same time: two uPlots with one cursor.

import uPlot from "./vendor/uplot.js";
import { clock, count, isUtc, short, tick } from "./format.js";

const GUTTER = 64;
const NEAR_PX = 8;
const HATCH_PX = 7;
const [, BACKLOG, REPLICAS, READY] = [0, 1, 2, 3];

function colors() {
  const style = getComputedStyle(document.documentElement);
  const names = ["text", "quiet", "line", "link", "ok", "attention", "blocked", "ground"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

// Draws into `place`; `pick` is told what a person has dragged over, as [begin, end] in seconds.
export class Chart {
  constructor(place, pick) {
    this.place = place;
    this.pick = pick;
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.plots = [];
    this.at = null;
  }

  // `points`: [time, backlog, replicas, ready]; `span`: [begin, end], both in seconds.
  show({ points, actions, rule, span, now }) {
    this.points = closed(clip(points, span, now));
    Object.assign(this, { actions: dated(actions), rule, span });
    const columns = [0, 1, 2, 3].map((column) => this.points.map((point) => point[column] ?? null));
    if (this.plots.length === 0) this.build();
    const [times] = columns;
    this.plots[0].setData([times, columns[BACKLOG]], true);
    this.plots[1].setData([times, columns[REPLICAS], columns[READY]], true);
    if (!this.tip.hidden) this.tell(this.plots[0]);
  }

  build() {
    const color = colors();
    this.color = color;
    this.pixels = devicePixelRatio || 1;
    const [above, below] = [document.createElement("div"), document.createElement("div")];
    this.place.replaceChildren(above, below, this.tip);
    const steps = uPlot.paths.stepped({ align: 1 });
    const line = (stroke, more) => ({ stroke, width: 2, paths: steps, points: { show: false }, spanGaps: false, ...more });
    const area = { fill: `${color.link}26` };
    this.plots = [
      this.plot(above, 220, [{}, line(color.link, area)], BACKLOG, () => this.thresholds()),
      this.plot(below, 130, [{}, line(color.link, { width: 1.5, dash: [5, 3] }), line(color.ok)], REPLICAS, () => this.bounds()),
    ];
  }

  plot(place, height, series, column, lines) {
    const { color } = this;
    const font = "12px system-ui, sans-serif";
    const axis = { stroke: color.quiet, font, grid: { stroke: color.line, width: 1 }, ticks: { show: false } };
    const options = {
      width: this.place.clientWidth,
      height,
      series,
      legend: { show: false },
      padding: [18, 12, 0, 0],
      tzDate: isUtc() ? (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC") : undefined,
      scales: { x: { time: true, range: () => this.span }, y: { range: (_, __, most) => [0, headroom(most, lines())] } },
      axes: [
        { ...axis, size: 26, values: (_, splits, __, ___, distance) => splits.map((at) => tick(at * 1000, distance)), space: 90 },
        { ...axis, size: GUTTER, values: (_, splits) => splits.map((value) => (Number.isInteger(value) ? short(value) : "")) },
      ],
      cursor: { sync: { key: "rule" }, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      hooks: {
        drawClear: [(plot) => this.hatch(plot, column)],
        draw: [(plot) => this.levels(plot, lines()), (plot) => this.marks(plot, column)],
        setCursor: [(plot) => this.tell(plot)],
        setSelect: [(plot) => this.dragged(plot)],
      },
    };
    return new uPlot(options, [[], ...series.slice(1).map(() => [])], place);
  }

  resize() {
    for (const plot of this.plots) plot.setSize({ width: this.place.clientWidth, height: plot.height });
  }

  // After a change of colours or of the time zone.
  rebuild() {
    for (const plot of this.plots) plot.destroy();
    this.plots = [];
  }

  dragged(plot) {
    const { left, width } = plot.select;
    if (width < NEAR_PX) return;
    const picked = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    for (const one of this.plots) one.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.pick(picked);
  }

  thresholds() {
    const { scaleUpThreshold: up, scaleDownThreshold: down } = this.rule;
    if (up === null) return [];
    return [
      { value: up, text: `up above ${count(up)}`, color: this.color.attention, dash: [6, 4] },
      { value: down, text: `down below ${count(down)}`, color: this.color.attention, dash: [2, 4], below: true },
    ];
  }

  bounds() {
    const { minReplicas: min, maxReplicas: max } = this.rule;
    if (min === null) return [];
    return [
      { value: max, text: `max ${count(max)}`, color: this.color.quiet, dash: [2, 3] },
      { value: min, text: `min ${count(min)}`, color: this.color.quiet, dash: [2, 3], below: true },
    ];
  }

  levels(plot, lines) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.font = `${12 * this.pixels}px system-ui, sans-serif`;
    ctx.textAlign = "right";
    let last = -Infinity;
    for (const { value, text, color, dash, below } of lines) {
      const y = plot.valToPos(value, "y", true);
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      ctx.strokeStyle = ctx.fillStyle = color;
      ctx.lineWidth = this.pixels;
      ctx.setLineDash(dash.map((length) => length * this.pixels));
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      const crowded = Math.abs(y - last) < 16 * this.pixels;
      if (!(below && crowded)) ctx.fillText(text, bbox.left + bbox.width - 4 * this.pixels, y - 4 * this.pixels);
      last = y;
    }
    ctx.restore();
  }

  hatch(plot, column) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    for (const [index, point] of this.points.entries()) {
      if (point[column] !== null) continue;
      const from = plot.valToPos(point[0], "x", true);
      const to = plot.valToPos(this.points[index + 1]?.[0] ?? point[0], "x", true);
      ctx.rect(from, bbox.top, Math.max(to - from, 0), bbox.height);
    }
    ctx.clip();
    ctx.strokeStyle = this.color.blocked;
    ctx.globalAlpha = 0.35;
    ctx.beginPath();
    for (let x = bbox.left - bbox.height; x < bbox.left + bbox.width; x += HATCH_PX * this.pixels) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }

  marks(plot, column) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.textAlign = "left";
    ctx.font = `600 ${12 * this.pixels}px system-ui, sans-serif`;
    let free = -Infinity;
    for (const { at, up, text } of this.actions) {
      const x = plot.valToPos(at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = up ? this.color.ok : this.color.quiet;
      ctx.setLineDash([2 * this.pixels, 3 * this.pixels]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (column !== BACKLOG) continue;
      const width = ctx.measureText(text).width;
      const fits = x - 8 > free && x + width < bbox.left + bbox.width + 12 * this.pixels;
      ctx.fillText(fits ? text : text[0], x - 5 * this.pixels, bbox.top - 5 * this.pixels);
      free = x + (fits ? width : 0);
    }
    ctx.restore();
  }

  tell(plot) {
    const { left } = plot.cursor;
    if (left === null || left === undefined || left < 0) {
      this.tip.hidden = true;
      return;
    }
    const at = plot.posToVal(left, "x");
    const point = this.points.findLast(([time]) => time <= at);
    const action = this.actions.find((one) => Math.abs(plot.valToPos(one.at, "x") - left) < NEAR_PX);
    const ready = point?.[READY] ?? null;
    const lines = [
      ["", clock((action?.at ?? at) * 1000) + (isUtc() ? " UTC" : "")],
      ["Backlog", known(point?.[BACKLOG])],
      ["Replicas", known(point?.[REPLICAS]) + (ready === null ? "" : `, ${count(ready)} ready`)],
      ...(action ? [["", `${action.text}: ${action.reason}`]] : []),
    ];
    this.tip.replaceChildren(
      ...lines.map(([name, value]) => {
        const line = document.createElement("p");
        const strong = document.createElement("strong");
        strong.textContent = value;
        line.append(name ? `${name} ` : "", strong);
        return line;
      }),
    );
    this.tip.hidden = false;
    const x = left + GUTTER;
    const flip = x > this.place.clientWidth / 2;
    this.tip.style.left = flip ? "" : `${x + 14}px`;
    this.tip.style.right = flip ? `${this.place.clientWidth - x + 14}px` : "";
  }

  // Moves the cursor to the next change of replicas, or with -1 to the one before.
  step(direction) {
    const plot = this.plots[0];
    if (!plot) return;
    const shown = this.actions.filter(({ at }) => at >= this.span[0] && at <= this.span[1]);
    if (shown.length === 0) return;
    const here = shown.findIndex(({ at }) => at === this.at);
    const next = here < 0 ? (direction > 0 ? 0 : shown.length - 1) : Math.max(0, Math.min(shown.length - 1, here + direction));
    this.at = shown[next].at;
    plot.setCursor({ left: plot.valToPos(this.at, "x"), top: 20 });
    this.tell(plot);
  }

  get text() {
    return this.tip.hidden ? "" : this.tip.textContent;
  }
}

const known = (value) => (value === null || value === undefined ? "unknown" : count(value));

function dated(actions) {
  return actions
    .map(({ timestamp, fromReplicas, toReplicas, reason }) => {
      const up = toReplicas > fromReplicas;
      return { at: Date.parse(timestamp) / 1000, up, text: `${up ? "▲" : "▼"} ${fromReplicas} → ${toReplicas}`, reason };
    })
    .toReversed();
}

function headroom(most, lines) {
  return Math.max(1, most ?? 0, ...lines.map(({ value }) => value)) * 1.08;
}

// The points of a span; what held before it holds at its beginning, and the last one until now.
export function clip(points, [begin, end], now) {
  const before = points.findLast(([time]) => time <= begin);
  const within = points.filter(([time]) => time > begin && time <= end);
  const all = before ? [[begin, ...before.slice(1)], ...within] : within;
  const last = all.at(-1);
  return last ? [...all, [Math.max(last[0], Math.min(end, now)), ...last.slice(1)]] : [];
}

// A line goes up to the moment from which a value is unknown, which uPlot does not do by itself.
function closed(points) {
  return points.flatMap((point, index) => {
    const before = points[index - 1];
    const ends = before?.some((value, column) => value !== null && point[column] === null);
    return ends ? [[point[0] - 0.001, ...before.slice(1)], point] : [point];
  });
}

export function describe(points, { scaleUpThreshold: up, scaleDownThreshold: down, minReplicas: min, maxReplicas: max }) {
  const range = (column) => {
    const values = points.map((point) => point[column]).filter((value) => value !== null);
    return values.length ? `between ${count(Math.min(...values))} and ${count(Math.max(...values))}` : "unknown";
  };
  return `Backlog ${range(BACKLOG)}, thresholds ${count(down)} and ${count(up)}. Replicas ${range(REPLICAS)}, min ${count(min)} and max ${count(max)}.`;
}
