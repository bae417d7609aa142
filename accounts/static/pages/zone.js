"use strict";
// Puts the zone of this browser on top of the list: no server knows it.
(() => {
  const list = document.querySelector("select[data-browser]");
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!list || ![...list.options].some((option) => option.value === zone)) return;
  const group = document.createElement("optgroup");
  group.label = list.dataset.browser;
  group.append(new Option(zone, zone, false, list.value === zone));
  list.prepend(group);
})();
