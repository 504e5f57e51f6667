// Follows the operator's stream of events, for ever, and says so when it has fallen silent.

import { useEffect, useReducer, useRef } from "./vendor/preact.js";

// The operator sends something every 2 seconds.
const SILENT_MS = 5000;
const GIVE_UP_MS = 10_000;
const RETRY_MS = 1000;
// A browser has six connections to one operator, and a tab that nobody sees needs none.
const HIDDEN_MS = 30_000;

// Calls `take` with what each event says, and returns how the connection is.
export function useStream(url, take) {
  const link = useRef({ state: "connecting", asOf: "", refusal: "", leader: null, notReady: [] }).current;
  const [, redraw] = useReducer((times) => times + 1, 0);
  useEffect(() => follow(url, take, link, frames(redraw)), [url]);
  return link;
}

// Calls back once for all that comes until the next frame; a hidden tab has no frames.
function frames(redraw) {
  let waits = false;
  function run() {
    waits = false;
    redraw();
  }
  return () => {
    if (waits) return;
    waits = true;
    if (document.hidden) setTimeout(run, 100);
    else requestAnimationFrame(run);
  };
}

// The browser comes back by itself, with the id of the last event that it knows; only where the answer was an
// error, or nothing comes any more, a new stream is begun.
function follow(url, take, link, redraw) {
  let source = null;
  let opened = 0;
  let heard = performance.now();
  let hiding = null;

  function hear(event, use) {
    const data = JSON.parse(event.data);
    heard = performance.now();
    Object.assign(link, { refusal: "", asOf: data.timestamp, leader: data.leader, notReady: data.notReady });
    use(data);
    look();
    redraw();
  }

  function open() {
    source?.close();
    opened = performance.now();
    source = new EventSource(url);
    source.addEventListener("update", (event) => hear(event, take));
    source.addEventListener("beat", (event) => hear(event, () => {}));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) {
        ask();
        setTimeout(open, RETRY_MS);
      }
    });
  }

  // An EventSource tells of no status and no text.
  async function ask() {
    const request = new AbortController();
    try {
      const answer = await fetch(url, { signal: request.signal });
      link.refusal = answer.status === 401 ? "it wants its token. Reload the page to give it." : answer.ok ? "" : await answer.text();
    } catch {
      link.refusal = "";
    }
    request.abort();
  }

  function look() {
    const silent = performance.now() - heard;
    const was = link.state;
    link.state = silent >= SILENT_MS ? "stale" : link.asOf ? "live" : "connecting";
    if (link.state !== was || link.state === "stale") redraw();
    if (!document.hidden && performance.now() - Math.max(heard, opened) > GIVE_UP_MS) open();
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(() => source.close(), HIDDEN_MS);
    } else if (source.readyState === EventSource.CLOSED) {
      open();
    }
  });
  open();
  setInterval(look, 500);
}

// All rules and actions as they are now: what the list, the timeline and the servers show.
export function useRules(url) {
  const store = useRef({ known: false, rules: new Map(), actions: [] }).current;
  const link = useStream(url, (data) => merge(store, data));
  return [store, link];
}

const MOST_ACTIONS = 100;

function merge(store, data) {
  if (data.everything) {
    store.rules.clear();
    store.actions = [];
  }
  for (const { namespace, name } of data.gone) store.rules.delete(`${namespace}/${name}`);
  for (const rule of data.rules) store.rules.set(`${rule.namespace}/${rule.name}`, rule);
  const order = (one, other) => (one.timestamp < other.timestamp ? 1 : one.timestamp > other.timestamp ? -1 : 0);
  store.actions = [...data.actions.toReversed(), ...store.actions].sort(order).slice(0, MOST_ACTIONS);
  store.known = true;
}
