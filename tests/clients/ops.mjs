// The operators' console in Debian's Chromium, as an operator uses it: `ops.mjs CASE TOKEN [MORE]`. Prints
// what was seen as one line of JSON, with what the browser asked elsewhere and all it complained of.

import { chromium } from "playwright-core";

const { SENDCAT_URL: url, SENDCAT_TOKEN: chatToken, SENDCAT_STAND_INS: standIns } = process.env;
const [name, token] = process.argv.slice(2);
const PATIENCE_MS = 20_000;

const asRoot = process.getuid() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  // A request to another host would fail, and is recorded all the same.
  args: ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", ...asRoot],
});
const context = await browser.newContext({ reducedMotion: "reduce" });
const asked = new Set(), elsewhere = [], complaints = [];
context.on("request", (request) => {
  const address = new URL(request.url());
  if (address.origin !== url && address.protocol !== "data:") elsewhere.push(request.url());
  if (request.url().includes(token)) elsewhere.push("the token stands in an address");
  asked.add(`${request.method()} ${address.pathname.replace(/[^/]+\.(js|css)$/, "*")}`);
});
const page = await context.newPage();
page.setDefaultTimeout(PATIENCE_MS);
page.on("pageerror", (error) => { complaints.push(String(error)); });
page.on("console", (said) => { if (said.type() === "error") complaints.push(said.text()); });

const headline = page.locator("#headline");
const panel = (id) => page.locator(`#panel-${id}`);
const row = (id, text) => panel(id).locator(".row", { hasText: text });
const textOf = async (locator) => (await locator.innerText()).replace(/\s+/g, " ").trim();

async function signIn(with_ = token) {
  await page.goto(`${url}/ops`);
  await page.getByLabel("Token").fill(with_);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function signedIn() {
  await signIn();
  await headline.getByText(/./).waitFor();
}

async function ask(thread, text, signal) {
  const headers = { authorization: `Bearer ${chatToken}`, "content-type": "application/json" };
  const message = { role: "user", parts: [{ type: "text", text }] };
  const body = JSON.stringify({ id: thread, message });
  const response = await fetch(`${url}/api/chat`, { method: "POST", headers, body, signal });
  await response.text();
  return response.status;
}

async function fail(provider, fault, times) {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ provider, fault, times });
  await fetch(`${standIns}/_control`, { method: "POST", headers, body });
}

// Calls the model until its circuit has opened; since when it has.
async function openTheCircuit() {
  await fail("openrouter_chat", "500", 1000);
  for (let tries = 0; tries < 20; tries += 1) {
    if (await ask(`broken-${tries}`, "hello") === 503) break;
  }
  return performance.now();
}

const isWide = () => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
const updates = () => page.locator("#connection").innerText();

