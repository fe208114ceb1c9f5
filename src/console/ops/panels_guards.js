// Alerts, limits, circuits and bulkheads: what protects, and from what.

import { button } from "./actions.js";
import { h } from "./dom.js";
import { count, gauge, plural, span, sparkline, when } from "./format.js";
import { panel, playbook, row } from "./panel.js";
import { HISTORY_MS, blocked } from "./store.js";
import { playbookOf } from "./verdict.js";

export function alerts(view) {
  const { rateLimitPressure, generatedAt } = view.shown;
  const rows = (rateLimitPressure?.recentAlerts || []).map((alert, at) => row(
    `${alert.alertKey}-${alert.createdAt}-${at}`, "warn", alert.alertKey,
    [`${count(alert.count)} in ${alert.windowMinutes} min (from ${count(alert.threshold)}), `,
      when(alert.createdAt, generatedAt), " ", playbook(playbookOf(alert.alertKey), alert.alertKey)],
  ));
  return panel(view, {
    id: "alerts", title: "Alerts", anchor: "#first-five-minutes", rows,
    head: [rows.length ? plural(rows.length, "recent alert") : "", button("run-alerts")],
    none: "None was raised of late.",
  });
}

function historyOf(view) {
  const { history } = view.shown;
  const first = history[0]?.at ?? 0, last = history.at(-1)?.at ?? 0;
  return { history, reach: span(last - first) };
}

export function limits(view) {
  const { rateLimitPressure, windowMinutes, generatedAt } = view.shown;
  const { history, reach } = historyOf(view);
  const samples = history.map(({ at, blocked: number }) => [at, number]);
  const now = blocked(view.shown), most = Math.max(0, ...samples.map(([, number]) => number));
  const label = `Refusals within ${windowMinutes} min, over the last ${reach}:`
    + ` now ${now}, at most ${most}`;
  const sums = Object.entries(rateLimitPressure?.summary || {}).map(([key, number]) => row(
    `sum-${key}`, key.endsWith(":contention_fallback") ? "warn" : "note", key,
    `${plural(number, "refusal")} in ${windowMinutes} min`));
  const events = (rateLimitPressure?.recentEvents || []).slice(0, 12).map((event, at) => row(
    `event-${event.createdAt}-${event.key}-${at}`, "note",
    `${event.source}:${event.bucket}:${event.outcome}`,
    [`${event.key} ${event.method || ""} ${event.path || ""}, told to wait `,
      `${span(event.retryAfterMs)}, `, when(event.createdAt, generatedAt)]));
  return panel(view, {
    id: "limits", title: "Rate limits", anchor: "#rate-limit-pressure",
    head: `${plural(now, "refusal")} in ${windowMinutes} min`,
    more: [sparkline(samples, HISTORY_MS, label), h("p", { class: "none" },
      `Refusals within ${windowMinutes} min, over this page's history: ${reach} of`
      + ` ${HISTORY_MS / 60_000} min; now ${count(now)}, at most ${count(most)}.`)],
    rows: [...sums, ...events], none: "Nobody was refused.",
  });
}

// A circuit that an operator holds open says so by its state or by a member of its own.
const isForced = (circuit) => circuit.forced === true || circuit.state === "forced_open";

export function circuits(view) {
  const { circuits: all = [], config, generatedAt } = view.shown;
  const rows = all.map((circuit) => {
    const { provider, state, failures, openedAt, retryAfterMs } = circuit;
    const rules = config?.circuits?.[provider], closed = state === "closed";
    const said = [
      h("b", {}, isForced(circuit) ? "forced open" : state.replace("_", " ")), " ",
      !closed && retryAfterMs !== null && retryAfterMs !== undefined && !isForced(circuit)
        && h("span", { class: "countdown" }, `probe in ${span(retryAfterMs)} `),
      openedAt && [when(openedAt, generatedAt), " "],
      failures > 0 && `${failures}${rules ? ` of ${rules.threshold}` : ""} failures`,
    ];
    const level = closed ? "good" : state === "half_open" ? "warn" : "bad";
    return row(provider, level, provider, said,
      isForced(circuit) && button("release", provider),
      !closed && button("reset", provider),
      !isForced(circuit) && button("force-open", provider));
  });
  const open = all.filter((circuit) => circuit.state !== "closed").length;
  return panel(view, {
    id: "circuits", title: "Circuits", anchor: "#circuit-open", rows,
    head: open ? `${open} of ${all.length} not closed` : `all ${all.length} closed`,
  });
}

export function bulkheads(view) {
  const all = Object.entries(view.shown.bulkheads || {});
  const { history, reach } = historyOf(view);
  const samples = history.map(({ at, inFlight }) => [at, inFlight]);
  const most = Math.max(0, ...samples.map(([, number]) => number));
  const now = samples.at(-1)?.[1] ?? 0;
  const rows = all.map(([provider, { inFlight, max, waiting }]) => {
    const level = inFlight >= max ? "warn" : "good";
    return row(provider, level, provider, [
      gauge(inFlight, max, level), h("b", {}, ` ${inFlight}`), ` of ${max} in flight`,
      waiting > 0 && `, ${count(waiting)} waiting`,
    ]);
  });
  return panel(view, {
    id: "bulkheads", title: "Bulkheads", anchor: "#bulkhead-saturated", rows,
    head: `${plural(now, "call")} in flight`,
    more: [sparkline(samples, HISTORY_MS,
      `Calls in flight over the last ${reach}: now ${now}, at most ${most}`),
    h("p", { class: "none" }, `Calls in flight over ${reach}, at most ${most}.`)],
  });
}
