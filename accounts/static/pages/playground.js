// The playground: sends a request to /v1 as any client does, and shows what comes, as text and byte for byte.
// Whatever comes is put into the page as text. The key stays in memory: in no address, no storage, no field's name.
const MOST = { answer: 200_000, frames: 1_000, frame: 20_000, folded: 300, calls: 100, body: 4_000_000 };
const TOOL = { name: "get_weather", description: "The weather in a city." };
const INPUT = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const ALONE = { credentials: "omit", cache: "no-store" }; // as a client without a session
const at = (id) => document.getElementById(id), play = at("play"), texts = JSON.parse(play.dataset.texts);
const say = (name, values = {}) => texts[name].replace(/\{(\w+)\}/g, (whole, field) => values[field] ?? whole);
const more = (length, most) => (length > most ? `\n${say("cut", { count: length - most })}` : "");
const cut = (text, most) => text.slice(0, most) + more(text.length, most);
const put = (id, text) => { at(id).textContent = text; };
const element = (tag, given = {}) => Object.assign(document.createElement(tag), given);
const lines_of = (headers) => [...headers].map((pair) => pair.join(": "));
let made = "", running = null;
const frame_of = (lines) => ({
  raw: lines.join("\n"), data: lines.flatMap((line) => /^data(?:: ?(.*))?$/s.exec(line)?.slice(1) ?? []).join("\n"),
});
// Server-sent events out of text that is cut anywhere: any line ends, comments, data of several lines.
class EventParser {
  rest = ""; lines = [];
  feed(text) {
    // A CR at the end may be half of a CRLF, so it waits for what follows.
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/), frames = [];
    this.rest = lines.pop();
    for (const line of lines) {
      if (line !== "") this.lines.push(line);
      else if (this.lines.length) frames.push(frame_of(this.lines.splice(0)));
    }
    return frames;
  }
}

// How each protocol asks, and what a part of its answer says: an event of a stream, or a whole body.
const bearer = (key) => ({ authorization: `Bearer ${key}` });
const PROTOCOLS = {
  chat: {
    path: "/v1/chat/completions", headers: bearer,
    body: ({ system, message, most, thinking, tools, ...ask }) => ({
      ...ask, max_tokens: most, reasoning_effort: { on: "high", off: "none" }[thinking],
      messages: [...(system ? [{ role: "system", content: system }] : []), { role: "user", content: message }],
      tools: tools ? [{ type: "function", function: { ...TOOL, parameters: INPUT } }] : undefined,
      stream_options: ask.stream ? { include_usage: true } : undefined,
    }),
    read(part, turn) {
      for (const { delta, message, finish_reason } of part.choices ?? []) {
        const said = delta ?? message ?? {};
        turn.add(said.reasoning_content, said.content, finish_reason);
        said.tool_calls?.forEach((call, i) => turn.call(call.index ?? i, call.function.name, call.function.arguments));
      }
      turn.count(part.usage?.prompt_tokens, part.usage?.completion_tokens);
    },
  },
  responses: {
    path: "/v1/responses", headers: bearer,
    body: ({ system, message, most, thinking, tools, ...ask }) => ({
      ...ask, instructions: system || undefined, input: message, max_output_tokens: most,
      reasoning: { on: { effort: "high", summary: "auto" }, off: { effort: "none" } }[thinking],
      tools: tools ? [{ type: "function", ...TOOL, parameters: INPUT }] : undefined,
    }),
    read(part, turn) {
      const type = part.type ?? "", whole = part.object === "response", reply = whole ? part : part.response ?? {};
      const items = whole ? part.output : /item\.added$/.test(type) ? [{ ...part.item, arguments: "" }] : [];
      items.forEach((item, i) => {
        if (item.type === "function_call") turn.call(part.output_index ?? i, item.name, item.arguments);
        item.summary?.forEach((block) => turn.add(block.text));
        if (item.type === "message") item.content.forEach((block) => turn.add("", block.text));
      });
      turn.add(/reasoning\w*\.delta$/.test(type) && part.delta, /output_text\.delta$/.test(type) && part.delta);
      if (/arguments\.delta$/.test(type)) turn.call(part.output_index, "", part.delta);
      turn.count(reply.usage?.input_tokens, reply.usage?.output_tokens);
      if (type === "error" || reply.error) turn.fail(reply.error ?? part);
      else if (/complete/.test(reply.status)) turn.add("", "", reply.incomplete_details?.reason ?? reply.status);
    },
  },
  messages: {
    path: "/v1/messages", headers: (key) => ({ "x-api-key": key, "anthropic-version": "2023-06-01" }),
    body: ({ system, message, most = 4096, thinking, tools, ...ask }) => ({
      ...ask, system: system || undefined, messages: [{ role: "user", content: message }], max_tokens: most,
      thinking: { on: { type: "enabled", budget_tokens: 1024 }, off: { type: "disabled" } }[thinking],
      tools: tools ? [{ ...TOOL, input_schema: INPUT }] : undefined,
    }),
    read(part, turn) {
      const usage = part.usage ?? part.message?.usage, whole = part.type === "message";
      (whole ? part.content : [{ ...part.content_block, input: null }, { ...part.delta }]).forEach((block, i) => {
        const json = block.input ? JSON.stringify(block.input) : block.partial_json;
        turn.add(block.thinking, block.text, block.stop_reason);
        if (block.type === "tool_use" || json) turn.call(part.index ?? i, block.name, json);
      });
      turn.add("", "", whole && part.stop_reason);
      turn.count(usage?.input_tokens, usage?.output_tokens);
    },
  },
};

