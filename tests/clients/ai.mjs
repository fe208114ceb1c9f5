// One case with one release of the AI SDK, as a front end uses it: `ai.mjs RELEASE CASE PROMPT`.
// Prints what the SDK made of the server's answers, as one line of JSON. Its thread is named as the
// release is.
//
// The chat is the SDK's own without a user interface: its state is what `@ai-sdk/react` keeps.

const { SENDCAT_URL: url, SENDCAT_TOKEN: token } = process.env;
const [release, name, prompt] = process.argv.slice(2);
const { AbstractChat, DefaultChatTransport, readUIMessageStream } = await import(release);

const authorization = `Bearer ${token}`;

class State {
  status = "ready";
  error = undefined;
  constructor(messages, onChange) {
    this.messages = messages;
    this.onChange = onChange;
  }
  pushMessage = (message) => { this.#set([...this.messages, message]); };
  popMessage = () => { this.#set(this.messages.slice(0, -1)); };
  replaceMessage = (at, message) => { this.#set(this.messages.with(at, this.snapshot(message))); };
  snapshot = (value) => structuredClone(value);
  #set(messages) {
    this.messages = messages;
    this.onChange(this.messages);
  }
}

class Chat extends AbstractChat {
  constructor({ messages = [], onChange = () => {}, ...rest }) {
    super({ ...rest, state: new State(messages, onChange) });
  }
}

function transport(more = {}) {
  return new DefaultChatTransport({ api: `${url}/api/chat`, headers: { authorization, ...more } });
}

// A chat, and what its callbacks were told.
function begin({ headers, ...rest } = {}) {
  const told = { finished: [], data: [] };
  let number = 0;
  const chat = new Chat({
    id: release,
    transport: transport(headers),
    generateId: () => `mine-${++number}`,
    onData: (part) => { told.data.push(part); },
    onFinish: ({ message, messages, ...how }) => { told.finished.push(how); },
    ...rest,
  });
  return { chat, told };
}

function outcome(chat, told) {
  const { name, message, statusCode = null } = chat.error ?? {};
  const error = chat.error ? { name, message, statusCode } : null;
  return { status: chat.status, error, messages: chat.messages, ...told };
}

// Resolves once the chat shows as many letters of an answer.
function shown(letters) {
  let resolve;
  const came = new Promise((it) => { resolve = it; });
  const onChange = (messages) => {
    const last = messages.at(-1);
    const text = last.parts.findLast((part) => part.type === "text")?.text ?? "";
    if (last.role === "assistant" && text.length >= letters) resolve();
  };
  return { onChange, came };
}

async function stored() {
  const path = `${url}/api/threads/${release}/messages`;
  const response = await fetch(path, { headers: { authorization } });
  return (await response.json()).items.map(({ id, role, parts }) => ({ id, role, parts }));
}

const cases = {
  // A question and its answer.
  async ask() {
    const { chat, told } = begin();
    await chat.sendMessage({ text: prompt });
    return outcome(chat, told);
  },

  // A stopped answer, and another question in the same chat: all of it goes along.
  async again() {
    const { onChange, came } = shown(4);
    const { chat, told } = begin({ onChange });
    const asked = chat.sendMessage({ text: prompt });
    await came;
    await chat.stop();
    await asked;
    await chat.sendMessage({ text: "search history" });
    await chat.sendMessage({ text: "chunks 2" });
    return outcome(chat, told);
  },

  // The last answer once more.
  async regenerate() {
    const { chat, told } = begin();
    await chat.sendMessage({ text: prompt });
    const before = chat.lastMessage.id;
    await chat.regenerate();
    return { before, ...outcome(chat, told) };
  },

  // What a tool's part looked like from its start to its end, through the stream alone.
  async snapshots() {
    const message = { id: "mine", role: "user", parts: [{ type: "text", text: prompt }] };
    const how = { chatId: release, messages: [message], trigger: "submit-message" };
    const stream = await transport().sendMessages({ ...how, messageId: undefined });
    const seen = [];
    for await (const { parts } of readUIMessageStream({ stream })) {
      const tool = JSON.stringify(parts.find((part) => "toolCallId" in part) ?? null);
      if (seen.at(-1) !== tool) seen.push(tool);
    }
    return seen.map((tool) => JSON.parse(tool));
  },

  // The reader stops, on his side alone.
  async abort() {
    const { onChange, came } = shown(4);
    const { chat, told } = begin({ onChange });
    const asked = chat.sendMessage({ text: prompt });
    await came;
    await chat.stop();
    await asked;
    return outcome(chat, told);
  },

  // The server is asked to stop, by another request.
  async stop() {
    const { onChange, came } = shown(4);
    const { chat, told } = begin({ onChange });
    const asked = chat.sendMessage({ text: prompt });
    await came;
    const stop = { method: "POST", headers: { authorization } };
    const { status } = await fetch(`${url}/api/chat/${release}/stop`, stop);
    await asked;
    return { stopAnswered: status, ...outcome(chat, told) };
  },

  // The page is loaded again in the middle of an answer, takes it up, and again when it is over.
  async resume() {
    const finish = { "x-sendcat-on-disconnect": "finish" };
    const { onChange, came } = shown(4);
    const before = begin({ onChange, headers: finish }).chat;
    const asked = before.sendMessage({ text: prompt });
    await came;
    await before.stop();
    await asked;
    const after = begin({ messages: await stored() });
    const found = structuredClone(after.chat.messages);
    await after.chat.resumeStream();
    const resumed = outcome(after.chat, after.told);
    const later = begin({ messages: await stored() });
    await later.chat.resumeStream();
    return { found, resumed, later: outcome(later.chat, later.told) };
  },
};

process.stdout.write(`${JSON.stringify(await cases[name]())}\n`);
