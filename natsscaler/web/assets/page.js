"use strict";

const REFRESH_MS = 2000;
const TIMEOUT_MS = 4000;
const state = document.getElementById("state");
const leader = document.getElementById("leader");
const updated = document.getElementById("updated");
const rows = document.getElementById("actions");
let shown = "";
let last = "";

// Only a changed text is set, so that a screen reader speaks on changes and not every 2 seconds.
function say(text, stale) {
  if (state.textContent !== text) {
    state.textContent = text;
  }
  state.classList.toggle("stale", stale);
}

function cell(row, name, value, className) {
  const element = document.createElement(name);
  element.textContent = String(value);
  if (className) {
    element.className = className;
  }
  row.append(element);
  return element;
}

function row(action) {
  const element = document.createElement("tr");
  const time = document.createElement("time");
  time.dateTime = action.timestamp;
  time.textContent = new Date(action.timestamp).toLocaleString();
  cell(element, "td", "").append(time);
  cell(element, "td", action.namespace);
  cell(element, "th", action.deployment).scope = "row";
  cell(element, "td", action.fromReplicas, "number");
  cell(element, "td", action.toReplicas, "number");
  cell(element, "td", action.pendingMessages ?? "not known", "number");
  cell(element, "td", action.reason);
  return element;
}

function summary(actions) {
  if (actions.length === 0) {
    return "The operator answers. It has not scaled anything yet.";
  }
  const { namespace, deployment, fromReplicas, toReplicas } = actions[0];
  return `The operator answers. Last: ${namespace}/${deployment} from ${fromReplicas} to ${toReplicas} replicas.`;
}

// A follower has no actions of its own to show, so it says whose they are.
function leadership({ identity, self }) {
  if (self) {
    return `This process leads: ${identity}.`;
  }
  return identity
    ? `This process stands by. ${identity} leads: its page has the actions.`
    : "This process stands by. Nobody leads at the moment.";
}

function show(answer) {
  const who = answer.leader ? leadership(answer.leader) : "";
  if (leader.textContent !== who) {
    leader.textContent = who;
    leader.hidden = !who;
  }
  const now = JSON.stringify(answer.actions);
  if (now !== shown) {
    rows.replaceChildren(...answer.actions.map(row));
    shown = now;
  }
  last = new Date(answer.timestamp).toLocaleString();
  updated.textContent = `As of ${last}.`;
  say(summary(answer.actions), false);
}

async function refresh() {
  try {
    const response = await fetch("scaling-activity", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) {
      throw new Error(`HTTP ${response.status}`);
    }
    show(await response.json());
  } catch {
    say(last ? `The operator does not answer. The table is stale: as of ${last}.` : "The operator does not answer.", true);
  }
  setTimeout(refresh, REFRESH_MS);
}

refresh();
