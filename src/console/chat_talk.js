// --- Talking to the server ---

let token = "", thread = "", running = null;

// How long the server may take to end an answer before its reader leaves it alone.
const STOP_MS = 3000;

async function bearer() {
  token ||= document.querySelector("meta[name=sendcat-token]").content;
  token ||= sessionStorage.getItem("sendcat.token") || "";
  if (!token) {
    const response = await fetch("/api/sessions/anonymous", { method: "POST" });
    if (!response.ok) throw await refusal(response);
    token = (await response.json()).token;
    sessionStorage.setItem("sendcat.token", token);
  }
  return `Bearer ${token}`;
}

// An HTTP refusal as a sentence that a person can act on.
async function refusal(response) {
  const code = response.headers.get("x-sendcat-error-code") || "";
  const after = Number(response.headers.get("retry-after")) || 0;
  const said = (await response.text().catch(() => "")).trim();
  const readable = said && said.length < 500 && !said.startsWith("<");
  const plain = readable ? said : "The server refused the request.";
  const text = `${plain.replace(/[^.!?]$/, "$&.")} (HTTP ${response.status})`;
  if (response.status === 401) {
    token = "";
    sessionStorage.removeItem("sendcat.token");
  }
  const box = errorBox(text, code, after * 1000);
  return Object.assign(new Error(text), { refusedWith: response.status, box });
}

async function call(method, path, body, { signal, ...more } = {}) {
  const headers = { authorization: await bearer(), ...more };
  if (body !== undefined) headers["content-type"] = "application/json";
  return fetch(path, { method, headers, signal, body: JSON.stringify(body) });
}

function failureBox(error) {
  if (error.box) return error.box;
  if (error instanceof TypeError) return errorBox("The connection to the server was lost.");
  return errorBox(`The answer could not be read: ${error.message}`);
}

// Shows an answer from its first part to its last; says whether there was one.
async function follow(open, { resumed = false, onRefused } = {}) {
  const control = new AbortController(), view = answerView();
  const mine = { control, thread, stopped: false };
  running = mine;
  busy(true);
  try {
    const response = await open(control.signal);
    if (response.status === 204 || (resumed && response.status === 404)) return false;
    if (!response.ok) throw await refusal(response);
    if (running === mine) append(view.article);
    const done = await readParts(response, (part) => { keepAtEnd(() => view.show(part)); });
    if (!done) throw Object.assign(new Error(), { box: errorBox("The answer ended early.") });
  } catch (error) {
    if (!view.article.isConnected && running === mine) append(view.article);
    const stopped = control.signal.aborted || mine.stopped;
    keepAtEnd(() => { stopped ? view.note("Stopped.") : view.fail(failureBox(error)); });
    if (error.refusedWith >= 400 && error.refusedWith < 500 && onRefused) onRefused();
  } finally {
    keepAtEnd(() => view.end());
    if (running === mine) { running = null; busy(false); }
  }
  return true;
}

async function send(text) {
  const message = { id: randomId(), role: "user", parts: [{ type: "text", text }] };
  const id = thread, mine = append(userView(text));
  const open = (signal) => {
    // The dots show that something is under way also before the first byte.
    append(dots);
    const body = { id, message, trigger: "submit-message" };
    // Whoever loads the page again takes the answer up; it ends early by the stop button alone.
    const how = { signal, "x-sendcat-on-disconnect": "finish" };
    return call("POST", "/api/chat", body, how).finally(() => dots.remove());
  };
  // What was refused for its form or its number was not stored: it goes back to the writer.
  const onRefused = () => {
    mine.remove();
    $("prompt").value ||= text;
    fit();
  };
  await follow(open, { onRefused });
}

// An answer does not end with its reader, so the server is told; it then ends the stream itself.
async function stop() {
  if (!running) return;
  const mine = running, how = { signal: AbortSignal.timeout(STOP_MS) };
  mine.stopped = true;
  $("stop").disabled = true;
  const told = await call("POST", `/api/chat/${mine.thread}/stop`, {}, how).catch(() => null);
  if (!told?.ok) mine.control.abort();
}

// --- One conversation ---

const dots = make("div", "message waiting");
dots.setAttribute("aria-hidden", "true");

function randomId() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(12))];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function open(id) {
  if (running) running.control.abort();
  running = null;
  busy(false);
  thread = id;
  sessionStorage.setItem("sendcat.thread", id);
  history.replaceState(null, "", `#${id}`);
  $("thread").textContent = id;
  $("log").replaceChildren();
  $("hello").hidden = false;
  $("prompt").focus();
}

// The stored messages of a thread, oldest first.
async function stored(id) {
  const items = [];
  for (let cursor = ""; cursor !== null && items.length < 1000; ) {
    const more = cursor && `&cursor=${encodeURIComponent(cursor)}`;
    const response = await call("GET", `/api/threads/${id}/messages?limit=100${more}`);
    if (thread !== id || response.status === 404) break;
    if (!response.ok) throw await refusal(response);
    const page = await response.json();
    items.push(...page.items);
    cursor = page.nextCursor ?? null;
  }
  if (items.length > 1 && items[0].createdAt > items.at(-1).createdAt) items.reverse();
  return items;
}

async function load(id) {
  open(id);
  try {
    const items = await stored(id);
    if (thread !== id || running) return;
    items.forEach((item) => append(storedView(item)));
    const resume = (signal) => call("GET", `/api/chat/${id}/stream`, undefined, { signal });
    const runs = await follow(resume, { resumed: true });
    if (runs || items.at(-1)?.role !== "user") return;
    // The answer may have been stored between the two requests.
    const later = (await stored(id)).slice(items.length);
    if (thread === id && !running) later.forEach((item) => append(storedView(item)));
  } catch (error) {
    append(failureBox(error));
  }
}

function append(node) {
  $("hello").hidden = true;
  $("log").append(node);
  $("scroll").scrollTop = $("scroll").scrollHeight;
  return node;
}

// Follows the end of the log only while the reader is there.
function keepAtEnd(change) {
  const box = $("scroll");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
  change();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function busy(yes) {
  $("send").hidden = yes;
  $("stop").hidden = !yes;
  $("stop").disabled = false;
  $("log").setAttribute("aria-busy", String(yes));
  $("status").textContent = yes ? "Answering" : "";
}

// As high as its text; what it takes from the log is not the log's end.
function fit() {
  keepAtEnd(() => {
    $("prompt").style.height = "auto";
    $("prompt").style.height = `${$("prompt").scrollHeight + 2}px`;
  });
}

function submit() {
  const text = $("prompt").value.trim();
  if (!text || running) return;
  $("prompt").value = "";
  fit();
  send(text);
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
$("prompt").addEventListener("input", fit);
$("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") stop(); });
$("stop").addEventListener("click", stop);
$("new").addEventListener("click", () => open(randomId()));
for (const hint of HINTS) {
  const button = make("button", "", hint);
  button.type = "button";
  button.addEventListener("click", () => { if (!running) send(hint); });
  $("hints").append(button, " ");
}

const inHash = () => (/^#([A-Za-z0-9_-]{1,128})$/.exec(location.hash) || [])[1];
window.addEventListener("hashchange", () => {
  const id = inHash();
  if (id && id !== thread) load(id);
});
const known = inHash() || sessionStorage.getItem("sendcat.thread");
if (known) load(known); else open(randomId());
