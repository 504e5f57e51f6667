// Shows the view that the address names.

import { html, render } from "./vendor/preact.js";
import { path } from "./address.js";

const [area] = path();
const { View } = await (area === "rules"
  ? import("./rule.js")
  : area === "timeline"
    ? import("./timeline.js")
    : area === "servers"
      ? import("./servers.js")
      : import("./rules.js"));
render(html`<${View} />`, document.getElementById("app"));
