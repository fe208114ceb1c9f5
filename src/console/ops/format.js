// Numbers, times and spans as a person reads them.

import { h } from "./dom.js";

const GROUPED = new Intl.NumberFormat("en", { useGrouping: true });

export const count = (number) => GROUPED.format(number ?? 0);

export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;

// A span in milliseconds, two units at most.
export function span(millis) {
  if (millis === null || millis === undefined) return "–";
  if (millis < 1000) return `${Math.round(millis)} ms`;
  const seconds = Math.floor(millis / 1000);
  if (seconds < 60) return millis < 10_000 ? `${(millis / 1000).toFixed(1)} s` : `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function bytes(number) {
  if (number < 1024) return `${number} B`;
  if (number < 1024 * 1024) return `${(number / 1024).toFixed(1)} KiB`;
  return `${(number / 1024 / 1024).toFixed(1)} MiB`;
}

// The time of day in UTC, as logs have it.
export const clock = (time) => `${time.slice(11, 19)} UTC`;

// How long before another point that was; both as the server tells the time, for clocks differ.
export const ago = (time, now) => Date.parse(now) - Date.parse(time);

export function when(time, now) {
  return h("time", { datetime: time, title: time }, `${span(Math.max(0, ago(time, now)))} ago`);
}

// Signs and words together: colour is never the only one to tell.
export const SIGNS = { bad: "✗", warn: "!", note: "·", good: "✓" };
const SPOKEN = { bad: "failing", warn: "degraded", note: "note", good: "well" };

export function sign(level) {
  return [
    h("span", { class: `sign ${level}`, "aria-hidden": "true" }, SIGNS[level]),
    h("span", { class: "hidden" }, `${SPOKEN[level]}: `),
  ];
}

// How full something is, as a bar.
export function gauge(used, max, level) {
  const share = max > 0 ? Math.min(1, used / max) : 0;
  return h("svg", {
    class: `gauge ${level}`, viewBox: "0 0 100 8", preserveAspectRatio: "none",
    "aria-hidden": "true",
  }, h("rect", { class: "rest", width: 100, height: 8 }),
  h("rect", { class: "used", width: (share * 100).toFixed(1), height: 8 }));
}

// A line over time with what it is, or only the words where there was nothing yet.
export function past(history, field, historyMs, what) {
  const samples = history.map((each) => [each.at, each[field]]);
  const most = Math.max(0, ...samples.map(([, value]) => value));
  const reach = samples.length ? samples.at(-1)[0] - samples[0][0] : 0;
  const words = `now ${count(samples.at(-1)?.[1])}, at most ${count(most)} in this page's history:`
    + ` ${span(reach)} of ${Math.round(historyMs / 60_000)} min`;
  return [most > 0 && sparkline(samples, `${what}: ${words}`),
    h("p", { class: "past" }, words)];
}

// What a line's axis shows at least, in milliseconds: two points on all of it would mislead.
const AXIS_LEAST_MS = 60_000;

// The line itself. `samples` are `[millis, value]`, oldest first; the newest is at the right.
function sparkline(samples, label) {
  const last = samples.at(-1)[0], reach = Math.max(AXIS_LEAST_MS, last - samples[0][0]);
  const most = Math.max(1, ...samples.map(([, value]) => value));
  const points = samples.map(([at, value]) => {
    const x = 300 - ((last - at) / reach) * 300;
    return `${x.toFixed(1)},${(38 - (value / most) * 34).toFixed(1)}`;
  });
  return h("svg", {
    class: "spark", viewBox: "0 0 300 40", preserveAspectRatio: "none", role: "img",
    "aria-label": label,
  }, h("line", { x1: 0, x2: 300, y1: 38, y2: 38 }),
  h("polyline", { points: points.join(" ") }));
}
