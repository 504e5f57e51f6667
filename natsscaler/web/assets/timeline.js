// Every change of replicas of all rules, newest first.

import { html, useEffect, useReducer } from "./vendor/preact.js";
import { address, choose, chosen } from "./address.js";
import { count, day, plural } from "./format.js";
import { useRules } from "./live.js";
import { Ago, Change, RuleLink, Time } from "./parts.js";
import { Shell } from "./shell.js";

export function View() {
  const [{ known, rules, actions }, link] = useRules(address("api", "events"));
  const [, redraw] = useReducer((times) => times + 1, 0);
  useEffect(() => {
    addEventListener("zone", redraw);
    return () => removeEventListener("zone", redraw);
  }, []);
  const owners = new Map([...rules.values()].filter((rule) => rule.deployment).map((rule) => [target(rule.deployment), rule]));
  const wanted = chosen("q").toLowerCase();
  const found = actions.filter(({ namespace, deployment, reason }) => `${owners.get(`${namespace}/${deployment}`)?.name} ${namespace}/${deployment} ${reason}`.toLowerCase().includes(wanted));
  const days = Map.groupBy ? Map.groupBy(found, (one) => day(one.timestamp)) : new Map([["", found]]);
  function filter(event) {
    choose("q", event.target.value);
    redraw();
  }
  return html`<${Shell} link=${link} title="Timeline – natsscaler">
    <h1>Timeline</h1>
    <form id="filters" role="search" aria-label="Changes" onSubmit=${(event) => event.preventDefault()}>
      <label class="hidden" for="search">Filter the changes</label>
      <input id="search" type="search" placeholder="Filter by rule, Deployment, reason…" value=${chosen("q")} onInput=${filter} />
      <p id="shown" role="status">${!known ? "Loading…" : found.length ? plural(found.length, "change") : "No scaling yet. Every change will appear here with its reason."}</p>
    </form>
    ${[...days].map(([name, changes]) => html`<section key=${name} class="panel">
      <h2>${name}</h2>
      <div class="scroll" role="region" aria-label=${`Changes of ${name}`} tabindex="0"><table class="changes">
        <thead><tr><th scope="col">Time</th><th scope="col">Rule</th><th scope="col">Replicas</th><th scope="col" class="number">Backlog</th><th scope="col">Why</th></tr></thead>
        <tbody>${changes.map((one) => {
          const owner = owners.get(target({ ...one, name: one.deployment }));
          return html`<tr key=${one.timestamp + one.namespace + one.deployment + one.toReplicas}>
            <td><${Time} at=${one.timestamp} /> <small><${Ago} at=${one.timestamp} now=${link.asOf} /> ago</small></td>
            <th scope="row">${owner ? html`<${RuleLink} ...${owner} /> <small>${owner.namespace}</small>` : `${one.namespace}/${one.deployment}`}</th>
            <td><${Change} action=${one} /></td><td class="number">${count(one.pendingMessages)}</td><td>${one.reason}</td>
          </tr>`;
        })}</tbody>
      </table></div>
    </section>`)}
  <//>`;
}

const target = ({ namespace, name }) => `${namespace}/${name}`;
