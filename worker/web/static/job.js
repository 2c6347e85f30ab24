// A job's page, live: told by the server when something has changed, and asking by itself where it is not told.
"use strict";

const POLL_MS = 2000;
const TRY_AGAIN_MS = 15000;
const ROWS_EVERY_MS = 5000;
const live = document.getElementById("live");
let chart = null;
let polling = null;
let events = null;
let lastSaid = null;
let lastState = null;
let rowsAt = Date.now();

const standing = () => document.getElementById("standing");
const refresh = () => htmx.trigger(live, "refresh");

function poll() {
  polling ??= setInterval(refresh, POLL_MS);
}

function listen() {
  events = new EventSource(`/v1/jobs/${standing().dataset.job}/events`);
  events.addEventListener("open", () => {
    clearInterval(polling);
    polling = null;
    refresh();
  });
  events.addEventListener("progress", refresh);
  events.addEventListener("error", () => {
    poll();
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, TRY_AGAIN_MS);
  });
}

// Said to a screen reader when the state changes and at every quarter, not at every row.
function say() {
  const said = standing().dataset.said;
  if (lastSaid !== null && said !== lastSaid) document.getElementById("said").textContent = said;
  lastSaid = said;
}

// The rows follow more slowly than the figures, and at once when the job's state changes.
function followRows() {
  const state = standing().dataset.state + standing().dataset.isOver;
  if (state === lastState && Date.now() - rowsAt < ROWS_EVERY_MS) return;
  if (lastState !== null) htmx.trigger("#item-table", "refresh");
  lastState = state;
  rowsAt = Date.now();
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis() {
  return { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
}

function drawPace() {
  const pace = JSON.parse(standing().dataset.pace);
  const section = document.getElementById("pace");
  section.hidden = pace.at.length < 2;
  if (section.hidden) return;
  document.getElementById("pace-words").textContent = pace.words;
  const data = [pace.at, pace.installed, pace.failed];
  if (chart) {
    chart.setData(data);
    return;
  }
  const place = document.getElementById("chart");
  const line = (label, name) => ({ label, stroke: colour(name), fill: `${colour(name)}22`, width: 2, points: { show: false } });
  chart = new uPlot(
    {
      width: place.clientWidth,
      height: 220,
      series: [{}, line("installed a second", "--installed"), line("failed a second", "--failed")],
      scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      axes: [axis(), { ...axis(), size: 56 }],
      cursor: { y: false },
    },
    data,
    place,
  );
  new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 220 })).observe(place);
}

function redraw() {
  if (chart) chart.destroy();
  chart = null;
  drawPace();
}

live.addEventListener("htmx:afterSwap", () => {
  say();
  followRows();
  drawPace();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("pagehide", () => events?.close());
say();
followRows();
drawPace();
listen();
