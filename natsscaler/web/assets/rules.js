// The list of all rules. All of them are kept here, but only the rows that are shown are in the document.

import { html, useEffect, useReducer, useRef } from "./vendor/preact.js";
import { address, choose, chosen } from "./address.js";
import { Causes } from "./causes.js";
import { Empty } from "./empty.js";
import { count, drain, plural, rate, short } from "./format.js";
import { useRules } from "./live.js";
import { Ago, Change, Figure, GRAVEST, key, ReplicasBar, RuleLink, Sign, Spark, STATES, titled } from "./parts.js";
import { Shell, typing } from "./shell.js";

const PAGE = 100;
const HOUR_MS = 3_600_000;
// How long a change of replicas stands beside the state.
const NEWS_MS = 60_000;
const MOST_ACTIONS = 100;

const drains = ({ backlog, rates }) => (backlog ? (rates?.drainSeconds ?? (rates?.processingPerSecond === 0 ? Infinity : -1)) : -1);
const COLUMNS = [
  { id: "rule", name: "Rule", by: (rule) => key(rule) },
  { id: "state", name: "State", by: (rule) => GRAVEST.indexOf(rule.state.state) },
  { id: "backlog", name: "Backlog", by: (rule) => rule.backlog ?? -1, number: true },
  { id: "trend", name: "10 min" },
  { id: "in", name: "In/s", by: (rule) => rule.rates?.arrivingPerSecond ?? -1, number: true, title: "Messages that arrive per second" },
  { id: "out", name: "Out/s", by: (rule) => rule.rates?.processingPerSecond ?? -1, number: true, title: "Messages that are processed per second" },
  { id: "drains", name: "Drains in", by: drains, number: true, title: "How long the backlog takes at this rate" },
  { id: "replicas", name: "Replicas", by: (rule) => rule.replicas ?? -1, number: true, title: "Ready / set, of maxReplicas" },
  { id: "last", name: "Last scaled", by: (rule) => rule.lastAction?.timestamp ?? "" },
];

export function View() {
  const [{ known, rules, actions }, link] = useRules(address("api", "events"));
  const [, redraw] = useReducer((times) => times + 1, 0);
  const view = useRef({ limit: PAGE, order: [], held: false, sorted: "" }).current;
  const all = [...rules.values()];
  const wanted = { q: chosen("q"), state: chosen("state") || "all", ns: chosen("ns"), sort: chosen("sort") || "state" };
  const found = all.filter((rule) => matches(rule, wanted));
  const ordered = arrange(found, wanted, view);
  const set = (name, value) => {
    choose(name, value);
    view.limit = PAGE;
    redraw();
  };
  useEffect(() => keyboard(set), []);
  useEffect(() => {
    addEventListener("zone", redraw);
    return () => removeEventListener("zone", redraw);
  }, []);
  const bad = all.filter((rule) => rule.state.state === "blocked");
  useEffect(() => mark(bad.length > 0), [bad.length > 0]);
  const hold = (held) => {
    view.held = held;
    redraw();
  };
  return html`<${Shell} link=${link} title=${bad.length ? `(${bad.length}) natsscaler` : "natsscaler"}>
    <h1 class="hidden">Scaling rules</h1>
    <${Strip} known=${known} all=${all} bad=${bad} actions=${actions} now=${link.asOf} />
    <${Causes} rules=${bad} now=${link.asOf} show=${(text) => set("q", text)} />
    ${known && all.length === 0
      ? html`<${Empty} />`
      : html`<${Filters} all=${all} known=${known} wanted=${wanted} set=${set} />
          <div class="scroll" role="region" aria-labelledby="rules-caption" tabindex="0">
            <table id="rules">
              <caption id="rules-caption" class="hidden">Scaling rules</caption>
              <${Head} wanted=${wanted} set=${set} />
              <tbody onPointerEnter=${() => hold(true)} onPointerLeave=${() => hold(false)}>
                ${ordered.slice(0, view.limit).map((rule) => html`<${Row} key=${key(rule)} rule=${rule} now=${link.asOf} />`)}
              </tbody>
            </table>
          </div>
          ${found.length > view.limit
            ? html`<p><button type="button" id="more" onClick=${() => { view.limit += PAGE; redraw(); }}>
                Show ${Math.min(PAGE, found.length - view.limit)} more of ${count(found.length)}
              </button></p>`
            : null}`}
    <p id="shown" role="status">${told(known, all.length, found.length)}</p>
  <//>`;
}

