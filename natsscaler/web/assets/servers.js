// Each NATS server that rules are read from, and how it is.

import { html, useEffect, useReducer } from "./vendor/preact.js";
import { address } from "./address.js";
import { local, plural } from "./format.js";
import { useRules } from "./live.js";
import { RuleLink, Sign } from "./parts.js";
import { Shell } from "./shell.js";

const NAMED = 8;

export function View() {
  const [{ known, rules }, link] = useRules(address("api", "events"));
  const [, redraw] = useReducer((times) => times + 1, 0);
  useEffect(() => {
    addEventListener("zone", redraw);
    return () => removeEventListener("zone", redraw);
  }, []);
  const servers = new Map();
  for (const rule of rules.values()) {
    const url = rule.natsMonitoringURL;
    if (url) servers.set(url, [...(servers.get(url) ?? []), rule]);
  }
  return html`<${Shell} link=${link} title="Servers – natsscaler">
    <h1>NATS servers</h1>
    <p id="shown" role="status">${known ? (servers.size ? plural(servers.size, "server") : "No rule names a NATS server yet.") : "Loading…"}</p>
    ${[...servers].sort().map(([url, used]) => html`<${Server} key=${url} url=${url} used=${used} />`)}
  <//>`;
}

function Server({ url, used }) {
  const unknown = used.filter((rule) => rule.backlog === null);
  const unread = unknown.filter((rule) => rule.problems.some(({ type }) => type === "ScalingActive"));
  const [first] = unread.length ? unread : unknown;
  const deaf = used.filter((rule) => rule.events.listening === false && rule.state.state !== "ok");
  const nodes = [...new Set(used.flatMap((rule) => rule.natsServers))].sort();
  const state = unread.length ? "blocked" : deaf.length ? "attention" : "ok";
  const named = [...unread, ...used.filter((rule) => !unread.includes(rule))];
  return html`<section class="panel server">
    <h2><${Sign} state=${state} /> ${url}</h2>
    <dl class="strip">
      <div><dt>Reading the backlog</dt><dd>${first ? html`${plural(unknown.length, "rule")} unknown<small>${local(first.state.text)}</small>` : "all rules known"}</dd></div>
      <div><dt>Connection for events</dt><dd>${deaf.length ? html`${plural(deaf.length, "rule")} polled<small>${deaf[0].events.message}</small>` : "connected"}</dd></div>
      <div><dt>Servers that answered</dt><dd>${nodes.length ? nodes.join(", ") : "–"}</dd></div>
      <div><dt>Rules</dt><dd>${used.length}</dd></div>
    </dl>
    <p>${named.slice(0, NAMED).map((rule) => html`<${RuleLink} ...${rule} /> <small>${rule.namespace}</small>${" "}`)}${named.length > NAMED ? `and ${named.length - NAMED} more` : ""}</p>
  </section>`;
}
