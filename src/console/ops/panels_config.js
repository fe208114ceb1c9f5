// The configuration in force, and what was done from this page.

import { button } from "./actions.js";
import { h } from "./dom.js";
import { clock, plural } from "./format.js";
import { isFiltered, panel, row } from "./panel.js";

const SOURCES = {
  env: "from the environment", file: "from the file", sandbox: "made by the sandbox",
  default: "default",
};

const isNone = (value) => value === null || value === "";

// A value with its unit; of a secret only whether there is one.
function shown(value, unit) {
  if (isNone(value)) return "unset";
  if (value === "***") return "set";
  return `${Array.isArray(value) ? value.join(", ") : value}${unit ? ` ${unit}` : ""}`;
}

function knobRow(knob) {
  const isOwn = knob.source !== "default";
  return row(knob.name, "good", h("code", {}, knob.name), [
    h("b", { class: isOwn ? "own" : "" }, shown(knob.value, knob.unit)),
    ` ${SOURCES[knob.source] || knob.source}`,
    isOwn && !isNone(knob.default) && ` (default ${shown(knob.default, knob.unit)})`,
    knob.reloadable ? ", reloadable" : "",
    h("small", {}, knob.about),
  ]);
}

export function config(view) {
  const { data, error } = view.shown.asked.config || {};
  const knobs = [...(data?.knobs || [])];
  const own = knobs.filter((knob) => knob.source !== "default");
  const rest = knobs.filter((knob) => knob.source === "default");
  const isOpen = view.opened.get("config") || isFiltered(view);
  return panel(view, {
    id: "config", title: "Configuration", anchor: "#configuration",
    head: [knobs.length > 0 && `${own.length} of ${plural(knobs.length, "knob")} set`,
      button("reload")],
    more: error && h("p", { class: "error" }, error),
    open: `All ${knobs.length} knobs, those that are set first`,
    rows: isOpen || isFiltered(view) ? [...own, ...rest].map(knobRow) : [],
    none: "Not read yet.",
  });
}

export function actionLog(view) {
  const rows = view.log.map((entry, at) => row(`${entry.at}-${view.log.length - at}`,
    entry.ok ? "good" : "warn", entry.what, [h("b", {}, entry.outcome), ` ${clock(entry.at)}`]));
  return panel(view, {
    id: "log", title: "Done from this page", rows,
    none: "Nothing yet. Every verb is in the server's log as well, with who and when.",
  });
}