function told(known, all, found) {
  if (!known) return "Loading the rules…";
  if (all === 0) return "No scaling rules";
  return found === all ? plural(all, "rule") : `${count(found)} of ${plural(all, "rule")}`;
}

function words(rule) {
  const { namespace, name, deployment, subject, events } = rule;
  const texts = [namespace, name, deployment?.name, subject, rule.state.title, rule.state.text, events.reason];
  return [...texts, ...rule.problems.flatMap(({ type, reason }) => [type, reason])].join(" ").toLowerCase();
}

function matches(rule, { q, state, ns }) {
  if (state !== "all" && rule.state.state !== state) return false;
  if (ns && rule.namespace !== ns) return false;
  const text = q ? words(rule) : "";
  return q.toLowerCase().split(/\s+/).filter(Boolean).every((word) => text.includes(word));
}

// While somebody points at the table, its rows keep their places; what is new comes last.
function arrange(found, wanted, view) {
  const asked = JSON.stringify(wanted);
  if (view.held && view.sorted === asked) {
    const places = new Map(view.order.map((name, index) => [name, index]));
    const place = (rule) => places.get(key(rule)) ?? Infinity;
    found.sort((one, other) => place(one) - place(other) || (key(one) < key(other) ? -1 : 1));
  } else {
    const descending = wanted.sort.startsWith("-");
    const by = COLUMNS.find(({ id }) => id === wanted.sort.replace("-", ""))?.by ?? COLUMNS[1].by;
    found.sort((one, other) => {
      const [a, b] = descending ? [by(other), by(one)] : [by(one), by(other)];
      return a < b ? -1 : a > b ? 1 : key(one) < key(other) ? -1 : 1;
    });
  }
  view.sorted = asked;
  view.order = found.map(key);
  return found;
}

function Strip({ known, all, bad, actions, now }) {
  const sum = (values) => (values.length ? values.reduce((one, other) => one + other, 0) : null);
  const given = (field) => all.map((rule) => rule[field]).filter((value) => value !== null);
  const full = all.filter(({ desired, maxReplicas, state }) => state.title.startsWith("At maxReplicas") && desired !== null && maxReplicas !== null);
  const unknown = all.length - given("backlog").length;
  const hour = actions.filter(({ timestamp }) => Date.parse(now) - Date.parse(timestamp) < HOUR_MS);
  const up = hour.filter(({ fromReplicas, toReplicas }) => toReplicas > fromReplicas).length;
  const since = bad.map((rule) => rule.since).filter(Boolean).sort()[0];
  const more = hour.length >= MOST_ACTIONS ? "+" : "";
  const or = (value) => (known ? value : "–");
  return html`<dl id="strip" class="strip">
    <${Figure} id="need-action" name="Needs action" state=${bad.length ? "blocked" : ""} value=${or(count(bad.length))}
      note=${known ? html`of ${plural(all.length, "rule")}${since ? html` · longest <${Ago} at=${since} now=${now} />` : null}` : null} />
    <${Figure} name="At max replicas" state=${full.length ? "attention" : ""} value=${or(count(full.length))}
      note=${known ? (full.length ? "the backlog needs more" : "none needs more") : null} />
    <${Figure} name="Backlog" value=${or(short(sum(given("backlog"))))}
      note=${known ? (unknown ? `${plural(unknown, "rule")} unknown` : "messages") : null} />
    <${Figure} name="Replicas ready" value=${or(html`${count(sum(given("readyReplicas")))}<span class="of"> / ${count(sum(given("replicas")))}</span>`)}
      note=${known ? `max ${count(sum(given("maxReplicas")))}` : null} />
    <${Figure} name="Scaled in the last hour" value=${or(html`▲ ${count(up)}${more} ▼ ${count(hour.length - up)}${more}`)}
      note=${known ? (actions.length ? html`last <${Ago} at=${actions[0].timestamp} now=${now} /> ago` : "no scaling yet") : null} />
  </dl>`;
}

