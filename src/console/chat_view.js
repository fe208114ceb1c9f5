"use strict";
// What a conversation looks like, and how a stream of parts is read. No text becomes HTML.

const $ = (id) => document.getElementById(id);
const HINTS = ["Hello!", "search rust actors", "reason about tides", "slow 20 200"];

// --- Server-sent events: chunks cut anywhere, CRLF, comments, event names ---

function sseParser(onData) {
  let buffer = "", data = [];
  const line = (text) => {
    if (text === "") {
      if (data.length) onData(data.join("\n"));
      data = [];
    } else if (text.startsWith("data:")) {
      data.push(text.slice(text[5] === " " ? 6 : 5));
    } else if (text === "data") {
      data.push("");
    } // All else is a comment, an event name or an id: the JSON says what an event is.
  };
  return (text) => {
    buffer += text;
    // A CR at the very end may be half of a CRLF: it waits for what follows.
    for (let end; (end = /\r\n|\n|\r(?=[^])/.exec(buffer)); ) {
      line(buffer.slice(0, end.index));
      buffer = buffer.slice(end.index + end[0].length);
    }
  };
}

// Reads parts until [DONE]; answers whether that was seen.
async function readParts(response, onPart) {
  let done = false;
  const feed = sseParser((data) => {
    if (data === "[DONE]") done = true;
    else if (!done) onPart(JSON.parse(data));
  });
  const reader = response.body.getReader(), decoder = new TextDecoder();
  for (let piece; !(piece = await reader.read()).done; ) {
    feed(decoder.decode(piece.value, { stream: true }));
  }
  feed(decoder.decode());
  return done;
}

// --- What a message looks like: text nodes only, never HTML ---

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function safeLink(address, title) {
  let url;
  try { url = new URL(address); } catch { return null; }
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  const link = make("a", "", title || address);
  link.href = url.href;
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  return link;
}

function linkify(node) {
  const text = node.textContent, parts = [];
  let from = 0;
  for (const found of text.matchAll(/https?:\/\/[^\s<>"“”]+[^\s<>"“”.,;:!?)\]}']/g)) {
    const link = safeLink(found[0]);
    if (!link) continue;
    parts.push(text.slice(from, found.index), link);
    from = found.index + found[0].length;
  }
  if (parts.length) node.replaceChildren(...parts, text.slice(from));
}

// The first list of titled entries in a tool's output, wherever it stands.
function entriesOf(output, depth = 0) {
  if (output === null || typeof output !== "object" || depth > 4) return [];
  const titled = (each) => each && typeof each === "object" && (each.title || each.name);
  if (Array.isArray(output) && output.some(titled)) return output.filter(titled);
  for (const value of Object.values(output)) {
    const found = entriesOf(value, depth + 1);
    if (found.length) return found;
  }
  return [];
}

function entryItem(entry) {
  const title = String(entry.title || entry.name);
  const address = entry.link || entry.url || entry.itemWebUrl || entry.product_link;
  const item = make("li");
  item.append((address && safeLink(String(address), title)) || title);
  const { price, source, snippet } = entry;
  const amount = price && price.value ? `${price.value} ${price.currency || ""}` : price;
  const more = [amount, source, snippet].filter((each) => /string|number/.test(typeof each));
  if (more.length) item.append(make("small", "", more.join(" · ")));
  return item;
}

function toolCard(name) {
  const card = make("section", "tool");
  card.setAttribute("aria-label", `Tool ${name}`);
  const head = make("div", "head"), output = make("div", "output");
  const input = make("span", "input"), state = make("span", "state");
  head.append(make("span", "name", name), input, state);
  card.append(head, output);
  const set = (key, text) => { card.dataset.state = key; state.textContent = text; };
  set("running", "running …");
  return {
    card,
    typed: (text) => { input.append(text); },
    called: (value) => {
      const fields = value && typeof value === "object" ? Object.values(value) : [value];
      const plain = fields.every((each) => typeof each !== "object");
      input.textContent = plain ? fields.join(", ") : JSON.stringify(value);
    },
    answered: (value, preliminary) => {
      const entries = entriesOf(value), list = make("ul");
      list.append(...entries.slice(0, 10).map(entryItem));
      if (entries.length > 10) list.append(make("li", "", `and ${entries.length - 10} more`));
      const said = typeof value === "string" ? value : value && (value.error || value.message);
      const words = make("small", "", typeof said === "string" ? said : "no results");
      output.replaceChildren(entries.length ? list : words);
      preliminary ? set("partial", "partial …") : set("done", "done");
    },
    failed: (text) => { set("failed", "failed"); output.textContent = text; },
    ended: () => {
      if (["running", "partial"].includes(card.dataset.state)) set("failed", "stopped");
    },
  };
}

