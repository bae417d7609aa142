// The live page: snapshots over a WebSocket, or asked for where there is none.
const POLL_MS = 3000;
const FIRST_PAUSE_MS = 1000;
const SILENCE_MS = 10000;
const TRIES = 3; // without one snapshot; then it is asked for
const POLLED_MS = 60000; // before a socket is tried again

const page = document.querySelector(".gw-live");
const connection = page.querySelector("[data-connection]");
const words = (id) => JSON.parse(document.getElementById(id).textContent);
const states = words("live-states");
const accounts = words("live-accounts");

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Only what differs is written: a screen reader is told of nothing else.
function say(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

function show(view) {
  const names = view.instances.map((each) => each.name).join();
  const shown = [...page.querySelectorAll("[data-instance]")].map((each) => each.dataset.instance).join();
  // Rows have forms and translated texts, which the server makes.
  if (names !== shown) return location.reload();
  for (const each of view.processes) {
    const row = page.querySelector(`[data-process="${each.process}"]`);
    say(row?.querySelector('[data-field="in_flight"]'), String(each.in_flight));
    say(row?.querySelector('[data-field="waiting"]'), String(each.waiting));
  }
  for (const each of view.instances) {
    const row = page.querySelector(`[data-instance="${CSS.escape(each.name)}"]`);
    const field = (name) => row.querySelector(`[data-field="${name}"]`);
    say(field("state"), states[each.state] || each.state);
    field("state").dataset.state = each.state;
    say(field("account"), accounts[each.account] || each.account);
    say(field("load"), `${each.in_flight} / ${each.limit}`);
    const seconds = Math.max(0, Math.round(each.cool_until - view.at));
    say(field("pause"), seconds ? page.dataset.pause.replace("{}", seconds) : "");
    say(field("restarts"), String(each.restarts));
    say(field("last_error"), each.last_error);
  }
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
  const name = button.closest("[data-instance]").dataset.instance;
  if (!confirm(`${name}: ${button.textContent.trim()}\n${button.dataset.effect}`)) return;
  const body = new FormData(event.target);
  body.set("confirmed", "yes");
  const said = page.querySelector("[data-said]");
  say(said, "");
  try {
    const answer = await fetch(button.formAction, { method: "POST", body, signal: AbortSignal.timeout(SILENCE_MS) });
    say(said, `${name}: ${answer.ok ? connection.dataset.ordered : connection.dataset.refused}`);
  } catch {
    say(said, connection.dataset.lost);
  }
});

follow();
