// An attempt to log in, as it goes on: the part of the page that changes is fetched each second.
const EVERY_MS = 1000;

async function follow(part) {
  const around = part.closest("[data-state]");
  let shown = part.innerHTML;
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
    const text = await answer.text();
    if (text !== shown) part.innerHTML = shown = text;
    around.dataset.state = answer.headers.get("X-Attempt-State") || "none";
    if (answer.headers.get("X-Attempt-Over")) {
      // The list below has it now.
      location.reload();
      return;
    }
  }
}

document.querySelectorAll("[data-follow]").forEach(follow);
