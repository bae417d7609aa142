// What unfold and Django's lists leave out for those who see nothing or use no mouse.
const LONE = "a, button, summary, [role=button]";

function hideIcon(icon) {
  // Its text is a word of the icon font, read aloud as such. Where it is all that names a control, it stays.
  const control = icon.closest(LONE);
  if (control === icon) return;
  const rest = control && control.textContent.replace(icon.textContent, "").trim();
  if (!control || rest || control.title || control.ariaLabel) icon.ariaHidden = "true";
}

function nameSuggestions(box) {
  // select2 takes the place of a select and leaves its label behind.
  const select = box.previousElementSibling;
  const label = select?.labels?.[0]?.textContent.trim().replace(/\s+/g, " ");
  if (!label) return;
  for (const field of box.querySelectorAll("[role=combobox], [role=textbox], .select2-search__field")) field.ariaLabel ||= label;
  for (const list of box.querySelectorAll("ul.select2-selection__rendered")) list.role = "none";
}

function mend() {
  document.querySelectorAll(".material-symbols-outlined:not([aria-hidden])").forEach(hideIcon);
  document.querySelectorAll("select + .select2").forEach(nameSuggestions);
  document.querySelectorAll(".help-tooltip[aria-label]:not([role])").forEach((mark) => { mark.role = "img"; });
}

document.addEventListener("DOMContentLoaded", () => {
  mend();
  // Suggestions, menus and rows come later.
  let due = false;
  new MutationObserver(() => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; mend(); });
  }).observe(document.body, { childList: true, subtree: true });
});
