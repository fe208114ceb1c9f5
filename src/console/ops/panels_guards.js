// Alerts, limits, circuits and bulkheads: what protects, and from what.

import { button } from "./actions.js";
import { h } from "./dom.js";
import { ago, count, gauge, past, plural, span, when } from "./format.js";
import { panel, playbook, row } from "./panel.js";
import { HISTORY_MS, blocked } from "./store.js";
import { playbookOf, sizeOf } from "./verdict.js";

export function alerts(view) {
  const { rateLimitPressure, generatedAt } = view.shown;
  const rows = (rateLimitPressure?.recentAlerts || []).map((alert, at) => row(
    `${alert.alertKey}-${alert.createdAt}-${at}`, "warn", alert.alertKey,
    [`${sizeOf(alert)}, ${alert.delivery ? `${alert.delivery}, ` : ""}`,
      when(alert.createdAt, generatedAt), " ",
      playbook(playbookOf(alert.alertKey), alert.alertKey)],
  ));
  return panel(view, {
    id: "alerts", title: "Alerts", anchor: "#alert-monitor", rows,
    head: [rows.length ? plural(rows.length, "recent alert") : "", button("run-alerts")],
    none: "None was raised of late.",
  });
}

export function limits(view) {
  const { rateLimitPressure, windowMinutes, generatedAt } = view.shown;
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
    head: `${plural(blocked(view.shown), "refusal")} in ${windowMinutes} min`,
    more: past(view.shown.history, "blocked", HISTORY_MS, `Refusals within ${windowMinutes} min`),
    rows: [...sums, ...events], none: "Nobody was refused.",
  });
}

const isForced = (circuit) => circuit.state === "forced_open";

export function circuits(view) {
  const { circuits: all = [], config, generatedAt } = view.shown;
  const rows = all.map((circuit) => {
    const { provider, state, failures, openedAt, retryAfterMs } = circuit;
    const rules = config?.circuits?.[provider], closed = state === "closed";
    const said = [
      closed ? "closed" : [h("b", {}, state.replace("_", " ")), " "],
      openedAt && h("time", { datetime: openedAt, title: openedAt },
        `for ${span(Math.max(0, ago(openedAt, generatedAt)))}`),
      !closed && !isForced(circuit) && h("span", { class: "countdown" },
        retryAfterMs > 0 ? `, probe in ${span(retryAfterMs)}` : ", the next call is a probe"),
      closed && failures > 0 && `, ${failures} of ${rules?.threshold ?? "?"} failures`,
    ];
    const level = closed ? "good" : state === "half_open" ? "warn" : "bad";
    return row(provider, level, provider, said,
      isForced(circuit) && button("release", provider),
      !closed && !isForced(circuit) && button("reset", provider),
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
  const { history } = view.shown;
  const rows = all.map(([provider, { inFlight, max, waiting }]) => {
    const level = inFlight >= max ? "warn" : "good";
    return row(provider, level, provider, [
      gauge(inFlight, max, level),
      h("span", { class: "figure" }, h("b", {}, inFlight), ` of ${max}`),
      waiting > 0 && `, ${count(waiting)} waiting`,
    ]);
  });
  return panel(view, {
    id: "bulkheads", title: "Bulkheads", anchor: "#bulkhead-saturated", rows,
    head: `${plural(history.at(-1)?.inFlight ?? 0, "call")} in flight`,
    more: past(history, "inFlight", HISTORY_MS, "Calls in flight"),
  });
}
