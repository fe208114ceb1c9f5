// What all panels have in common: a head, rows that a filter leaves, a way to the playbook.

import { h, textOf } from "./dom.js";
import { sign } from "./format.js";

// Whether a description says all words of the filter.
export function matches(view, description) {
  const words = view.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const text = textOf(description).toLowerCase();
  return words.every((word) => text.includes(word));
}

const isTrouble = (row) => row.attributes["data-level"] !== "good";

export const isFiltered = (view) => view.filter.trim() !== "" || view.onlyTrouble;

// The rows that the filter leaves; a panel whose own title matches keeps all of them.
export function left(view, title, rows) {
  const troubled = view.onlyTrouble ? rows.filter(isTrouble) : rows;
  return matches(view, title) ? troubled : troubled.filter((row) => matches(view, row));
}

// One row: what it is about, what is to be said of it, and what can be done.
export function row(key, level, name, said, ...buttons) {
  return h("li", { key, class: `row ${level}`, "data-level": level },
    h("span", { class: "name" }, sign(level), " ", name),
    h("span", { class: "said" }, said),
    buttons.some(Boolean) && h("span", { class: "do" }, buttons));
}

export function playbook(anchor, about) {
  return h("a", {
    class: "playbook", href: `/ops/runbook${anchor}`, target: "_blank", rel: "noopener",
    "aria-label": `Playbook: ${about}`,
  }, "playbook");
}

// A panel, or nothing if the filter leaves nothing of it. `head` are texts and buttons beside the
// title; `more` stands above the rows and is hidden with them.
export function panel(view, { id, title, anchor, head, more, rows, none, open, tiles }) {
  const kept = left(view, title, rows);
  if (isFiltered(view) && kept.length === 0) return null;
  const hidden = rows.length - kept.length;
  const list = kept.length
    ? h("ul", { class: tiles ? "rows tiles" : "rows" }, kept)
    : h("p", { class: "none" }, none || "Nothing.");
  const body = [more, open === undefined || isFiltered(view) ? list : fold(view, id, open, list)];
  return h("section", {
    key: id, id: `panel-${id}`, class: "panel", tabindex: "-1", "aria-labelledby": `title-${id}`,
  }, h("header", {},
    h("h2", { id: `title-${id}` }, title),
    h("span", { class: "head" }, head),
    anchor && playbook(anchor, title)),
  body,
  hidden > 0 && h("p", { class: "none" }, `${hidden} more hidden by the filter`));
}

// What is folded away until somebody opens it, and stays as they left it.
export function fold(view, key, summary, ...content) {
  const open = view.opened.get(key) ?? false;
  return h("details", { key: `fold-${key}`, open, "data-fold": key },
    h("summary", {}, summary), open && content);
}
