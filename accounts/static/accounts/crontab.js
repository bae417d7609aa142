// On the page of a periodic task: what a chosen crontab means, below its field.
document.addEventListener("DOMContentLoaded", () => {
  const meanings = JSON.parse(document.getElementById("readable-crontabs").textContent);
  const label = JSON.parse(document.getElementById("crontab-meaning").textContent);
  const help = document.querySelector(".field-crontab .help");
  const translation = document.querySelector(".field-crontab_translation");
  if (translation) translation.hidden = true;
  if (!help) return;
  const note = document.createElement("div");
  help.append(note);
  django.jQuery("#id_crontab").on("change", (event) => {
    const meaning = meanings[event.target.value];
    note.textContent = meaning ? `${label} ${meaning}` : "";
  });
});
