// The table of all rules. All of them are kept here, but only the rows that are shown are in the document.

import { backlogBar, change, count, el, replicasBar, say, sign, STATES, time } from "./dom.js";
import { address, follow, link } from "./live.js";

const PAGE = 100;
const MOST_ACTIONS = 100;
const GRAVEST = Object.keys(STATES);

const COLUMNS = [
  { name: "State", key: (rule) => GRAVEST.indexOf(rule.state.state), cell: state },
  { name: "Rule", key: (rule) => `${rule.namespace}/${rule.name}`, cell: null },
  { name: "Deployment", key: (rule) => rule.deployment?.name ?? "", cell: target },
  { name: "Replicas", key: (rule) => rule.replicas ?? -1, cell: replicasBar, number: true },
  { name: "Backlog", key: (rule) => rule.backlog ?? -1, cell: backlogBar, number: true },
  { name: "Last change", key: (rule) => rule.lastAction?.timestamp ?? "", cell: last, number: true },
  { name: "Events", key: (rule) => String(rule.events.listening), cell: events },
  { name: "Conditions", key: (rule) => -rule.problems.length, cell: problems },
];

const head = document.querySelector("#rules thead tr");
const body = document.querySelector("#rules tbody");
const search = document.getElementById("search");
const states = document.getElementById("states");
const shown = document.getElementById("shown");
const more = document.getElementById("more");
const actionRows = document.querySelector("#actions tbody");

const rules = new Map();
const rows = new Map();
let actions = [];
let sortedBy = 0;
let descending = false;
let limit = PAGE;
let known = false;
let scheduled = false;

function state(rule) {
  const { state: kind, title, text } = rule.state;
  return el("span", {}, sign(kind), " ", el("strong", {}, title), el("small", {}, text));
}

function target(rule) {
  if (!rule.deployment) {
    return el("span", {}, "unknown");
  }
  const elsewhere = rule.deployment.namespace === rule.namespace ? "" : `${rule.deployment.namespace}/`;
  return el("span", {}, `${kind(rule.deployment)}${elsewhere}${rule.deployment.name}`, el("small", {}, rule.subject));
}

function kind(deployment) {
  return deployment.kind === "Deployment" ? "" : `${deployment.kind} `;
}

function last(rule) {
  return rule.lastAction
    ? el("span", {}, change(rule.lastAction), el("small", {}, time(rule.lastAction.timestamp)))
    : el("span", {}, "none");
}

function events(rule) {
  const { listening, reason } = rule.events;
  if (listening) {
    return el("span", {}, "Connected");
  }
  const polls = listening === null ? "Not known yet" : "Not connected: polls";
  return el("span", {}, polls, listening === null ? null : el("small", {}, reason));
}

function problems(rule) {
  if (rule.problems.length === 0) {
    return el("span", {}, "all well");
  }
  return el("ul", {}, ...rule.problems.map(({ type, reason, message }) => el("li", { title: message }, `${type}: ${reason}`)));
}

// The link stays the same element for as long as the rule exists, so that it keeps the focus.
function draw(rule) {
  const key = `${rule.namespace}/${rule.name}`;
  const row = rows.get(key) ?? { element: el("tr"), link: link(rule.namespace, rule.name), rule: null };
  rows.set(key, row);
  if (row.rule !== rule) {
    const cells = COLUMNS.map(({ cell, number }) =>
      cell
        ? el("td", { class: number ? "number" : null }, cell(rule))
        : (row.head ??= el("th", { scope: "row" }, row.link, el("small", {}, rule.namespace))),
    );
    row.element.className = rule.state.state;
    for (const [index, cell] of cells.entries()) {
      const shown = row.element.children[index];
      if (shown === undefined) row.element.append(cell);
      else if (shown !== cell) shown.replaceWith(cell);
    }
    row.rule = rule;
  }
  return row.element;
}

function words(rule) {
  const { namespace, name, deployment, subject, events: waking } = rule;
  const texts = [namespace, name, deployment?.name, subject, rule.state.title, rule.state.text, waking.reason];
  return [...texts, ...rule.problems.flatMap(({ type, reason }) => [type, reason])].join(" ").toLowerCase();
}

function chosen() {
  return states.querySelector("input:checked").value;
}

