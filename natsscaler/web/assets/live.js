// Follows the operator's stream of events, for ever, and says so when it has fallen silent.

import { clock, el, say } from "./dom.js";

// The operator sends something every 2 seconds.
const SILENT_MS = 5000;
const GIVE_UP_MS = 10000;
const RETRY_MS = 1000;
// A browser has six connections to one operator, and a tab that nobody sees needs none.
const HIDDEN_MS = 30000;

const connection = document.getElementById("connection");
const leader = document.getElementById("leader");
const stale = document.getElementById("stale");
const notReady = document.getElementById("not-ready");

// Calls `update` with what each event says. The browser comes back by itself, with the id of the last event that
// it knows; only where the answer was an error, or nothing comes any more, a new stream is begun.
export function follow(url, update) {
  let source = null;
  let opened = 0;
  let heard = performance.now();
  let asOf = "";
  let refusal = "";

  function take(event, tell) {
    const data = JSON.parse(event.data);
    heard = performance.now();
    refusal = "";
    asOf = data.timestamp;
    tell(data);
    lead(data.leader);
    say(notReady, data.notReady.length ? `This process is not ready: ${data.notReady.join("; ")}` : "");
    notReady.hidden = data.notReady.length === 0;
    look();
  }

  function open() {
    source?.close();
    opened = performance.now();
    source = new EventSource(url);
    source.addEventListener("update", (event) => take(event, update));
    source.addEventListener("beat", (event) => take(event, () => {}));
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
      refusal = answer.ok ? "" : await answer.text();
    } catch {
      refusal = "";
    }
    request.abort();
  }

  function look() {
    const silent = performance.now() - heard;
    if (silent >= SILENT_MS) {
      say(connection, "Stale");
      connection.className = "dead";
      const why = refusal ? `The operator refuses: ${refusal}` : "The operator does not answer.";
      say(stale, `${why}${asOf && ` What you see is stale: it is how things were at ${clock(asOf)}.`}`);
    } else if (asOf) {
      say(connection, `Live, as of ${clock(asOf)}`);
      connection.className = "live";
    }
    stale.hidden = silent < SILENT_MS;
    if (!document.hidden && performance.now() - Math.max(heard, opened) > GIVE_UP_MS) {
      open();
    }
  }

  let hiding = null;
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

// A follower shows what the leader has written, so it says whose words they are.
function lead(known) {
  if (!known) {
    say(leader, "");
  } else if (known.self) {
    say(leader, `This process leads: ${known.identity}`);
  } else if (known.identity) {
    say(leader, `This process stands by and shows what ${known.identity} has written, who leads`);
  } else {
    say(leader, "This process stands by. Nobody leads at the moment");
  }
}

export function address(...path) {
  return new URL(`../../${path.map(encodeURIComponent).join("/")}`, import.meta.url).href;
}

export function link(namespace, name) {
  return el("a", { href: address("rules", namespace, name) }, name);
}
