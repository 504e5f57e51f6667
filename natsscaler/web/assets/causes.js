// What needs action: rules with the same trouble are one line.

import { html } from "./vendor/preact.js";
import { local, plural } from "./format.js";
import { Ago, Fix, key, RuleLink, titled } from "./parts.js";

// More of them are folded.
const SHOWN = 3;
const NAMED = 8;

// Texts that differ only in the names of the rules have one cause.
function cause({ name, namespace, subject, deployment, state }) {
  const names = [deployment?.name, subject, name, namespace].filter(Boolean);
  return `${state.title} ${names.reduce((text, one) => text.replaceAll(one, "·"), state.text)}`;
}

function grouped(rules) {
  const groups = new Map();
  for (const rule of rules) {
    const name = cause(rule);
    groups.set(name, [...(groups.get(name) ?? []), rule]);
  }
  const since = (group) => group.map((rule) => rule.since).filter(Boolean).sort()[0] ?? "";
  return [...groups]
    .map(([name, group]) => ({ name, group: group.sort((one, other) => (key(one) < key(other) ? -1 : 1)), since: since(group) }))
    .sort((one, other) => other.group.length - one.group.length || (one.name < other.name ? -1 : 1));
}

export function Causes({ rules, now, show }) {
  const groups = grouped(rules);
  if (groups.length === 0) return null;
  const line = (one) => html`<${Cause} key=${one.name} ...${one} now=${now} show=${show} />`;
  const more = groups.slice(SHOWN);
  return html`<section id="causes" aria-label="Needs action">
    ${groups.slice(0, SHOWN).map(line)}
    ${more.length
      ? html`<details class="more"><summary>${plural(more.length, "more cause")}</summary>${more.map(line)}</details>`
      : null}
  </section>`;
}

function Cause({ group, since, now, show }) {
  const [first] = group;
  const title = titled(first.state);
  const several = group.length > 1;
  return html`<details class="cause">
    <summary>
      <strong>${title}</strong>
      <span class="text">${local(first.state.text)}</span>
      <span class="rules">${several ? plural(group.length, "rule") : key(first)}</span>
      ${since ? html`<span class="age"><${Ago} at=${since} now=${now} /></span>` : null}
    </summary>
    <p>${local(first.state.text)}</p>
    <${Fix} fix=${first.state.fix} />
    <p>
      ${group.slice(0, NAMED).map((rule) => html`<${RuleLink} ...${rule} /> <small>${rule.namespace}</small>${" "}`)}
      ${group.length > NAMED
        ? html`<button type="button" onClick=${() => show(first.state.title)}>Show all ${group.length} below</button>`
        : null}
    </p>
  </details>`;
}
