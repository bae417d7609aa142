"use strict";
// Draws the table of usage over time as charts that can be pointed at. The table has all numbers and links; without
// this script, or without Chart.js, the pictures that came with the page stay.
(() => {
  const section = document.querySelector("[data-timeline]");
  if (!section || !window.Chart) return;
  const table = section.querySelector("table");
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const rows = [...table.tBodies[0].rows];
  const labels = rows.map((row) => row.cells[0].textContent);
  const links = rows.map((row) => row.cells[1].querySelector("a").href);
  // As they stand in the table: "1,234", "1,234 ms", or "–" for what nobody knows.
  const values = (column) => rows.map((row) => {
    const digits = row.cells[column].textContent.replace(/\D/g, "");
    return digits ? Number(digits) : null;
  });
  const column = { ok: 2, error: 3, refused: 4, cancelled: 5, p50: 8, p95: 9 };
  const charts = [];

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function options(stacked, unit) {
    const ticks = { color: colour("--soft") }, grid = { color: colour("--line") };
    return {
      animation: false, maintainAspectRatio: false, locale: document.documentElement.lang,
      interaction: { mode: "index", intersect: false },
      plugins: {
        legend: { align: "start", labels: { boxHeight: 10, boxWidth: 10, color: colour("--text") } },
        tooltip: { callbacks: { label: (item) => ` ${item.dataset.label}: ${item.formattedValue}${unit}` } },
      },
      scales: {
        x: { stacked, grid: { display: false }, ticks: { ...ticks, maxRotation: 0, autoSkipPadding: 24 } },
        y: { stacked, beginAtZero: true, grid, ticks: { ...ticks, precision: 0, maxTicksLimit: 6 } },
      },
      onClick: (event, found) => { if (found.length) location.href = links[found[0].index]; },
      onHover: (event, found) => { event.native.target.style.cursor = found.length ? "pointer" : ""; },
    };
  }

  function draw(name, type, settings, datasets) {
    const picture = section.querySelector(`[data-chart="${name}"]`);
    if (!picture) return;
    const frame = document.createElement("div"), canvas = document.createElement("canvas");
    frame.className = `canvas canvas-${name}`;
    frame.setAttribute("aria-hidden", "true"); // the table says the same
    frame.append(canvas);
    picture.before(frame);
    picture.hidden = true;
    charts.push([frame, picture, new Chart(canvas, { type, data: { labels, datasets }, options: settings })]);
  }

  function drawAll() {
    for (const [frame, picture, chart] of charts.splice(0)) {
      chart.destroy();
      frame.remove();
      picture.hidden = false;
    }
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    const bar = (name, fill) => ({ label: names[column[name]], data: values(column[name]), backgroundColor: colour(fill) });
    const line = (name, stroke) => ({
      label: name, data: values(column[name]), borderColor: colour(stroke), backgroundColor: colour(stroke),
      borderWidth: 2, pointRadius: 2, spanGaps: false,
    });
    draw("turns", "bar", options(true, ""), [
      bar("ok", "--ok"), bar("cancelled", "--cancelled"), bar("refused", "--refused"), bar("error", "--error"),
    ]);
    draw("latency", "line", options(false, " ms"), [line("p50", "--brand"), line("p95", "--line-2")]);
  }

  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
