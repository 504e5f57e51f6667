// Addresses, and what a person has chosen, which stands in the address.

const ROOT = new URL("../../", import.meta.url);

export function path() {
  return location.pathname.slice(ROOT.pathname.length).split("/").map(decodeURIComponent);
}

export function address(...parts) {
  return new URL(parts.map(encodeURIComponent).join("/"), ROOT).href;
}

// The address of another page, with the time zone that was chosen here.
export function page(...parts) {
  const zone = chosen("tz");
  return address(...parts) + (zone ? `?tz=${encodeURIComponent(zone)}` : "");
}

export function chosen(name) {
  return new URLSearchParams(location.search).get(name) ?? "";
}

export function choose(name, value) {
  const search = new URLSearchParams(location.search);
  if (value) search.set(name, value);
  else search.delete(name);
  history.replaceState(null, "", `${location.pathname}${search.size ? `?${search}` : ""}`);
}
