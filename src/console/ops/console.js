// The console: signs in, follows the stream, draws what the store shows, hears keys and buttons.

import { perform } from "./actions.js";
import { byId, h, render } from "./dom.js";
import { SIGNS, clock, plural, sign, span } from "./format.js";
import { isFiltered, matches, playbook } from "./panel.js";
import { actionLog, config } from "./panels_config.js";
import { alerts, bulkheads, circuits, limits } from "./panels_guards.js";
import { tree } from "./panels_tree.js";
import { cache, inbox, letters, queue, replays } from "./panels_work.js";
import * as session from "./session.js";
import { STALE_MS, ask, hear, pause, readOnly, silentMs, state } from "./store.js";
import { follow } from "./stream.js";
import { turn } from "./theme.js";
import { findings, headline } from "./verdict.js";

const COLUMNS = [
  [alerts, circuits, limits, bulkheads],
  [queue, inbox, letters, replays, cache],
  [tree, config, actionLog],
];
// How often what the stream does not carry is asked for, in milliseconds.
const ASK_EVERY = { cache: 10_000, deadLetters: 15_000, config: 60_000 };
const PATHS = {
  cache: "/ops/cache", deadLetters: "/ops/dead-letters?limit=20", config: "/ops/config",
};
// A page that nobody sees for so long gives its stream back.
const UNSEEN_MS = 60_000;
const FINDINGS_MAX = 8;
const SINGLE_KEYS = "sendcat.keys";

let stop = null, unseen = 0, drawn = 0;
const asked = {};

// --- Drawing ---

function draw() {
  drawn ||= requestAnimationFrame(() => { drawn = 0; drawAll(); });
}

function drawAll() {
  byId("readonly").hidden = !state.live || !readOnly();
  drawConnection();
  byId("board").hidden = !state.shown;
  if (!state.shown) return;
  drawVerdict();
  const columns = COLUMNS.map((column, at) => h("div", { key: `column-${at}`, class: "column" },
    column.map((each) => each(state))));
  const count = columns.reduce((sum, column) => sum + column.children.length, 0);
  const all = COLUMNS.flat().length;
  const nothing = h("p", { key: "nothing", class: "none" }, "Nothing matches the filter.");
  render(byId("panels"), count ? columns : nothing);
  byId("left").textContent = isFiltered(state) ? `${count} of ${plural(all, "panel")}` : "";
}

function drawConnection() {
  const silent = silentMs(), isStale = state.connection === "live" && silent > STALE_MS;
  const shown = isStale ? `silent for ${span(silent)}` : state.connection;
  const level = state.connection === "live" && !isStale ? "good" : "warn";
  const at = state.live ? `, ${clock(state.live.generatedAt)}` : "";
  render(byId("connection"), sign(level), ` ${shown}${at}`,
    state.trouble ? h("span", { class: "why" }, ` ${state.trouble}`) : null);
  byId("pause").textContent = state.paused ? "Go on" : "Pause";
  byId("pause").setAttribute("aria-pressed", String(state.paused));
  byId("paused").hidden = !state.paused;
  if (state.paused) {
    const since = state.shown ? ` at ${clock(state.shown.generatedAt)}` : "";
    const missed = plural(state.missed, "update");
    render(byId("paused"), h("b", {}, "PAUSED"), `${since}. ${missed} not shown.`);
  }
  const { process, generatedAt } = state.shown || {};
  if (process) {
    const up = Date.parse(generatedAt) - Date.parse(process.startedAt);
    render(byId("process"), `${process.version}, up ${span(up)}, ready: ${process.status}`);
  }
}

function staleness() {
  const silent = silentMs();
  if (state.paused || silent <= STALE_MS) return [];
  return [{ level: "bad", panel: null, playbook: "#snapshot-stale",
    text: "the server says nothing", detail: `what is shown is ${span(silent)} old` }];
}

function drawVerdict() {
  const found = [...staleness(), ...findings(state.shown)];
  const { level, text } = headline(found);
  render(byId("headline"), h("span", { class: `sign ${level}`, "aria-hidden": "true" },
    SIGNS[level]), ` ${text}`);
  byId("verdict").className = level;
  document.title = `${level === "good" ? "" : `${text.split(":")[0]} – `}sendcat operators`;
  const rows = found.map((each) => h("li", { class: each.level }, sign(each.level), " ",
    each.panel ? h("a", { href: `#panel-${each.panel}`, "data-panel": each.panel }, each.text)
      : each.text,
    each.detail && h("span", { class: "detail" }, ` ${each.detail}`), " ",
    playbook(each.playbook, each.text)));
  const left = rows.filter((each) => matches(state, each));
  const more = left.length - FINDINGS_MAX;
  render(byId("findings"), left.slice(0, FINDINGS_MAX),
    more > 0 ? h("li", { key: "more" }, `and ${plural(more, "more")}`) : null);
}

// --- Asking for what the stream does not carry ---

async function askFor(name) {
  asked[name] = performance.now();
  await ask(name, PATHS[name]);
  draw();
}

function askWhatIsDue() {
  if (state.paused) return;
  for (const [name, every] of Object.entries(ASK_EVERY)) {
    if (asked[name] === undefined || performance.now() - asked[name] > every) askFor(name);
  }
}

