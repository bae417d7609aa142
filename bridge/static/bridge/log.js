// The end of an instance's log, fetched every two seconds; it stays at its end unless somebody reads further up.
const EVERY_MS = 2000;

const part = document.querySelector(".gw-live-log");
const [text, why] = [part.querySelector("pre"), part.querySelector("[data-why]")];

function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

function show(answer) {
  const isAtEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 8;
  say(why, answer.why);
  if (answer.why && !answer.lines.length) return;
  say(text, answer.lines.map((line) => `${line}\n`).join(""));
  if (isAtEnd) text.scrollTop = text.scrollHeight;
}

text.scrollTop = text.scrollHeight;
for (;;) {
  await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  if (document.hidden) continue;
  try {
    const answer = await fetch(part.dataset.now, { signal: AbortSignal.timeout(10000) });
    if (answer.redirected || answer.status === 403) location.reload();
    if (!answer.ok) throw new Error();
    show(await answer.json());
  } catch {
    say(why, why.dataset.lost);
  }
}
