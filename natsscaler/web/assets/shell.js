// What stands around every view: where one is, who leads, whether it is live, and which clock is shown.

import { html, useEffect, useReducer, useRef } from "./vendor/preact.js";
import { choose, page, path } from "./address.js";
import { clock, isUtc, seconds } from "./format.js";

const AREAS = [
  ["", "Rules"],
  ["timeline", "Timeline"],
  ["servers", "Servers"],
];
const KEYS = [
  ["/", "Filter the rules"],
  ["j, k", "Next rule, previous rule"],
  ["Enter", "Open the rule"],
  ["← →", "In the chart: previous change, next change"],
  ["u", "UTC or local time"],
  ["?", "This help"],
];
const LIVE = { connecting: "Connecting", live: "Live", stale: "Stale" };

export const typing = (event) => event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey;

export function Shell({ link, title, children }) {
  const [, redraw] = useReducer((times) => times + 1, 0);
  const help = useRef(null);
  const [area] = path();
  function zone() {
    choose("tz", isUtc() ? "" : "utc");
    redraw();
    dispatchEvent(new Event("zone"));
  }
  useEffect(() => {
    function press(event) {
      if (typing(event)) return;
      if (event.key === "?") help.current.showModal();
      if (event.key === "u") zone();
    }
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  useEffect(() => {
    document.title = title;
  }, [title]);
  return html`
    <header>
      <a class="brand" href=${page("")}>natsscaler</a>
      <nav aria-label="Pages">
        ${AREAS.map(
          ([name, text]) => html`<a href=${page(name)} aria-current=${area === name ? "page" : null}>${text}</a>`,
        )}
      </nav>
      <p id="leader"><${Leader} leader=${link.leader} /></p>
      <p id="connection" class=${link.state}>${LIVE[link.state]}${link.asOf ? html` <span>${clock(link.asOf)}</span>` : null}</p>
      <button type="button" id="zone" onClick=${zone} title="Switch between UTC and local time">${isUtc() ? "UTC" : "Local time"}</button>
      <button type="button" aria-label="Keyboard shortcuts" onClick=${() => help.current.showModal()}>?</button>
    </header>
    <${Banners} link=${link} />
    <main class=${link.state}>${children}</main>
    <dialog ref=${help} aria-label="Keyboard shortcuts">
      <h2>Keyboard shortcuts</h2>
      <dl class="keys">${KEYS.map(([name, text]) => html`<div><dt><kbd>${name}</kbd></dt><dd>${text}</dd></div>`)}</dl>
      <form method="dialog"><button>Close</button></form>
    </dialog>
  `;
}

// A standby shows what the leader has written, so it says whose words they are.
function Leader({ leader }) {
  if (!leader?.identity) return null;
  return leader.self ? `Leader ${leader.identity}` : `Standby · showing the last report of the leader ${leader.identity}`;
}

function Banners({ link }) {
  const { state, asOf, refusal, leader, notReady } = link;
  const stale = state === "stale";
  const age = asOf ? Math.max(0, (Date.now() - Date.parse(asOf)) / 1000) : 0;
  const why = refusal ? `The operator refuses: ${refusal}` : "Lost connection to the operator.";
  const shown = asOf ? ` Showing data from ${clock(asOf)}.` : "";
  return html`
    ${stale
      ? html`<p id="stale" class="banner" role="alert">
          ${why}${shown} Reconnecting…${asOf ? html`<span aria-hidden="true"> (${seconds(age)} ago)</span>` : null}
        </p>`
      : null}
    ${!stale && leader && !leader.identity
      ? html`<p id="no-leader" class="banner" role="alert">No leader: nothing is being scaled. Check that the operator's pods run and can write their Lease.</p>`
      : null}
    ${!stale && notReady.length
      ? html`<p id="not-ready" class="banner" role="alert">This process is not ready: ${notReady.join("; ")}</p>`
      : null}
  `;
}