function heard(sections, isWhole) {
  const known = state.live;
  hear(sections, isWhole);
  if (known && !state.paused) {
    const { inbox: events, toolCache } = state.live;
    if (known.inbox?.byStatus?.dead !== events?.byStatus?.dead) askFor("deadLetters");
    if (sections.toolCache && known.toolCache !== toolCache) askFor("cache");
  }
  askWhatIsDue();
  draw();
}

// --- Signing in and out ---

function signedOut(sentence) {
  if (stop) stop();
  stop = null;
  session.signOut();
  Object.assign(state, { live: null, shown: null, access: "", asked: {}, history: [] });
  for (const name of Object.keys(asked)) delete asked[name];
  [state.connection, state.trouble] = ["signed out", ""];
  byId("signin").hidden = false;
  byId("out").hidden = true;
  byId("refused").textContent = sentence;
  byId("token").value = "";
  byId("token").focus();
  draw();
}

function begin() {
  byId("signin").hidden = true;
  byId("out").hidden = false;
  state.connection = "connecting";
  stop = follow({
    access: (access) => { state.access = access; draw(); },
    snapshot: heard,
    end: (reason) => { [state.connection, state.trouble] = ["ended", reason]; draw(); },
    lost: (error, waitMs) => {
      state.connection = "not connected";
      state.trouble = `${session.sentence(error)} Next attempt in ${span(waitMs)}.`;
      draw();
    },
    refused: (error) => signedOut(session.sentence(error)),
  });
  draw();
}

byId("signin").addEventListener("submit", (event) => {
  event.preventDefault();
  session.signIn(byId("token").value.trim());
  byId("refused").textContent = "";
  begin();
});
byId("out").addEventListener("click", () => signedOut(""));

// --- Filter and its place in the address ---

function readHash() {
  // A way to a panel is no filter.
  if (/^#panel/.test(location.hash)) return;
  const wanted = new URLSearchParams(location.hash.slice(1));
  state.filter = wanted.get("q") || "";
  state.onlyTrouble = wanted.get("trouble") === "1";
  byId("filter").value = state.filter;
  byId("trouble").checked = state.onlyTrouble;
}

function writeHash() {
  const said = new URLSearchParams();
  if (state.filter) said.set("q", state.filter);
  if (state.onlyTrouble) said.set("trouble", "1");
  const text = said.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname);
  draw();
}

byId("filter").addEventListener("input", () => {
  state.filter = byId("filter").value;
  writeHash();
});
byId("trouble").addEventListener("change", () => {
  state.onlyTrouble = byId("trouble").checked;
  writeHash();
});
byId("filters").addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", () => { readHash(); draw(); });

// --- Buttons and keys ---

function turnPause() {
  pause(!state.paused);
  draw();
}

function show(panel) {
  const node = byId(`panel-${panel}`);
  if (!node) return;
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  node.scrollIntoView({ block: "start", behavior });
  node.focus({ preventScroll: true });
}

function step(by) {
  const all = [...document.querySelectorAll(".panel")];
  const at = all.findIndex((panel) => panel.contains(document.activeElement));
  const next = at < 0 && by < 0 ? all.length - 1 : Math.min(all.length - 1, Math.max(0, at + by));
  if (all[next]) show(all[next].id.slice("panel-".length));
}

const changes = { clear: "cache", redeliver: "deadLetters", reload: "config" };

document.addEventListener("click", (event) => {
  const { verb, target } = event.target.closest("[data-verb]")?.dataset || {};
  if (verb) {
    perform(verb, target, () => { if (changes[verb]) askFor(changes[verb]); draw(); });
  }
  const folded = event.target.closest("summary")?.parentElement.dataset.fold;
  if (folded) {
    event.preventDefault();
    state.opened.set(folded, !state.opened.get(folded));
    draw();
  }
  const panel = event.target.closest("[data-panel]")?.dataset.panel;
  if (panel) {
    event.preventDefault();
    show(panel);
  }
});
byId("pause").addEventListener("click", turnPause);
byId("help").addEventListener("click", () => byId("keys").showModal());

function clearFilter() {
  [state.filter, state.onlyTrouble] = ["", false];
  [byId("filter").value, byId("trouble").checked] = ["", false];
  writeHash();
}

const KEYS = {
  "/": () => byId("filter").focus(),
  x: () => byId("trouble").click(),
  p: turnPause,
  j: () => step(1),
  k: () => step(-1),
  t: turn,
  r: () => open("/ops/runbook", "_blank", "noopener"),
  "?": () => byId("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
    return;
  }
  if (event.key === "Escape" && !byId("board").hidden) {
    clearFilter();
    document.activeElement?.blur();
    return;
  }
  const isTyping = event.target.matches("input:not([type=checkbox])");
  if (isTyping || !byId("single").checked || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});

byId("single").checked = localStorage.getItem(SINGLE_KEYS) !== "off";
byId("single").addEventListener("change", () => {
  localStorage.setItem(SINGLE_KEYS, byId("single").checked ? "on" : "off");
});

// --- Pages that nobody sees, and silence ---

document.addEventListener("visibilitychange", () => {
  clearTimeout(unseen);
  if (document.hidden) {
    unseen = setTimeout(() => { if (stop) stop(); stop = null; }, UNSEEN_MS);
  } else if (!stop && session.token()) {
    begin();
  }
});
setInterval(() => { if (state.live && silentMs() > STALE_MS) draw(); }, 1000);

readHash();
if (session.token()) begin();
else signedOut("");
