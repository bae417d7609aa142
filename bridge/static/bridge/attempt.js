// An attempt to log in, as it goes on: the part of the page that changes is fetched each second.
const EVERY_MS = 1000;

const isLike = (one, other) => one.nodeName === other.nodeName && one.childNodes.length === other.childNodes.length
  && [...one.childNodes].every((each, i) => isLike(each, other.childNodes[i]));

function copy(from, to) {
  if (from.nodeType === Node.TEXT_NODE && from.data !== to.data) to.data = from.data;
  for (const { name, value } of from.attributes ?? []) if (to.getAttribute(name) !== value) to.setAttribute(name, value);
  from.childNodes.forEach((each, i) => copy(each, to.childNodes[i]));
}

// Only what differs is written: the address keeps the focus, and stays selected, while the time goes on.
function show(part, text) {
  const made = part.cloneNode(false);
  made.innerHTML = text;
  if (isLike(made, part)) copy(made, part);
  else part.replaceChildren(...made.childNodes);
}

async function follow(part) {
  const around = part.closest("[data-state]");
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    if (document.hidden) continue;
    let answer;
    try {
      answer = await fetch(part.dataset.follow, { headers: { "X-Requested-With": "fetch" }, signal: AbortSignal.timeout(10000) });
    } catch {
      continue; // the gateway may be restarting
    }
    if (answer.redirected || answer.status === 403 || answer.status === 404) return;
    if (!answer.ok) continue;
    show(part, await answer.text());
    around.dataset.state = answer.headers.get("X-Attempt-State") || "none";
    if (answer.headers.get("X-Attempt-Over")) {
      // The list below has it now.
      location.reload();
      return;
    }
  }
}

document.querySelectorAll("[data-follow]").forEach(follow);
