// The live page: snapshots over a WebSocket, or asked for where there is none.
const POLL_MS = 3000;
const FIRST_PAUSE_MS = 1000;
const SILENCE_MS = 10000;
const TRIES = 3; // without one snapshot; then it is asked for
const POLLED_MS = 60000; // before a socket is tried again
const MISSED_SEC = 3; // a process that has just been started may not have reported yet
const FORGOTTEN_SEC = 60;
const DAY = 86400;

const page = document.querySelector(".gw-live");
const connection = page.querySelector("[data-connection]");
const words = JSON.parse(document.getElementById("live-words").textContent);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Texts are those that the server writes into the page when it is loaded.
const filled = (text, values) => text.replace(/%\((\w+)\)s/g, (_, name) => values[name]);
const grouped = (number) => number.toLocaleString("en-US");
const two = (number) => String(number).padStart(2, "0");
const ms = (count) => (count == null ? "–" : count < 1000 ? `${count} ms` : `${(count / 1000).toFixed(1)} s`);
const since = (moment, at) => (moment ? span(at - moment) : "");
const ends = (moment, at) => (!moment ? "" : moment > at ? filled(words.in, { time: span(moment - at) }) : words.over);

function size(bytes) {
  if (!bytes) return "";
  const power = Math.max(1, Math.min(4, Math.floor(Math.log2(bytes) / 10)));
  return `${(bytes / 1024 ** power).toFixed(1)}\u00a0${["KB", "MB", "GB", "TB"][power - 1]}`;
}

function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole >= 2 * DAY) return filled(words.days, { count: Math.floor(whole / DAY) });
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function held(each, at) {
  if (each.window) return filled(words.window, { name: each.window, time: span(each.window_until - at) });
  const seconds = Math.round(each.cool_until - at);
  if (seconds > 0) return filled(words.pauses[each.cools_for] || words.pauses[""], { seconds });
  return each.replacing ? words.replacing : "";
}

function phase(turn) {
  if (!turn.instance) return words.phases.place;
  return turn.first_token_ms == null ? words.phases.first : words.phases.writes;
}

// What a row is about, and its texts by the name of their field.
const LISTS = {
  modes: (each, at) => [each.name, {
    text: filled(words.mode, { part: words.parts[each.name] ?? each.name, time: span(at - each.since), why: words.whys[each.why] ?? each.why, still: words.still[each.name] }),
  }],
  processes: (each, at) => [each.name, {
    name: each.name, pid: each.pid ? filled(words.pid, { pid: each.pid }) : "", in_flight: each.in_flight, waiting: each.waiting, memory: size(each.memory),
    up: since(each.started_at, at), gone: each.reports ? "" : words.unreported,
  }],
  instances: (each, at) => [each.name, {
    name: each.name, state: words.states[each.state] || each.state, account: words.accounts[each.account] || each.account,
    load: `${each.in_flight} / ${each.limit}`, pause: held(each, at), version: each.version,
    up: since(each.started_at, at), memory: size(each.memory), disk: size(each.disk), restarts: each.restarts,
    login: ends(each.login_expires_at, at), last_error: words.errors[each.last_error] ?? each.last_error,
  }],
  turns: (each, at) => [each.id, {
    short: `…${each.id.slice(-8)}`, key: each.key_name, model: each.model, client: each.client, instance: each.instance,
    phase: phase(each), age: since(each.started_at, at), first: each.first_token_ms == null ? "" : ms(each.first_token_ms),
  }],
  queue: (each, at) => [each.key, { key: each.key_name, waiting: each.waiting, longest: since(each.since, at) }],
  logins: (each, at) => [each.id, {
    label: each.label, account: words.accounts[each.account] || each.account, ends: ends(each.expires_at, at),
    generation: each.generation, attempt: words.attempts[each.attempt] || "", problem: words.problems[each.problem] || "",
  }],
};

const FIGURES = {
  load: (view) => `${view.in_flight} / ${view.places}`,
  waiting: (view) => grouped(view.waiting),
  turns: (view) => (view.rates ? grouped(view.rates.turns) : "–"),
  failed: (view) => (view.rates ? grouped(view.rates.failed) : "–"),
  first: (view) => (view.rates ? ms(view.rates.first_token_ms) : "–"),
  tokens: (view) => (view.rates ? grouped(Math.round(view.rates.tokens / 60)) : "–"),
  backlog: (view) => grouped(view.backlog),
};