function errorBox(text, code, retryAfterMs) {
  const box = make("div", "error", text);
  if (code) box.append(" ", make("code", "", code));
  const wait = `Try again in ${Math.ceil(retryAfterMs / 1000)} s.`;
  if (retryAfterMs > 0 && !text.includes(wait)) box.append(` ${wait}`);
  return box;
}

// One answer as its parts arrive.
function answerView() {
  const article = make("article", "message assistant waiting");
  const texts = new Map(), thoughts = new Map(), tools = new Map();
  let detail = {};
  const add = (node) => { article.append(node); return node; };
  const textOf = (id) => texts.get(id) || texts.set(id, add(make("div", "text"))).get(id);
  const thoughtOf = (id) => {
    if (!thoughts.has(id)) {
      const box = add(make("details")), body = make("div", "text");
      box.append(make("summary", "", "Thinking …"), body);
      thoughts.set(id, { box, body });
    }
    return thoughts.get(id);
  };
  const toolOf = (part) => {
    if (!tools.has(part.toolCallId)) {
      const tool = toolCard(part.toolName || "tool");
      add(tool.card);
      tools.set(part.toolCallId, tool);
    }
    return tools.get(part.toolCallId);
  };
  const endText = (id) => { if (texts.has(id)) linkify(texts.get(id)); texts.delete(id); };
  const endThought = (id) => {
    if (thoughts.has(id)) thoughts.get(id).box.firstChild.textContent = "Thoughts";
    thoughts.delete(id);
  };
  const kinds = {
    "text-start": (part) => { textOf(part.id); },
    "text-delta": (part) => { textOf(part.id).append(part.delta); },
    "text-end": (part) => { endText(part.id); },
    "reasoning-start": (part) => { thoughtOf(part.id); },
    "reasoning-delta": (part) => { thoughtOf(part.id).body.append(part.delta); },
    "reasoning-end": (part) => { endThought(part.id); },
    "tool-input-start": (part) => { toolOf(part); },
    "tool-input-delta": (part) => { toolOf(part).typed(part.inputTextDelta); },
    "tool-input-available": (part) => { toolOf(part).called(part.input); },
    "tool-input-error": (part) => { toolOf(part).failed(part.errorText); },
    "tool-output-available": (part) => { toolOf(part).answered(part.output, part.preliminary); },
    "tool-output-error": (part) => { toolOf(part).failed(part.errorText); },
    "tool-output-denied": (part) => { toolOf(part).failed("denied"); },
    "source-url": (part) => {
      add(make("div", "note")).append(safeLink(part.url, part.title) || part.url);
    },
    "data-error": (part) => { detail = part.data || {}; },
    "error": (part) => { add(errorBox(part.errorText, detail.code, detail.retryAfterMs)); },
    "abort": () => { note("Stopped."); },
    "finish": (part) => {
      if (part.finishReason === "length") note("The answer reached its longest length.");
    },
  };
  const note = (text) => { add(make("div", "note", text)); };
  const end = () => {
    article.classList.remove("waiting");
    [...texts.keys()].forEach(endText);
    [...thoughts.keys()].forEach(endThought);
    tools.forEach((tool) => tool.ended());
  };
  const show = (part) => {
    if (Object.hasOwn(kinds, part.type)) kinds[part.type](part);
    if (part.type !== "start" && part.type !== "start-step") article.classList.remove("waiting");
  };
  return { article, show, note, end, fail: (box) => add(box) };
}

// A message out of the store.
function storedView(message) {
  const parts = message.parts || [{ type: "text", text: message.content ?? message.text ?? "" }];
  if (message.role === "user") {
    const texts = parts.filter((part) => part.type === "text");
    return userView(texts.map((part) => part.text).join("\n"));
  }
  const view = answerView();
  parts.forEach((part, at) => {
    const id = String(at);
    if (part.type === "text" || part.type === "reasoning") {
      view.show({ type: `${part.type}-delta`, id, delta: part.text });
    } else if (part.toolCallId) {
      const toolName = part.toolName || part.type.replace(/^tool-/, "");
      const tool = { ...part, toolName };
      view.show({ ...tool, type: "tool-input-available" });
      if (part.errorText) view.show({ ...tool, type: "tool-output-error" });
      else if (part.output !== undefined) view.show({ ...tool, type: "tool-output-available" });
    } else {
      view.show(part);
    }
  });
  view.end();
  if (message.status === "cut") view.note("This answer was cut.");
  return view.article;
}

function userView(text) {
  const article = make("article", "message user"), body = make("div", "text", text);
  article.setAttribute("aria-label", "You");
  linkify(body);
  article.append(body);
  return article;
}
