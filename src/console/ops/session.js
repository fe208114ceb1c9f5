// The operator's token, kept by this tab alone, and requests that carry it.

const PLACE = "sendcat.ops.token";
// What one request may take.
const PATIENCE_MS = 10_000;

export const token = () => sessionStorage.getItem(PLACE) || "";
export const signIn = (value) => sessionStorage.setItem(PLACE, value);
export const signOut = () => sessionStorage.removeItem(PLACE);

export const authorization = () => ({ authorization: `Bearer ${token()}` });

// A refusal as an error whose message is a sentence.
export async function refusal(response) {
  const said = (await response.text().catch(() => "")).trim();
  const readable = said && said.length < 500 && !said.startsWith("<");
  const code = response.headers.get("x-sendcat-error-code") || "";
  const text = readable ? said : "The server refused the request.";
  const retryAfterMs = (Number(response.headers.get("retry-after")) || 0) * 1000;
  return Object.assign(new Error(`${text} (HTTP ${response.status}${code && `, ${code}`})`),
    { status: response.status, retryAfterMs });
}

// Sends a request; the JSON that it answers, or null where it answers none.
export async function call(method, path, body) {
  const headers = authorization();
  if (body !== undefined) headers["content-type"] = "application/json";
  const response = await fetch(path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (!response.ok) throw await refusal(response);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export function sentence(error) {
  if (error.name === "TimeoutError") return "The server gave no answer in time.";
  if (error instanceof TypeError) return "The server cannot be reached.";
  return error.message;
}