const cases = {
  // Every panel, after the test has caused something for it to show.
  async panels() {
    const slow = new AbortController();
    ask("slow", "slow 1000 50", slow.signal).catch(() => {});
    await signedIn();
    await ask("found", "search rust actors");
    await row("bulkheads", "openrouter_chat").getByText("1 of", { exact: false }).waitFor();
    await row("queue", "search_web").getByText("1 done").waitFor();
    await row("cache", "search_web_json_v1").getByText("1 results").waitFor();
    await row("letters", "whatsapp").waitFor();
    await row("replays", "whatsapp_message").getByText("1 came again").waitFor();
    await row("inbox", "done").getByText("2", { exact: true }).waitFor();
    const before = await updates();
    await page.waitForFunction((text) =>
      document.querySelector("#connection").innerText !== text, before);
    const titles = await page.locator(".panel h2").allInnerTexts();
    const circuits = await panel("circuits").locator(".row").count();
    const letter = await textOf(row("letters", "whatsapp").locator(".why"));
    const names = await panel("tree").locator("summary .name").allInnerTexts();
    const branches = names.slice(0, 7);
    await panel("tree").locator("summary", { hasText: "limits" }).click();
    const shard = panel("tree").locator(".row", { hasText: "rate_limiter-" });
    await shard.first().waitFor();
    const shards = await shard.count();
    await panel("config").locator("summary").click();
    const knob = await textOf(row("config", "OPS_TOKEN").locator("b"));
    const verdict = await textOf(headline);
    const readOnly = await page.locator("#readonly").isVisible();
    slow.abort();
    return { titles, circuits, letter, branches, shards, knob, verdict, readOnly };
  },

  async circuit() {
    await signedIn();
    await headline.getByText("All well").waitFor();
    const since = await openTheCircuit();
    await row("circuits", "openrouter_chat").getByText("open", { exact: true }).waitFor();
    const shownAfter = performance.now() - since;
    await headline.getByText("Failing: circuit openrouter_chat is open").waitFor();
    const playbook = await page.locator("#findings .playbook").first().getAttribute("href");
    const countdown = await textOf(row("circuits", "openrouter_chat").locator(".countdown"));
    await fail("openrouter_chat", "none");
    await page.getByRole("button", { name: "Reset openrouter_chat" }).click();
    const question = await textOf(page.locator("#confirm-title"));
    const undo = await textOf(page.locator("#confirm-undo"));
    await page.getByRole("button", { name: "Cancel" }).click();
    const afterNo = await panel("log").locator(".row").count();
    await page.getByRole("button", { name: "Reset openrouter_chat" }).click();
    await page.locator("#confirm-yes").click();
    await row("circuits", "openrouter_chat").getByText("closed").waitFor();
    const log = await textOf(panel("log").locator(".row").first());
    await headline.getByText("All well").waitFor();
    return { isSoon: shownAfter < 2000, playbook, countdown: countdown.replace(/[\d.]+/g, "N"),
      question, undo, afterNo, log: log.replace(/\d\d:\d\d:\d\d/, "T") };
  },

  async force() {
    await signedIn();
    await page.getByRole("button", { name: "Force open serper_search" }).click();
    await page.locator("#confirm-yes").click();
    await row("circuits", "serper_search").getByText("forced open").waitFor();
    const verdict = await textOf(headline);
    await page.getByRole("button", { name: "Release serper_search" }).click();
    await page.locator("#confirm-yes").click();
    await row("circuits", "serper_search").getByText("closed").waitFor();
    return { verdict, log: await panel("log").locator(".row").count() };
  },

  async letters() {
    await signedIn();
    await row("letters", "whatsapp").waitFor();
    await page.getByRole("button", { name: /^Redeliver / }).click();
    await page.locator("#confirm-yes").click();
    await panel("log").getByText("back in line").waitFor();
    await page.getByRole("button", { name: "Clear search_web_json_v1" }).click();
    await page.locator("#confirm-yes").click();
    await panel("log").getByText("0 results forgotten").waitFor();
    return { log: await panel("log").locator(".row").count() };
  },

  async pause() {
    await signedIn();
    await page.getByRole("button", { name: "Pause" }).click();
    const banner = page.locator("#paused");
    await banner.waitFor();
    const frozen = await textOf(panel("circuits"));
    await openTheCircuit();
    await page.waitForFunction(() => {
      const missed = /(\d+) updates? not shown/.exec(document.querySelector("#paused").innerText);
      return missed && Number(missed[1]) >= 2;
    });
    const isFrozen = frozen === await textOf(panel("circuits"));
    const said = (await textOf(banner)).replace(/\d+/g, "N");
    await page.getByRole("button", { name: "Go on" }).click();
    await row("circuits", "openrouter_chat").getByText("open", { exact: true }).waitFor();
    return { isFrozen, said, isOver: await banner.isHidden() };
  },

  async filter() {
    await signedIn();
    await page.keyboard.press("/");
    await page.keyboard.type("serper");
    await page.locator("#left").getByText("of 12 panels").waitFor();
    const titles = await page.locator(".panel h2").allInnerTexts();
    const rows = await panel("circuits").locator(".row .name").allInnerTexts();
    const hash = new URL(page.url()).hash;
    await page.reload();
    await page.locator("#left").getByText("of 12 panels").waitFor();
    const kept = await page.locator("#filter").inputValue();
    await page.locator("#filter").press("Escape");
    await panel("inbox").waitFor();
    await page.keyboard.press("x");
    await page.getByText("Nothing matches the filter.").waitFor();
    const trouble = new URL(page.url()).hash;
    return { titles, rows: rows.map((each) => each.split(/\s/).at(-1)), hash, kept, trouble };
  },

  // The token may only read: nothing can be pressed, and what is forced is refused by the server.
  async reader() {
    await signedIn();
    const banner = await textOf(page.locator("#readonly"));
    await panel("circuits").locator(".row").first().waitFor();
    const verbs = await page.locator("[data-verb]").count();
    const status = await page.evaluate(async (secret) => {
      const headers = { authorization: `Bearer ${secret}` };
      const path = "/ops/circuits/openrouter_chat/force-open";
      return (await fetch(path, { method: "POST", headers })).status;
    }, token);
    return { banner, verbs, status };
  },

  async signing() {
    await page.goto(`${url}/ops`);
    const isEmpty = await page.locator("#board").isHidden();
    await signIn("wrong");
    await page.locator("#refused").getByText("401").waitFor();
    await signedIn();
    const isKept = await page.evaluate(() => ({
      tab: sessionStorage.length, browser: localStorage.length, cookies: document.cookie }));
    await page.reload();
    await headline.getByText(/./).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    const left = await page.evaluate(() => sessionStorage.length);
    return { isEmpty, isKept, left };
  },

  async keyboard() {
    await signedIn();
    const focused = () => page.evaluate(() => document.activeElement.id);
    const reached = [];
    await page.reload();
    await headline.getByText(/./).waitFor();
    for (let tabs = 0; tabs < 8; tabs += 1) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(() => {
        const { id, href, className } = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
        const isSeen = outlineStyle === "solid" && outlineWidth === "2px";
        const path = href ? new URL(href).pathname + new URL(href).hash : "";
        return `${id || path || className}${isSeen ? "" : " unseen"}`;
      }));
    }
    await page.keyboard.press("Escape");
    await page.keyboard.press("j");
    const first = await focused();
    await page.keyboard.press("j");
    const second = await focused();
    await page.keyboard.press("k");
    const back = await focused();
    await page.keyboard.press("?");
    const keys = await page.locator("#keys").isVisible();
    await page.keyboard.press("p");
    const isDeaf = await page.locator("#paused").isHidden();
    await page.keyboard.press("Escape");
    await page.keyboard.press("p");
    await page.locator("#paused").waitFor();
    await page.keyboard.press("p");
    await page.keyboard.press("t");
    const theme = await page.evaluate(() => document.documentElement.dataset.theme);
    // A button keeps the focus while the page around it is drawn anew.
    await page.getByRole("button", { name: "Force open jwks" }).focus();
    const before = await updates();
    await page.waitForFunction((text) =>
      document.querySelector("#connection").innerText !== text, before);
    const kept = await page.evaluate(() => document.activeElement.dataset.target);
    await page.keyboard.press("Enter");
    const isAsked = await page.locator("#confirm").isVisible();
    return { reached, first, second, back, keys, isDeaf, theme, kept, isAsked };
  },

  // A small phone, with everything unfolded and something wrong, in both themes.
  async narrow() {
    await page.setViewportSize({ width: 360, height: 640 });
    await signedIn();
    await openTheCircuit();
    await row("circuits", "openrouter_chat").getByText("open", { exact: true }).waitFor();
    for (const summary of await page.locator("summary").all()) await summary.click();
    await row("config", "OPS_TOKEN").waitFor();
    const light = await isWide();
    await page.getByRole("button", { name: /^Force open jwks/ }).click();
    const inDialog = await isWide();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.emulateMedia({ colorScheme: "dark" });
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.goto(`${url}/ops/runbook#circuit-open`);
    const runbook = await isWide();
    return { light, inDialog, dark, runbook };
  },

  // What the page's own rules conclude from the snapshots that stand in the third argument.
  async verdict() {
    await page.goto(`${url}/ops`);
    return page.evaluate(async (snapshots) => {
      const { findings, headline } = await import("/ops/assets/verdict.js");
      return snapshots.map((snapshot) => {
        const found = findings(snapshot), { level, text } = headline(found);
        const lines = found.map((each) => [each.level, each.playbook,
          each.detail ? `${each.text}: ${each.detail}` : each.text].join(" "));
        return { headline: `${level} ${text}`, found: lines };
      });
    }, JSON.parse(process.argv[4]));
  },

  async runbook() {
    await page.goto(`${url}/ops/runbook#circuit-open`);
    const target = await page.evaluate(() => document.querySelector(":target").innerText);
    const headings = await page.locator("h2").count();
    return { target, headings };
  },
};

const seen = await cases[name]();
await browser.close();
const requests = [...asked].sort();
process.stdout.write(`${JSON.stringify({ seen, elsewhere, complaints, requests })}\n`);
