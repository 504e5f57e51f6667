// Writes plain data as YAML; what is null is left out.

const PLAIN = /^[A-Za-z_/][\w./-]*( [\w./-]+)*$/;
const WORDS = /^(true|false|null|yes|no|on|off|y|n)$/i;

function scalar(value) {
  return typeof value === "string" && (!PLAIN.test(value) || WORDS.test(value)) ? JSON.stringify(value) : String(value);
}

export function yaml(value, indent = "") {
  const nested = (one) => one !== null && typeof one === "object";
  if (Array.isArray(value)) {
    return value.map((one) => (nested(one) ? `${indent}- ${yaml(one, `${indent}  `).trimStart()}` : `${indent}- ${scalar(one)}\n`)).join("");
  }
  return Object.entries(value)
    .filter(([, one]) => one !== null && one !== undefined && !(nested(one) && Object.keys(one).length === 0))
    .map(([name, one]) => (nested(one) ? `${indent}${name}:\n${yaml(one, `${indent}  `)}` : `${indent}${name}: ${scalar(one)}\n`))
    .join("");
}
