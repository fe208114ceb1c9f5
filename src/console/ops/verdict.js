// The verdict: from a snapshot to what is wrong, worst first, and which playbook says what to do.
// Pure; its thresholds stand in the runbook, too.

import { ago, count, plural, span } from "./format.js";

// What users notice of a circuit that is open.
const EFFECTS = {
  openrouter_chat: "new chats are refused",
  serper_search: "web searches fail, chats go on",
  serpapi_shopping: "shopping searches fail, chats go on",
  ebay_browse: "product searches lack eBay, chats go on",
  gmail_oauth: "mailboxes can be neither connected nor renewed",
  gmail_api: "mail is not read",
  whatsapp_graph: "WhatsApp answers wait",
  resend_email: "mails wait",
  jwks: "users whose key is not known yet cannot sign in",
  sentry_ingest: "trouble is not reported to Sentry",
};

// An actor whose oldest work is older than this stands still (milliseconds).
const STUCK_MS = 2000;
// A panic of the last quarter of an hour is news (milliseconds).
const NEWS_MS = 15 * 60 * 1000;
// Accepted events and queued calls older than this are late, and much older ones are lost on users.
const LATE_MS = 60_000;
const VERY_LATE_MS = 300_000;
// A queue this full is about to refuse.
const NEARLY_FULL = 0.8;

const ORDER = { bad: 0, warn: 1, note: 2 };

// `text` is what is wrong in a few words, `detail` what it means or how it goes on.
const finding = (level, panel, playbook, text, detail = "") =>
  ({ level, panel, playbook, text, detail });

// The playbook of what an alert or a count is about: `source:bucket:outcome`, `bulkhead:provider`.
export function playbookOf(key) {
  if (key.startsWith("bulkhead:")) return "#bulkhead-saturated";
  return key.endsWith(":contention_fallback") ? "#contention-fallback" : "#rate-limit-pressure";
}

// What an alert says of itself, and since when it is raised at all.
export function sizeOf({ count: number, threshold, windowMinutes }) {
  const span = windowMinutes ? ` in ${windowMinutes} min` : "";
  return `${count(number)}${span}, from ${count(threshold)} on it is raised`;
}

function ofProcess({ process }) {
  return (process?.reasons || []).map((reason) => {
    const level = process.status === "unready" ? "bad" : "warn";
    if (reason.includes("disk")) return finding("bad", "tree", "#journal-failing", reason);
    if (reason.includes("put aside")) return finding(level, "tree", "#state-put-aside", reason);
    if (reason === "draining") {
      return finding("bad", "tree", "#draining", "the process is draining and will end");
    }
    const down = reason.endsWith("is down");
    return finding(level, "tree", down ? "#actor-down" : "#actor-restarts", reason);
  });
}

function ofActors({ actors, generatedAt }) {
  const found = [];
  for (const actor of actors || []) {
    if (actor.oldestWorkMs > STUCK_MS) {
      const text = `${actor.name} has had work in hand for ${span(actor.oldestWorkMs)}`;
      found.push(finding("warn", "tree", "#actor-stuck", text));
    }
    if (actor.lastPanic && ago(actor.lastPanic.at, generatedAt) < NEWS_MS) {
      const age = span(ago(actor.lastPanic.at, generatedAt));
      const text = `${actor.name} panicked ${age} ago`;
      found.push(finding("warn", "tree", "#actor-restarts", text, actor.lastPanic.message));
    }
  }
  return found;
}

// The model's provider is what chats live on.
const VITAL = "openrouter_chat";

function ofCircuits({ circuits }) {
  return (circuits || []).filter((each) => each.state !== "closed").map((each) => {
    const level = each.provider === VITAL && each.state !== "half_open" ? "bad" : "warn";
    const wait = each.retryAfterMs ? `next probe in ${span(each.retryAfterMs)}` : "";
    const next = each.state === "forced_open" ? "until it is released" : wait;
    const detail = [EFFECTS[each.provider], next].filter(Boolean).join(", ");
    const text = `circuit ${each.provider} is ${each.state.replace("_", " ")}`;
    return finding(level, "circuits", "#circuit-open", text, detail);
  });
}

