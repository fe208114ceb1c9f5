// What an operator can do: each verb is confirmed first, says what undoes it, and is written down
// on the page.

import { byId, h } from "./dom.js";
import { plural } from "./format.js";
import * as session from "./session.js";
import { log, readOnly } from "./store.js";

const name = encodeURIComponent;

// What a circuit is after a verb.
const stateOf = (answer, it) => {
  const circuit = answer.circuits.find((each) => each.provider === it);
  return `${it} is ${circuit.state.replace("_", " ")}`;
};

// By verb: what is asked, what it does, what undoes it, and what its answer says.
const VERBS = {
  reset: {
    label: "Reset", method: "POST", path: (it) => `/ops/circuits/${name(it)}/reset`,
    title: (it) => `Reset the circuit ${it}?`,
    effect: "It closes at once and forgets its failures: calls go to the provider again.",
    undo: "Undo: force it open. If the provider still fails, it opens again by itself.",
    said: stateOf,
  },
  "force-open": {
    label: "Force open", method: "POST", path: (it) => `/ops/circuits/${name(it)}/force-open`,
    title: (it) => `Force the circuit ${it} open?`,
    effect: "Every call to this provider is refused at once, until it is released.",
    undo: "Undo: release it.",
    said: stateOf,
  },
  release: {
    label: "Release", method: "POST", path: (it) => `/ops/circuits/${name(it)}/release`,
    title: (it) => `Release the circuit ${it}?`,
    effect: "It is no longer held open, and follows its own rules again.",
    undo: "Undo: force it open.",
    said: stateOf,
  },
  clear: {
    label: "Clear", method: "DELETE", path: (it) => `/ops/cache/${name(it)}`,
    title: (it) => `Clear the cache ${it}?`,
    effect: "Every kept result of this namespace is forgotten; the next calls go to the provider.",
    undo: "It cannot be undone; the cache fills again by itself.",
    said: (answer) => plural(answer.cleared, "result") + " forgotten",
  },
  redeliver: {
    label: "Redeliver", method: "POST", path: (it) => `/ops/dead-letters/${name(it)}/redeliver`,
    title: (it) => `Redeliver ${it}?`,
    effect: "It is worked off again from its beginning. What it may have sent already, such as an"
      + " answer by WhatsApp, may be sent twice.",
    undo: "It cannot be undone; if it fails again, it is a dead letter again.",
    said: () => "back in line",
  },
  "run-alerts": {
    label: "Run the monitor", method: "POST", path: () => "/ops/alerts/run",
    title: () => "Run the alert monitor now?",
    effect: "It counts events as it does by itself once in a while, and raises what is due.",
    undo: "An alert that is raised is not raised again before its cooldown is over.",
  },
  reload: {
    label: "Reload", method: "POST", path: () => "/ops/config/reload",
    title: () => "Read the configuration file again?",
    effect: "Knobs that can change while the process runs take their values from the file. A file"
      + " with a fault is refused whole.",
    undo: "Undo: put the file back as it was, and reload again.",
    said: ({ changed, atNextStart }) => [
      changed.length ? `in force: ${changed.join(", ")}` : "nothing has changed",
      atNextStart.length ? `at the next start: ${atNextStart.join(", ")}` : "",
    ].filter(Boolean).join("; "),
  },
};

// A button for a verb; nothing for those who may only read.
export function button(verb, target = "", label = VERBS[verb].label) {
  if (readOnly()) return null;
  return h("button", {
    type: "button", class: "verb", "data-verb": verb, "data-target": target,
    "aria-label": target ? `${label} ${target}` : label,
  }, label);
}

function confirmed(verb, target) {
  const { title, effect, undo, label } = VERBS[verb];
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title(target);
  byId("confirm-effect").textContent = effect;
  byId("confirm-undo").textContent = undo;
  byId("confirm-yes").textContent = label;
  dialog.returnValue = "";
  dialog.showModal();
  byId("confirm-no").focus();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}

const OUTCOME_CHARS = 200;

function outcomeOf(verb, answer, target) {
  const { said } = VERBS[verb];
  const text = said ? said(answer, target) : JSON.stringify(answer ?? "done");
  return text.length > OUTCOME_CHARS ? `${text.slice(0, OUTCOME_CHARS)} …` : text;
}

// Asks, does it, and writes down what came of it; `then` is told that something has changed.
export async function perform(verb, target, then) {
  if (readOnly() || !Object.hasOwn(VERBS, verb)) return;
  if (!await confirmed(verb, target)) return;
  const { method, path } = VERBS[verb];
  const what = `${method} ${path(target)}`;
  try {
    log(what, outcomeOf(verb, await session.call(method, path(target)), target), true);
  } catch (error) {
    log(what, session.sentence(error), false);
  }
  then(verb);
}