// Only what differs is written: a screen reader is told of nothing else.
function say(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

function make(list, id, each) {
  const row = document.getElementById(`live-${list.dataset.list}`).content.firstElementChild.cloneNode(true);
  row.dataset.row = id;
  const plain = encodeURIComponent(id), quoted = plain.replaceAll("_", "_5F");
  for (const element of row.querySelectorAll("[href], [formaction]")) {
    const name = element.hasAttribute("href") ? "href" : "formaction";
    const address = element.getAttribute(name).replace("__id__", plain).replace("__quoted__", quoted);
    element.setAttribute(name, address.replace("__key__", each.key));
  }
  return row;
}

function write(row, each, texts) {
  for (const [name, text] of Object.entries(texts)) say(row.querySelector(`[data-field="${name}"]`), String(text));
  const state = row.querySelector("[data-state]");
  if (state) state.dataset.state = each.state;
  delete row.dataset.missedSince;
}

// Of a process that has ended nothing comes any more; its rows say so for a while.
function miss(list, row, at) {
  const missed = Number((row.dataset.missedSince ||= at));
  if (!("lasts" in list.dataset) || at - missed > FORGOTTEN_SEC) return row.remove();
  if (at - missed < MISSED_SEC) return;
  say(row.querySelector('[data-field="gone"]'), words.silent);
  const state = row.querySelector("[data-state]");
  if (state) {
    say(state, words.states.gone);
    state.dataset.state = "gone";
  }
}

function showList(list, rows, at) {
  const shown = rows.map((each) => LISTS[list.dataset.list](each, at));
  const ids = new Set(shown.map(([id]) => String(id)));
  const there = new Map([...list.children].map((row) => [row.dataset.row, row]));
  for (const [id, row] of there) if (!ids.has(id)) miss(list, row, at);
  let next = list.firstElementChild;
  shown.forEach(([id, texts], index) => {
    while (next && !ids.has(next.dataset.row)) next = next.nextElementSibling;
    const row = there.get(String(id)) || make(list, id, rows[index]);
    // Moved only if it has to be: what has the focus would lose it.
    if (row === next) next = next.nextElementSibling;
    else list.insertBefore(row, next);
    write(row, rows[index], texts);
  });
  const empty = page.querySelector(`[data-empty="${list.dataset.list}"]`);
  if (empty) empty.hidden = list.children.length > 0;
}

function show(view) {
  for (const [name, figure] of Object.entries(FIGURES)) say(page.querySelector(`[data-figure="${name}"]`), figure(view));
  for (const list of page.querySelectorAll("[data-list]")) showList(list, view[list.dataset.list], view.at);
  page.querySelector("[data-held]").hidden = !view.held;
  const more = page.querySelector("[data-more]");
  const surplus = view.in_flight + view.waiting - view.turns.length;
  if (more) more.hidden = surplus <= 0 || view.turns.length < Number(more.dataset.more);
}

// Resolves when the socket has ended: true if it may be tried again.
function watch() {
  return new Promise((resolve) => {
    const address = new URL(page.dataset.socket, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    let came = false;
    let silence = setTimeout(() => socket.close(), SILENCE_MS);
    socket.onmessage = (message) => {
      clearTimeout(silence);
      silence = setTimeout(() => socket.close(), SILENCE_MS);
      came = true;
      say(connection, connection.dataset.live);
      show(JSON.parse(message.data));
    };
    socket.onclose = (event) => {
      clearTimeout(silence);
      if (event.code === 4401) location.reload(); // the log-in page
      resolve(came);
    };
  });
}

async function poll() {
  const until = Date.now() + POLLED_MS;
  while (Date.now() < until) {
    await pause(POLL_MS);
    if (document.hidden) continue;
    try {
      const answer = await fetch(page.dataset.now, { signal: AbortSignal.timeout(SILENCE_MS) });
      if (answer.redirected || answer.status === 403) return location.reload();
      if (!answer.ok) throw new Error();
      show(await answer.json());
      say(connection, connection.dataset.polled);
    } catch {
      say(connection, connection.dataset.lost);
    }
  }
}

async function follow() {
  for (let failures = 0; ; ) {
    failures = (await watch()) ? 0 : failures + 1;
    if (failures >= TRIES) {
      await poll();
      continue;
    }
    say(connection, connection.dataset.lost);
    await pause(FIRST_PAUSE_MS * 2 ** failures);
  }
}

// Without this script the same button leads to the page that asks.
page.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  const name = button.closest("[data-row]").dataset.row;
  if (!confirm(`${name}: ${button.textContent.trim()}\n${button.dataset.effect}`)) return;
  const body = new FormData(event.target);
  body.set("confirmed", "yes");
  const said = page.querySelector("[data-said]");
  say(said, "");
  try {
    const headers = { "X-Requested-With": "fetch" };
    const answer = await fetch(button.formAction, { method: "POST", body, headers, signal: AbortSignal.timeout(SILENCE_MS) });
    const plain = answer.headers.get("content-type")?.startsWith("text/plain");
    say(said, plain ? await answer.text() : `${name}: ${connection.dataset.refused}`);
  } catch {
    say(said, connection.dataset.lost);
  }
});

follow();