function ofBulkheads({ bulkheads }) {
  const full = Object.entries(bulkheads || {}).filter(([, row]) => row.inFlight >= row.max);
  return full.map(([provider, row]) => {
    const waiting = row.waiting ? `, ${count(row.waiting)} wait` : "";
    const detail = `${row.inFlight} of ${row.max} in flight${waiting}`;
    return finding("warn", "bulkheads", "#bulkhead-saturated", `bulkhead ${provider} is full`,
      detail);
  });
}

function ofLimits({ rateLimitPressure, windowMinutes, generatedAt }) {
  const { summary = {}, recentAlerts = [] } = rateLimitPressure || {};
  const since = windowMinutes * 60_000;
  const alerts = recentAlerts.filter((alert) => ago(alert.createdAt, generatedAt) < since);
  const found = alerts.map((alert) => {
    const text = `alert ${alert.alertKey}`;
    return finding("warn", "alerts", playbookOf(alert.alertKey), text, sizeOf(alert));
  });
  for (const [key, number] of Object.entries(summary)) {
    if (number === 0) continue;
    const level = playbookOf(key) === "#contention-fallback" ? "warn" : "note";
    const text = `${key}: ${plural(number, "refusal")} in ${windowMinutes} min`;
    found.push(finding(level, "limits", playbookOf(key), text));
  }
  return found;
}

function ofQueue({ toolJobs }) {
  const found = [];
  for (const [tool, row] of Object.entries(toolJobs?.pressureByTool || {})) {
    if (row.queuedMax && row.queued >= row.queuedMax * NEARLY_FULL) {
      const level = row.queued >= row.queuedMax ? "bad" : "warn";
      const text = `queue ${tool}: ${row.queued} of ${row.queuedMax} places are taken`;
      found.push(finding(level, "queue", "#backlog-growing", text));
    }
  }
  if (toolJobs?.oldestQueuedAgeMs > LATE_MS) {
    const text = `the oldest tool call has waited ${span(toolJobs.oldestQueuedAgeMs)}`;
    found.push(finding("warn", "queue", "#backlog-growing", text));
  }
  return found;
}

function ofInbox({ inbox }) {
  const found = [];
  if (inbox?.oldestAgeMs > LATE_MS) {
    const level = inbox.oldestAgeMs > VERY_LATE_MS ? "bad" : "warn";
    const text = `the oldest accepted event has waited ${span(inbox.oldestAgeMs)}`;
    found.push(finding(level, "inbox", "#oldest-event-age", text));
  }
  const dead = inbox?.byStatus?.dead || 0;
  if (dead > 0) {
    const text = `${plural(dead, "dead letter")} to look at`;
    found.push(finding("note", "letters", "#dead-letters", text));
  }
  return found;
}

// Everything that is wrong, worst first, the same thing once.
export function findings(snapshot) {
  const rules = [ofProcess, ofActors, ofCircuits, ofBulkheads, ofLimits, ofQueue, ofInbox];
  const all = rules.flatMap((rule) => rule(snapshot));
  const texts = new Set();
  const once = all.filter((each) => !texts.has(each.text) && texts.add(each.text));
  return once.sort((one, other) => ORDER[one.level] - ORDER[other.level]);
}

// One line for all of it.
export function headline(found) {
  const worst = found[0];
  if (!worst || worst.level === "note") return { level: "good", text: "All well" };
  const more = found.filter((each) => each.level !== "note").length - 1;
  const rest = more > 0 ? `, and ${plural(more, "more thing")}` : "";
  const word = worst.level === "bad" ? "Failing" : "Degraded";
  return { level: worst.level, text: `${word}: ${worst.text}${rest}` };
}
