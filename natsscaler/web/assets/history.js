// The past of a rule: the chart with its ranges, and the same as a table.

import { html, useEffect, useReducer, useRef, useState } from "./vendor/preact.js";
import { choose, chosen } from "./address.js";
import { Chart, clip, describe } from "./chart.js";
import { clock, count } from "./format.js";

const RANGES = [
  [600, "10 m", "10 minutes"],
  [3600, "1 h", "1 hour"],
  [86_400, "24 h", "24 hours"],
];
const ROWS = 200;
const dark = matchMedia("(prefers-color-scheme: dark)");

export function History({ points, actions, rule, now }) {
  const place = useRef(null);
  const chart = useRef(null);
  const [zoom, setZoom] = useState(null);
  const [open, setOpen] = useState(false);
  const [, redraw] = useReducer((times) => times + 1, 0);
  const range = RANGES.find(([seconds]) => String(seconds) === chosen("range"))?.[0] ?? RANGES[0][0];
  const span = zoom ?? [now - range, now];

  useEffect(() => {
    chart.current = new Chart(place.current, setZoom);
    const again = () => {
      chart.current.rebuild();
      redraw();
    };
    const sized = new ResizeObserver(() => {
      chart.current.resize();
      redraw();
    });
    sized.observe(place.current);
    dark.addEventListener("change", again);
    addEventListener("zone", again);
    return () => {
      sized.disconnect();
      dark.removeEventListener("change", again);
      removeEventListener("zone", again);
      chart.current.rebuild();
    };
  }, []);
  useEffect(() => {
    if (points.length && place.current.clientWidth) chart.current.show({ points, actions, rule, span, now });
  });

  function choice(seconds) {
    choose("range", seconds === RANGES[0][0] ? "" : String(seconds));
    setZoom(null);
    redraw();
  }
  function press(event) {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    chart.current.step(event.key === "ArrowRight" ? 1 : -1);
    redraw();
  }
  const shown = clip(points, span, now);
  const first = points[0]?.[0] ?? now;
  const rows = shown.slice(0, -1).toReversed().slice(0, ROWS);
  return html`<section class="panel" aria-labelledby="chart-heading">
    <div class="bar">
      <h2 id="chart-heading">Backlog and replicas</h2>
      ${zoom ? html`<button type="button" id="unzoom" onClick=${() => setZoom(null)}>Reset zoom</button>` : null}
      <form id="ranges"><fieldset><legend class="hidden">Show the last</legend>
        ${RANGES.map(([seconds, text, name]) => html`<label class="chip">
          <input type="radio" name="range" value=${seconds} aria-label=${name} checked=${range === seconds} onChange=${() => choice(seconds)} />
          <span>${text}</span>
        </label>`)}
      </fieldset></form>
    </div>
    <div id="chart" class=${points.length ? "" : "none"}>
      <div class="plots" role="img" tabindex="0" aria-label=${points.length ? describe(shown, rule) : "No history yet"} ref=${place} onKeyDown=${press}></div>
      <p class="hidden" role="status">${chart.current?.text ?? ""}</p>
    </div>
    ${points.length === 0 ? html`<p class="quiet">No history yet.</p>` : null}
    ${points.length && first > now - range ? html`<p class="quiet">The history begins at ${clock(1000 * first)}.</p>` : null}
    <ul class="legend">
      <li><span class="key backlog"></span>Backlog</li>
      <li><span class="key replicas"></span>Replicas ready</li>
      <li><span class="key asked"></span>Replicas set</li>
      <li><span class="key unknown"></span>Unknown</li>
      <li>▲ ▼ Scaled</li>
      <li class="hint">Drag to zoom</li>
    </ul>
    <details id="points" onToggle=${(event) => setOpen(event.target.open)}>
      <summary>Show as table</summary>
      ${open
        ? html`<table>
            <thead><tr>${["From", "Backlog", "Replicas", "Ready"].map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
            <tbody>${rows.map(([at, backlog, replicas, ready]) => html`<tr key=${at}>
              <td>${clock(1000 * at)}</td><td>${known(backlog)}</td><td>${known(replicas)}</td><td>${known(ready)}</td>
            </tr>`)}</tbody>
          </table>`
        : null}
    </details>
  </section>`;
}

const known = (value) => (value === null || value === undefined ? "unknown" : count(value));
