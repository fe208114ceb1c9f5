// The chat page in Debian's Chromium, as a person uses it: `page.mjs CASE`. Prints what was seen as
// one line of JSON, with every request that the browser made and everything it complained about.

import { chromium } from "playwright-core";

const { SENDCAT_URL: url, SENDCAT_STAND_INS: standIns } = process.env;
const [name] = process.argv.slice(2);
const PATIENCE_MS = 20_000;

const asRoot = process.getuid() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  // A request to another host would fail, and is recorded all the same.
  args: ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", ...asRoot],
});
const context = await browser.newContext();
const requests = [], complaints = [];
context.on("request", (request) => {
  requests.push(`${request.method()} ${request.url().replace(url, "")}`);
});
const page = await context.newPage();
page.setDefaultTimeout(PATIENCE_MS);
page.on("pageerror", (error) => { complaints.push(String(error)); });
page.on("console", (said) => { if (said.type() === "error") complaints.push(said.text()); });

const prompt = page.getByLabel("Message");
const sending = page.getByRole("button", { name: "Send" });
const stopping = page.getByRole("button", { name: "Stop" });

async function send(text) {
  await prompt.fill(text);
  await prompt.press("Enter");
}

// What a person reads, a line each.
async function read() {
  const messages = await page.locator(".message").all();
  return Promise.all(messages.map((message) => message.innerText()));
}

// Waits until the last answer shows these letters.
function shows(letters) {
  return page.locator(".assistant").last().getByText(letters).waitFor();
}

// Waits until a next question may be asked.
async function ready() {
  await sending.waitFor();
  return { sending: await sending.isVisible(), stopping: await stopping.isVisible() };
}

const cases = {
  async grow() {
    await page.goto(url);
    await send("slow 30 50");
    await shows("1 2 3");
    const early = await read();
    const busy = { sending: await sending.isVisible(), stopping: await stopping.isVisible() };
    await shows("29 30");
    const idle = await ready();
    return { grew: early.at(-1).length < (await read()).at(-1).length, busy, idle };
  },

  async search() {
    await page.goto(url);
    await page.getByRole("button", { name: "search rust actors" }).click();
    await shows("I found");
    await ready();
    const tool = page.getByRole("region", { name: "Tool search_web" });
    const links = await tool.getByRole("link").all();
    return { card: (await tool.innerText()).split("\n"), links: links.length };
  },

  async stop() {
    await page.goto(url);
    await send("slow 600 50");
    await shows("1 2 3");
    await stopping.click();
    await shows("Stopped.");
    return { idle: await ready() };
  },

  async reload() {
    await page.goto(url);
    await send("slow 60 50");
    await shows("1 2 3");
    await page.reload();
    await shows("1 2 3");
    const resumed = { sending: await sending.isVisible(), stopping: await stopping.isVisible() };
    await shows("59 60");
    await ready();
    const live = await read();
    await page.reload();
    await shows("59 60");
    return { resumed, live, idle: await ready() };
  },

  // The provider fails at the second question; the screen is a small phone's.
  async failure() {
    await page.setViewportSize({ width: 360, height: 400 });
    await page.goto(url);
    await send("chunks 100");
    await shows("99 100");
    await ready();
    const body = JSON.stringify({ provider: "openrouter_chat", fault: "401", times: 1 });
    const headers = { "content-type": "application/json" };
    await fetch(`${standIns}/_control`, { method: "POST", headers, body });
    await send("chunks 4");
    await page.locator(".error").waitFor();
    const idle = await ready();
    await prompt.fill("a draft\nof three\nlines");
    const [error, form] = await Promise.all([page.locator(".error"), page.locator("form")]
      .map((each) => each.boundingBox()));
    const isWhole = error.y > 0 && error.y + error.height <= form.y;
    const isWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    return { isWhole, isWide, idle };
  },
};

const seen = { ...await cases[name](), complaints };
const messages = await read();
const thread = await page.locator("#thread").innerText();
await browser.close();
process.stdout.write(`${JSON.stringify({ seen, messages, thread, requests })}\n`);
