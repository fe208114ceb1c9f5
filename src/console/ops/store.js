// What the page knows, and what of it is shown: a page that is paused keeps hearing, and shows what
// it showed.

import { call, sentence } from "./session.js";

// How far back lines reach. It is kept by this page alone, and gone with it.
export const HISTORY_MS = 10 * 60 * 1000;
// After that silence what is shown is old.
export const STALE_MS = 3500;
const LOG_MAX = 100;

export const state = {
  // Everything as last heard, and as shown.
  live: null, shown: null,
  paused: false, missed: 0,
  access: "", connection: "connecting", trouble: "", heardAt: 0,
  filter: "", onlyTrouble: false,
  // What is asked for besides the stream: deadLetters, cache, config; each `{data, error}`.
  asked: {},
  // What a person has opened or closed, by key.
  opened: new Map(),
  log: [],
  history: [],
};

export const readOnly = () => state.access !== "operate";

const sum = (numbers) => Object.values(numbers || {}).reduce((all, each) => all + each, 0);

export function blocked(snapshot) {
  return sum(snapshot.rateLimitPressure?.summary);
}

function sample(snapshot) {
  const at = Date.parse(snapshot.generatedAt);
  const inFlight = sum(Object.values(snapshot.bulkheads || {}).map((row) => row.inFlight));
  const { queued = 0, running = 0 } = snapshot.toolJobs?.byStatus || {};
  const { pending = 0 } = snapshot.inbox?.byStatus || {};
  return { at, blocked: blocked(snapshot), inFlight, queued: queued + running, pending };
}

// Takes what the stream says: everything, or the sections that have changed.
export function hear(sections, isWhole) {
  state.live = isWhole ? sections : { ...state.live, ...sections };
  state.heardAt = performance.now();
  [state.connection, state.trouble] = ["live", ""];
  const latest = sample(state.live);
  state.history.push(latest);
  while (state.history[0].at < latest.at - HISTORY_MS) state.history.shift();
  if (state.paused) state.missed += 1;
  else show();
}

// Shows what is known now.
export function show() {
  state.shown = { ...state.live, asked: { ...state.asked }, history: [...state.history] };
}

export function pause(yes) {
  [state.paused, state.missed] = [yes, 0];
  if (!yes && state.live) show();
}

// Asks for what the stream does not carry.
export async function ask(name, path) {
  try {
    state.asked[name] = { data: await call("GET", path) };
  } catch (error) {
    state.asked[name] = { ...state.asked[name], error: sentence(error) };
  }
  if (!state.paused && state.live) show();
}

export function log(what, outcome, ok) {
  state.log.unshift({ at: new Date().toISOString(), what, outcome, ok });
  state.log.length = Math.min(state.log.length, LOG_MAX);
}

export const silentMs = () => (state.heardAt ? performance.now() - state.heardAt : 0);