function compare(one, other) {
  const { key } = COLUMNS[sortedBy];
  const [a, b] = descending ? [key(other), key(one)] : [key(one), key(other)];
  const order = typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0;
  return order || (`${one.namespace}/${one.name}` < `${other.namespace}/${other.name}` ? -1 : 1);
}

function show() {
  scheduled = false;
  const all = [...rules.values()];
  const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = all.filter((rule) => {
    const text = wanted.length ? words(rule) : "";
    return (chosen() === "all" || rule.state.state === chosen()) && wanted.every((word) => text.includes(word));
  });
  found.sort(compare);
  const visible = found.slice(0, limit);
  for (const [index, rule] of visible.entries()) {
    const element = draw(rule);
    if (body.children[index] !== element) {
      body.insertBefore(element, body.children[index] ?? null);
    }
  }
  while (body.children.length > visible.length) {
    body.lastElementChild.remove();
  }
  more.hidden = found.length <= limit;
  say(more, `Show ${Math.min(PAGE, found.length - limit)} more of ${found.length}`);
  tally(all);
  say(shown, summary(all.length, found.length));
  document.getElementById("rules").hidden = all.length === 0;
  showActions();
}

function summary(all, found) {
  if (!known) {
    return "Loading the rules.";
  }
  if (all === 0) {
    return "There are no ScalingRules. Create one, and it appears here: kubectl apply -f my-rule.yaml";
  }
  const some = found === all ? `${all}` : `${found} of ${all}`;
  return `${some} ${all === 1 ? "rule" : "rules"}`;
}

function tally(all) {
  for (const label of states.querySelectorAll("label")) {
    const { value } = label.querySelector("input");
    const number = value === "all" ? all.length : all.filter((rule) => rule.state.state === value).length;
    say(label.querySelector(".count"), String(number));
  }
}

function showActions() {
  document.getElementById("actions").hidden = actions.length === 0;
  document.getElementById("none").hidden = !known || actions.length > 0;
  if (actionRows.dataset.newest !== `${actions.length} ${actions[0]?.timestamp} ${actions[0]?.deployment}`) {
    actionRows.dataset.newest = `${actions.length} ${actions[0]?.timestamp} ${actions[0]?.deployment}`;
    actionRows.replaceChildren(
      ...actions.map((action) =>
        el(
          "tr",
          {},
          el("td", {}, time(action.timestamp)),
          el("th", { scope: "row" }, action.deployment, el("small", {}, action.namespace)),
          el("td", { class: "number" }, change(action)),
          el("td", { class: "number" }, count(action.pendingMessages)),
          el("td", {}, action.reason),
        ),
      ),
    );
  }
}

function schedule() {
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(show);
  }
}

function update(data) {
  if (data.everything) {
    rules.clear();
    actions = [];
  }
  for (const { namespace, name } of data.gone) {
    rules.delete(`${namespace}/${name}`);
    rows.delete(`${namespace}/${name}`);
  }
  for (const rule of data.rules) {
    rules.set(`${rule.namespace}/${rule.name}`, rule);
  }
  if (data.actions.length) {
    actions = [...data.actions.toReversed(), ...actions]
      .sort((one, other) => (one.timestamp < other.timestamp ? 1 : one.timestamp > other.timestamp ? -1 : 0))
      .slice(0, MOST_ACTIONS);
  }
  known = true;
  schedule();
}

function sort(index) {
  descending = index === sortedBy && !descending;
  sortedBy = index;
  for (const [position, cell] of [...head.children].entries()) {
    cell.setAttribute("aria-sort", position !== index ? "none" : descending ? "descending" : "ascending");
  }
  show();
}

for (const [index, { name, number }] of COLUMNS.entries()) {
  const button = el("button", { type: "button" }, name);
  button.addEventListener("click", () => sort(index));
  const sorted = index === sortedBy ? "ascending" : "none";
  head.append(el("th", { scope: "col", class: number ? "number" : null, "aria-sort": sorted }, button));
}
for (const [value, word] of [["all", "All"], ...GRAVEST.map((key) => [key, STATES[key].word])]) {
  const input = el("input", { type: "radio", name: "state", value, checked: value === "all" });
  states.append(el("label", {}, input, ` ${word} `, el("span", { class: "count" }, "0")));
}
states.addEventListener("change", () => {
  limit = PAGE;
  show();
});
search.addEventListener("input", () => {
  limit = PAGE;
  schedule();
});
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => {
  limit += PAGE;
  show();
});
follow(address("api", "events"), update);
