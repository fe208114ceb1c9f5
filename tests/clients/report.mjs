// Pages of reports in Debian's Chromium, opened from files as an operator opens them, without a
// network: `report.mjs FILE… [--shots FOLDER]`. Prints what was seen of each as one line of JSON.

import { chromium } from "playwright-core";
import { basename } from "node:path";
import { pathToFileURL } from "node:url";

const words = process.argv.slice(2);
const at = words.indexOf("--shots");
const shots = at < 0 ? undefined : words.splice(at, 2)[1];

const asRoot = process.getuid() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  // A request to any host would fail, and is recorded all the same.
  args: ["--host-resolver-rules=MAP * ~NOTFOUND", ...asRoot],
});

// What is there, measured in the page: script of the browser's driver, not of the page, which runs
// with scripts off.
function measured() {
  const charts = [...document.querySelectorAll("svg[role=img]")];
  const isDrawn = (svg) => {
    const marks = [...svg.querySelectorAll("path, rect.part, rect.band, circle")];
    const { width, height } = svg.getBoundingClientRect();
    const box = (mark) => mark.getBBox();
    return width > 20 && height > 3 && marks.some((mark) => box(mark).width + box(mark).height > 0);
  };
  const nameless = charts.filter((svg) => !svg.querySelector("title") || !svg.querySelector("desc"));
  // Relative luminance and contrast, as WCAG 2.2 has them.
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const light = (colour) => {
    if (!known.has(colour)) known.set(colour, luminance(colour));
    return known.get(colour);
  };
  const luminance = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const { backgroundColor } = getComputedStyle(each);
      if (!/, 0\)$/.test(backgroundColor)) return backgroundColor;
    }
    return "white";
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const faint = [];
  for (const element of document.querySelectorAll("h1, h2, p, td, th, dt, dd, li, code, summary")) {
    if (!element.textContent.trim()) continue;
    const ratio = contrast(getComputedStyle(element).color, behind(element));
    if (ratio < 4.5) faint.push(`${element.tagName} ${element.textContent.slice(0, 30)}: ${ratio}`);
  }
  for (const word of document.querySelectorAll("svg text:not(.on)")) {
    const ratio = contrast(getComputedStyle(word).fill, behind(word));
    if (ratio < 4.5) faint.push(`text ${word.textContent}: ${ratio}`);
  }
  for (const line of document.querySelectorAll("svg .line, svg .limit, svg .mark")) {
    const ratio = contrast(getComputedStyle(line).stroke, behind(line));
    if (ratio < 3) faint.push(`${line.getAttribute("class")}: ${ratio}`);
  }
  for (const word of document.querySelectorAll("svg text.on")) {
    const part = word.previousElementSibling;
    const ratio = contrast(getComputedStyle(word).fill, getComputedStyle(part).fill);
    if (ratio < 3) faint.push(`text on ${part.getAttribute("class")}: ${ratio}`);
  }
  const policy = document.querySelector("meta[http-equiv=Content-Security-Policy]");
  return {
    charts: charts.length,
    undrawn: charts.filter((svg) => !isDrawn(svg)).map((svg) => svg.textContent.slice(0, 60)),
    nameless: nameless.length,
    faint,
    background: getComputedStyle(document.body).backgroundColor,
    isWide: document.documentElement.scrollWidth > innerWidth,
    policy: policy && policy.content,
    scripts: document.querySelectorAll("script").length,
  };
}

const seen = {};
for (const file of words) {
  const address = pathToFileURL(file).href;
  const asked = new Set(), complaints = [];
  const context = await browser.newContext({ javaScriptEnabled: false });
  context.on("request", (request) => {
    if (request.url() !== address) asked.add(request.url());
  });
  const page = await context.newPage();
  page.on("console", (said) => { complaints.push(said.text()); });
  page.on("pageerror", (error) => { complaints.push(String(error)); });
  const looks = {};
  for (const [look, colorScheme, width] of
    [["light", "light", 1280], ["dark", "dark", 1280], ["narrow", "dark", 360]]) {
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme });
    await page.goto(address);
    // Unfolded, for a table that is too wide must scroll by itself.
    await page.evaluate(() => document.querySelectorAll("details").forEach((each) => {
      each.open = true;
    }));
    looks[look] = await page.evaluate(measured);
    if (shots) {
      const path = `${shots}/${basename(file)}.${look}.png`;
      await page.goto(address);
      await page.screenshot({ path, fullPage: true });
    }
  }
  await context.close();
  seen[basename(file)] = { looks, asked: [...asked], complaints };
}
await browser.close();
process.stdout.write(`${JSON.stringify(seen)}\n`);