function Filters({ all, known, wanted, set }) {
  const spaces = [...new Set(all.map((rule) => rule.namespace))].sort();
  const tally = (state) => (state === "all" ? all : all.filter((rule) => rule.state.state === state)).length;
  return html`<form id="filters" role="search" aria-label="Rules" onSubmit=${(event) => event.preventDefault()}>
    <label class="hidden" for="search">Filter the rules</label>
    <input id="search" type="search" autocomplete="off" spellcheck="false" placeholder="Filter by name, subject, reason…   /"
      value=${wanted.q} onInput=${(event) => set("q", event.target.value)} />
    <fieldset><legend class="hidden">State</legend>
      ${["all", ...GRAVEST].map((state) => html`<label class="chip">
        <input type="radio" name="state" value=${state} checked=${wanted.state === state} onChange=${() => set("state", state === "all" ? "" : state)} />
        <span>${state === "all" ? "All" : STATES[state].word} <b>${known ? count(tally(state)) : "–"}</b></span>
      </label>`)}
    </fieldset>
    ${spaces.length > 1 || wanted.ns
      ? html`<label>Namespace <select value=${wanted.ns} onChange=${(event) => set("ns", event.target.value)}>
          <option value="">all</option>
          ${spaces.map((name) => html`<option value=${name} selected=${name === wanted.ns}>${name}</option>`)}
        </select></label>`
      : null}
  </form>`;
}

function Head({ wanted, set }) {
  const [id, descending] = [wanted.sort.replace("-", ""), wanted.sort.startsWith("-")];
  return html`<thead><tr>
    ${COLUMNS.map((column) => {
      const sorted = column.id !== id ? "none" : descending ? "descending" : "ascending";
      const next = sorted === "ascending" ? `-${column.id}` : column.id;
      return html`<th scope="col" class="${column.id}${column.number ? " number" : ""}" aria-sort=${column.by ? sorted : null}>
        ${column.by ? html`<button type="button" title=${column.title} onClick=${() => set("sort", next === "state" ? "" : next)}>${column.name}</button>` : column.name}
      </th>`;
    })}
  </tr></thead>`;
}

function Row({ rule, now }) {
  const { state, replicas, readyReplicas, maxReplicas, minReplicas, backlog, rates, lastAction, since } = rule;
  const news = lastAction && Date.parse(now) - Date.parse(lastAction.timestamp) < NEWS_MS;
  const bounds = maxReplicas === null ? "unknown" : `min ${minReplicas}, max ${maxReplicas}`;
  const levels = rule.scaleUpThreshold === null ? null : `up above ${count(rule.scaleUpThreshold)}, down below ${count(rule.scaleDownThreshold)}`;
  return html`<tr class=${state.state}>
    <th scope="row" class="rule"><${Sign} state=${state.state} /> <${RuleLink} ...${rule} /> <small>${rule.namespace}</small></th>
    <td class="state"><div>
      <span class="title" title=${state.text}>${titled(state)}</span>
      ${since ? html`<small><${Ago} at=${since} now=${now} /></small>` : null}
      ${news ? html`<span class="badge"><${Change} action=${lastAction} /></span>` : null}
    </div></td>
    <td class="backlog number" title=${levels}>${backlog !== null && backlog >= 10_000 ? html`<span title=${count(backlog)}>${short(backlog)}</span>` : count(backlog)}</td>
    <td class="trend"><${Spark} trend=${rule.trend} up=${rule.scaleUpThreshold} now=${now} /></td>
    <td class="in number">${rate(rates?.arrivingPerSecond)}</td>
    <td class="out number">${rate(rates?.processingPerSecond)}</td>
    <td class="drains number">${drain(rule)}</td>
    <td class="replicas number" title=${bounds}><span>${count(readyReplicas)}<span class="of"> / ${count(replicas)}</span></span><${ReplicasBar} ...${rule} /></td>
    <td class="last">${lastAction ? html`<${Change} action=${lastAction} /> <small><${Ago} at=${lastAction.timestamp} now=${now} /></small>` : "–"}</td>
  </tr>`;
}

// People keep the list in a tab.
function mark(bad) {
  const icon = document.getElementById("icon");
  icon.href = icon.href.replace(/icon(-alert)?\.svg$/, bad ? "icon-alert.svg" : "icon.svg");
}

function keyboard(set) {
  function press(event) {
    const search = document.getElementById("search");
    if (event.key === "Escape" && event.target === search) {
      set("q", "");
      search.blur();
    }
    if (typing(event)) return;
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
    }
    if (event.key === "j" || event.key === "k") {
      const links = [...document.querySelectorAll("#rules tbody th a")];
      const at = links.indexOf(document.activeElement);
      links[Math.max(0, Math.min(links.length - 1, event.key === "j" ? at + 1 : at - 1))]?.focus();
    }
  }
  addEventListener("keydown", press);
  return () => removeEventListener("keydown", press);
}