// One request and what comes of it, on the page.
class Turn {
  started = performance.now(); first = null; over = false; frames = 0; tokens = ["–", "–"];
  calls = new Map(); lengths = { answer: 0, thought: 0 };
  constructor() {
    for (const each of document.querySelectorAll("[data-fresh]")) each.textContent = "";
    at("explain").removeAttribute("href");
    at("answer").setAttribute("aria-busy", "true");
    put("state", say("sent"));
    const waiting = () => (this.first === null ? say("waiting", { sec: (this.ms() / 1000).toFixed(1) }) : "");
    this.timer = setInterval(() => put("waiting", waiting()), 100);
  }
  ms() { return Math.round(performance.now() - this.started); }
  came() { // the first token, of any kind
    if (this.first !== null) return;
    this.first = this.ms();
    put("state", say("answering"));
  }
  add(thought, answer, reason) {
    for (const [id, text] of Object.entries({ thought, answer }).filter((pair) => pair[1])) {
      const shown = text.slice(0, Math.max(0, MOST.answer - this.lengths[id]));
      this.came();
      this.lengths[id] += text.length;
      (at(id).firstChild ?? at(id).appendChild(new Text())).appendData(shown);
    }
    if (reason) put("reason", reason);
    this.over ||= Boolean(reason);
  }
  call(number, name, text = "") {
    if (this.calls.size > MOST.calls && !this.calls.has(number)) return;
    this.came();
    const call = this.calls.get(number) ?? { name, text: "", item: at("calls").appendChild(element("li")) };
    this.calls.set(number, call);
    call.text += text;
    call.item.textContent = cut(`${call.name}(${call.text})`, MOST.frame);
  }
  count(...numbers) { this.tokens = this.tokens.map((known, i) => numbers[i] ?? known); }
  fail({ message = "", code, type }) {
    this.over = true;
    const status = this.response?.ok === false ? this.response.status : 0, kind = code ?? type;
    const refused = status && `${status}: ${texts[status] ?? texts[status < 500 ? "4xx" : "5xx"]}`;
    const sec = status && this.response.headers.get("retry-after"), again = sec && say("again", { sec });
    put("error", cut([refused, message, kind && `(${kind})`, again].filter(Boolean).join(" "), MOST.frame));
  }
  frame(raw) {
    put("count", ++this.frames);
    if (this.frames > MOST.frames) return put("more", say("more_frames", { count: this.frames - MOST.frames }));
    const item = at("frames").appendChild(element("li")), whole = element("pre", { textContent: cut(raw, MOST.frame) });
    item.append(element("span", { textContent: `+${this.ms()} ms`, className: "at" }), whole);
    if (raw.length <= MOST.folded) return;
    const textContent = `${raw.slice(0, 100)}… ${say("characters", { count: raw.length })}`;
    item.appendChild(element("details")).append(element("summary", { textContent }), whole);
  }
  read(protocol, text) {
    let part = { error: { message: `${say("no_json")} ${text.slice(0, 500)}` } };
    try { part = JSON.parse(text) ?? part; } catch { /* which is said */ }
    if (part.error?.message && part.object !== "response") this.fail(part.error);
    else protocol.read(part, this);
  }
  close(stopped) {
    clearInterval(this.timer);
    for (const [id, length] of Object.entries(this.lengths)) at(id).append(more(length, MOST.answer));
    const told = (this.streamed ? null : this.response?.headers.get("x-lingma-first-token-ms")) ?? this.first;
    const first = told === null ? "–" : `${told} ms`, reason = at("reason").textContent || "–";
    const figures = { first, total: `${this.ms()} ms`, tokens: this.tokens.join(" / "), reason, waiting: "" };
    for (const [id, text] of Object.entries(figures)) put(id, text);
    at("answer").setAttribute("aria-busy", "false");
    put("state", say(stopped ? "stopped" : at("error").textContent === "" ? "done" : "failed", { ms: this.ms() }));
  }
}
function asked() {
  const { protocol, temperature, most, tools, stream, ...words } = Object.fromEntries(new FormData(at("ask")));
  const number = (text) => (text ? Number(text) : undefined); // what is undefined is left out of JSON
  const ask = { ...words, temperature: number(temperature), most: number(most), tools, stream: Boolean(stream) };
  return { protocol: PROTOCOLS[protocol], body: JSON.stringify(PROTOCOLS[protocol].body(ask)) };
}
const key_of = () => at("key").value.trim() || made, is_key = (key) => /^[\x21-\x7e]+$/.test(key);
const headers_of = (protocol, key) => ({ ...protocol.headers(key), "content-type": "application/json" });
function show_curl() {
  const { protocol, body } = asked(), quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const headers = lines_of(Object.entries(headers_of(protocol, play.dataset.placeholder)));
  const options = [...headers.map((line) => `-H ${quoted(line)}`), `-d ${quoted(body)}`];
  put("curl", [`curl -N ${quoted(location.origin + protocol.path)}`, ...options].join(" \\\n  "));
}
async function receive(response, protocol, turn) {
  const id = response.headers.get("x-request-id"), type = response.headers.get("content-type") ?? "";
  const streamed = type.startsWith("text/event-stream");
  Object.assign(turn, { response, streamed });
  put("head", [`${response.status} ${response.statusText}`, ...lines_of(response.headers)].join("\n"));
  if (id) at("explain").href = play.dataset.explain + encodeURIComponent(id);
  const reader = response.body.getReader(), decoder = new TextDecoder(), parser = new EventParser();
  for (let whole = "", ended = false; !ended;) {
    const { value, done } = await reader.read(), text = decoder.decode(value, { stream: !done });
    if (!streamed) whole += text;
    for (const frame of streamed ? parser.feed(text) : []) {
      turn.frame(frame.raw);
      if (frame.data && frame.data !== "[DONE]") turn.read(protocol, frame.data);
    }
    const rest = whole || [...parser.lines, parser.rest].join("\n").trim(); // half a frame is shown, and does not count
    ended = done || rest.length > MOST.body;
    if (ended && rest) turn.frame(rest);
    if (ended && !streamed) turn.read(protocol, rest);
  }
  if (!turn.over) turn.fail({ message: say("broken") });
}
async function send() {
  const { protocol, body } = asked(), key = key_of();
  if (!is_key(key)) {
    put("key-state", say(key ? "odd_key" : "no_key"));
    return at("key").focus();
  }
  const turn = new Turn(), { signal } = (running = new AbortController()), headers = headers_of(protocol, key);
  const masked = lines_of(Object.entries(headers_of(protocol, `${key.slice(0, Math.min(8, key.length / 2))}…`)));
  put("request", [`POST ${protocol.path}`, ...masked, "", cut(body, MOST.frame)].join("\n"));
  [at("send").disabled, at("stop").disabled] = [true, false];
  at("stop").focus();
  if (at("answer").getBoundingClientRect().top > innerHeight - 80) at("send").scrollIntoView();
  try {
    await receive(await fetch(protocol.path, { ...ALONE, method: "POST", headers, body, signal }), protocol, turn);
  } catch (error) {
    if (!signal.aborted) turn.fail({ message: say("away"), code: error.message });
  }
  turn.close(signal.aborted);
  running.abort(); // whatever of it is unread
  at("send").disabled = false;
  if ([at("stop"), document.body].includes(document.activeElement)) at("send").focus();
  at("stop").disabled = true;
}
async function list_models(key, before = "") {
  const response = await fetch("/v1/models", { ...ALONE, headers: bearer(key) });
  const body = await response.json(), ids = (body.data ?? []).map((model) => model.id);
  if (key !== key_of()) return;
  at("models").replaceChildren(...ids.map((value) => element("option", { value })));
  const words = response.ok ? say("models", { count: ids.length }) : `${response.status}: ${body.error?.message ?? ""}`;
  put("key-state", `${before} ${words}`.trim());
}
async function own_key(address) {
  const answer = await fetch(address, { method: "POST", body: new FormData(at("own")), redirect: "manual" });
  const said = await answer.json().catch(() => ({ error: say(answer.status < 500 ? "log_in" : "5xx") }));
  if (said.error) return put("key-state", said.error);
  made = said.secret ?? "";
  at("key").value = "";
  at("end").hidden = !made;
  put("key-state", made ? say("key", said) : say("ended"));
  return made && list_models(made, say("key", said));
}
const doing = (task) => task.catch(() => put("key-state", say("away")));
at("own").addEventListener("submit", (event) => {
  event.preventDefault(); // Enter in the field of a pasted key asks for no other one
  if (document.activeElement !== at("key")) doing(own_key(at("own").action));
});
at("end")?.addEventListener("click", () => doing(own_key(at("own").dataset.end)));
at("key").addEventListener("change", () => is_key(key_of()) && doing(list_models(key_of())));
at("ask").addEventListener("submit", (event) => { event.preventDefault(); if (!at("send").disabled) send(); });
at("ask").addEventListener("input", show_curl);
at("stop").addEventListener("click", () => running?.abort());
addEventListener("pagehide", () => { running?.abort(); made = at("key").value = ""; });
show_curl();
play.hidden = false;
