// The queue of tool calls, accepted events, dead letters, replays and the cache: work and what is
// kept of it.

import { button } from "./actions.js";
import { h } from "./dom.js";
import { bytes, count, gauge, past, plural, span, when } from "./format.js";
import { panel, row } from "./panel.js";
import { HISTORY_MS } from "./store.js";

const NEARLY_FULL = 0.8;

export function queue(view) {
  const { toolJobs = {}, history } = view.shown;
  const rows = Object.entries(toolJobs.byTool || {}).map(([tool, byStatus]) => {
    const { queued = 0, queuedMax = 0, running = 0, runningMax = 0 } =
      toolJobs.pressureByTool?.[tool] || {};
    const level = queued >= queuedMax * NEARLY_FULL && queuedMax > 0 ? "warn" : "good";
    return row(tool, level, tool, [
      gauge(queued, queuedMax, level),
      h("b", {}, count(queued)), `/${count(queuedMax)} queued, `, h("b", {}, running),
      `/${runningMax} running, ${count(byStatus.done ?? 0)} done, `,
      `${count(byStatus.dead ?? 0)} dead`,
    ]);
  });
  return panel(view, {
    id: "queue", title: "Tool queue", anchor: "#backlog-growing", rows,
    head: [`oldest queued ${span(toolJobs.oldestQueuedAgeMs)}, `,
      `running ${span(toolJobs.oldestRunningAgeMs)}`],
    more: past(history, "queued", HISTORY_MS, "Calls queued or running"),
    none: "No tool was called yet.",
  });
}

export function inbox(view) {
  const { inbox: section = {}, history } = view.shown;
  const { byStatus = {}, bySource = {}, oldestAgeMs } = section;
  const late = oldestAgeMs > 60_000;
  const level = { pending: late ? "warn" : "good", dead: byStatus.dead ? "note" : "good" };
  const rows = [
    ...Object.entries(byStatus).map(([status, number]) => row(
      `status-${status}`, level[status] || "good", status, h("b", {}, count(number)))),
    ...Object.entries(bySource).map(([source, number]) => row(
      `source-${source}`, "good", source, h("b", {}, count(number)))),
  ];
  return panel(view, {
    id: "inbox", title: "Inbox", anchor: "#oldest-event-age", rows,
    head: `oldest not done ${span(oldestAgeMs)}`,
    more: past(history, "pending", HISTORY_MS, "Events pending"), tiles: true,
  });
}

export function letters(view) {
  const { asked, inbox: section, generatedAt } = view.shown;
  const { data, error } = asked.deadLetters || {};
  const rows = (data?.items || []).map((letter) => row(letter.id, "note", letter.source, [
    h("span", { class: "why" }, letter.error || "no reason was kept"), " ",
    h("code", {}, letter.key), ` after ${plural(letter.attempts, "attempt")}, `,
    letter.givenUpAt && when(letter.givenUpAt, generatedAt),
  ], button("redeliver", letter.id)));
  const dead = section?.byStatus?.dead || 0;
  return panel(view, {
    id: "letters", title: "Dead letters", anchor: "#dead-letters", rows,
    head: dead ? count(dead) : "",
    more: error && h("p", { class: "error" }, error),
    none: dead ? "Not read yet." : "None.",
  });
}

export function replays(view) {
  const scopes = Object.entries(view.shown.replayProtection?.byScope || {});
  const rows = scopes.map(([scope, { keys, duplicates }]) => row(scope, "good", scope,
    [h("b", {}, count(keys)), " keys, ", h("b", {}, count(duplicates)), " came again"]));
  const all = scopes.reduce((sum, [, each]) => sum + each.duplicates, 0);
  return panel(view, {
    id: "replays", title: "Replays", anchor: "#replay-surge", rows,
    head: plural(all, "replay"), none: "Nothing was claimed yet.",
  });
}

export function cache(view) {
  const { asked, toolCache = {} } = view.shown;
  const { data, error } = asked.cache || {};
  const known = data?.namespaces || {};
  const held = toolCache.byNamespace || {};
  const names = [...new Set([...Object.keys(known), ...Object.keys(held)])].sort();
  const rows = names.map((name) => {
    const more = known[name];
    return row(name, "good", name, [
      h("b", {}, count(held[name] ?? 0)), " results",
      more && `, ${bytes(more.bytes)}`,
      more?.oldestAgeMs ? `, oldest ${span(more.oldestAgeMs)}` : "",
      more && !more.inForce ? ", no longer in force" : "",
    ], button("clear", name));
  });
  const looks = data ? data.hits + data.misses : 0;
  const share = looks ? `${Math.round((100 * data.hits) / looks)} % of ${count(looks)} hit` : "";
  return panel(view, {
    id: "cache", title: "Tool cache", anchor: "#cache-misses", rows,
    head: data ? [`${bytes(data.bytes)} of ${bytes(data.maxBytes)}`, share && `, ${share}`]
      : plural(toolCache.sampledActiveEntries ?? 0, "result"),
    more: error && h("p", { class: "error" }, error),
    none: "Nothing is kept.",
  });
}
