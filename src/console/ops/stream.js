// The stream of snapshots, read by fetch: an EventSource can send no token but in its address.

import { authorization, refusal } from "./session.js";

// Waits between attempts, in milliseconds; the last is for all later ones.
const WAITS = [500, 1000, 2000, 5000, 10_000];

// Server-sent events from text in pieces that are cut anywhere.
export function reader(onEvent) {
  let buffer = "", name = "", data = [];
  const line = (text) => {
    if (text === "") {
      if (data.length) onEvent(name || "message", data.join("\n"));
      [name, data] = ["", []];
    } else if (text.startsWith("event:")) {
      name = text.slice(6).trim();
    } else if (text.startsWith("data:")) {
      data.push(text.slice(text[5] === " " ? 6 : 5));
    } // An id is for those who take a stream up; a comment is for nobody.
  };
  return (text) => {
    buffer += text;
    for (let end; (end = buffer.indexOf("\n")) >= 0; ) {
      line(buffer.slice(0, end).replace(/\r$/, ""));
      buffer = buffer.slice(end + 1);
    }
  };
}

// Follows the stream until it is told to stop, again and again. `on` hears of it: `access(what)`,
// `snapshot(sections)`, `end(reason)`, `lost(error, waitMs)`, and `refused(error)` after which it
// gives up.
export function follow(on) {
  const control = new AbortController();
  let failures = 0;
  const kinds = {
    access: (data) => on.access(data.access),
    snapshot: (data) => { failures = 0; on.snapshot(data, true); },
    delta: (data) => on.snapshot(data, false),
    end: (data) => on.end(data.reason),
  };
  const once = async () => {
    const headers = { ...authorization(), accept: "text/event-stream" };
    const response = await fetch("/ops/stream", { headers, signal: control.signal });
    if (!response.ok) throw await refusal(response);
    const feed = reader((name, data) => {
      if (Object.hasOwn(kinds, name)) kinds[name](JSON.parse(data));
    });
    const pieces = response.body.getReader(), decoder = new TextDecoder();
    for (let piece; !(piece = await pieces.read()).done; ) {
      feed(decoder.decode(piece.value, { stream: true }));
    }
    throw new Error("The stream has ended.");
  };
  const again = async () => {
    while (!control.signal.aborted) {
      try {
        await once();
      } catch (error) {
        if (control.signal.aborted) return;
        if (error.status === 401 || error.status === 404) return on.refused(error);
        const wait = Math.max(WAITS[Math.min(failures, WAITS.length - 1)], error.retryAfterMs || 0);
        failures += 1;
        on.lost(error, wait);
        // Not all consoles at once.
        await new Promise((done) => setTimeout(done, wait * (0.8 + Math.random() * 0.4)));
      }
    }
  };
  again();
  return () => control.abort();
}
