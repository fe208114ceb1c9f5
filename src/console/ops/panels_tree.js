// The supervision tree: every actor below the subtree that starts it again.

import { h } from "./dom.js";
import { count, plural, sign, span, when } from "./format.js";
import { fold, isFiltered, matches, playbook } from "./panel.js";

// The subtrees, in the order of their start, and whose actors' names begin how.
const SUBTREES = [
  ["journal", /^journal$/],
  ["limits", /^rate_limiter-/],
  ["guards: circuits", /^circuit_breaker-/],
  ["guards: bulkheads", /^bulkhead-/],
  ["replay", /^idempotency$/],
  ["tools", /^(job_queue|tool_cache|tool_worker-\d+)$/],
  ["answers", /^stream_log$/],
  ["monitoring", /^alert_monitor$/],
  ["others", /^/],
];

// Work that is older than this is not on its way, it is stuck (milliseconds).
const STUCK_MS = 2000;

const restartsOf = (actor) => Object.values(actor.restarts.byCause).reduce((a, b) => a + b, 0);

function levelOf(actor) {
  if (actor.status === "down") return "bad";
  if (actor.status !== "running" || actor.oldestWorkMs > STUCK_MS) return "warn";
  return restartsOf(actor) > 0 || actor.lastPanic ? "note" : "good";
}

const RANK = ["bad", "warn", "note", "good"];
const worst = (levels) => RANK.find((level) => levels.includes(level)) || "good";

function causes(actor) {
  const named = Object.entries(actor.restarts.byCause).filter(([, times]) => times > 0);
  return named.map(([cause, times]) => `${times} × ${cause}`).join(", ");
}

function actorRow(actor, now) {
  const level = levelOf(actor), restarts = causes(actor);
  return h("li", { key: actor.name, class: `row ${level}`, "data-level": level },
    h("span", { class: "name" }, sign(level), " ", actor.name),
    h("span", { class: "said" },
      h("b", {}, actor.status),
      ` depth ${actor.mailboxDepth}, oldest ${span(actor.oldestWorkMs)},`,
      ` ${count(actor.handled)} handled`,
      restarts && `, restarted ${restarts} (life ${actor.incarnation})`,
      actor.lastPanic && h("span", { class: "why" }, `last panic: ${actor.lastPanic.message} `,
        actor.lastPanic.location && h("code", {}, actor.lastPanic.location), " ",
        when(actor.lastPanic.at, now))));
}

function summary(name, actors, level) {
  const depth = actors.reduce((sum, actor) => sum + actor.mailboxDepth, 0);
  const oldest = Math.max(...actors.map((actor) => actor.oldestWorkMs ?? -1));
  const restarts = actors.reduce((sum, actor) => sum + restartsOf(actor), 0);
  const running = actors.filter((actor) => actor.status === "running").length;
  return [sign(level), " ", h("span", { class: "name" }, name),
    h("span", { class: "said" }, h("b", {}, `${running} of ${actors.length}`), " running, ",
      `depth ${depth}, oldest ${span(oldest < 0 ? null : oldest)}`,
      restarts > 0 && `, ${plural(restarts, "restart")}`)];
}

function grouped(actors) {
  const groups = new Map(SUBTREES.map(([name]) => [name, []]));
  for (const actor of actors) {
    groups.get(SUBTREES.find(([, begins]) => begins.test(actor.name))[0]).push(actor);
  }
  return [...groups].filter(([, members]) => members.length > 0);
}

export function tree(view) {
  const { actors = [], generatedAt } = view.shown;
  const isLeft = (line) => (!view.onlyTrouble || line.attributes["data-level"] !== "good")
    && (matches(view, "Supervision tree") || matches(view, line));
  const branches = grouped(actors).map(([name, members]) => {
    const lines = members.map((actor) => actorRow(actor, generatedAt));
    const level = worst(members.map(levelOf));
    const shown = isFiltered(view)
      ? lines.filter(isLeft) : lines.filter((line) => line.attributes["data-level"] !== "good");
    if (isFiltered(view) && shown.length === 0) return null;
    // What is not well is in sight without a click; all of it is a click away.
    const unfolded = view.opened.get(`tree-${name}`) ? lines : [];
    const rest = isFiltered(view)
      ? h("div", { class: "branch" }, summary(name, members, level))
      : fold(view, `tree-${name}`, summary(name, members, level));
    const list = unfolded.length && !isFiltered(view) ? unfolded : shown;
    return h("li", { key: name }, rest, list.length > 0 && h("ul", { class: "rows" }, list));
  }).filter(Boolean);
  if (isFiltered(view) && branches.length === 0) return null;
  const restarts = actors.reduce((sum, actor) => sum + restartsOf(actor), 0);
  return h("section", {
    key: "tree", id: "panel-tree", class: "panel", tabindex: "-1", "aria-labelledby": "title-tree",
  }, h("header", {}, h("h2", { id: "title-tree" }, "Supervision tree"),
    h("span", { class: "head" }, plural(actors.length, "actor"), ", ",
      plural(restarts, "restart")),
    playbook("#actor-restarts", "Supervision tree")),
  h("ul", { class: "tree" }, branches));
}
