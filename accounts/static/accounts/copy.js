// Copy buttons: each copies the text of the element its data-copy names.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const done = (await viaClipboard(source.textContent)) || viaSelection(source);
  const label = button.querySelector("[data-label]");
  const before = (label.dataset.label ||= label.textContent);
  label.textContent = done ? button.dataset.done : button.dataset.failed;
  setTimeout(() => { label.textContent = before; }, 2000);
});

async function viaClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // browsers offer the clipboard to https and localhost only
  }
}

function viaSelection(source) {
  const range = document.createRange();
  range.selectNodeContents(source);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  return document.execCommand("copy");
}
