// A job's page, live: told by the server when something has changed, and asking by itself where it is not told.
"use strict";

const POLL_MS = 2000;
const TRY_AGAIN_MS = 15000;
const ROWS_EVERY_MS = 5000;
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
const shown = new Map(); // id of a part -> what the server sent of it last
let isAsking = false;
let askAgain = false;
let chart = null;
let polling = null;
let events = null;
let lastSaid = null;
let lastState = null;
let rowsAt = Date.now();

const standing = () => document.getElementById("standing");

// What is pressed just now stays until it is let go: a click must not fall between two versions of a button.
function replacePart(fresh) {
  const old = document.getElementById(fresh.id);
  const html = fresh.outerHTML;
  if (shown.get(fresh.id) === html || old.matches(":active")) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  old.replaceWith(document.adoptNode(fresh));
  shown.set(fresh.id, html);
  if (focused) document.getElementById(focused)?.focus();
}

async function refresh() {
  askAgain = isAsking;
  if (isAsking) return;
  isAsking = true;
  try {
    const answer = await fetch(`/jobs/${standing().dataset.job}/live`);
    if (answer.redirected) location.reload();
    if (answer.ok && !answer.redirected) show(await answer.text());
  } catch {
    poll();
  } finally {
    isAsking = false;
    if (askAgain) refresh();
  }
}

function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const part of fresh.querySelectorAll("[data-part]")) replacePart(part);
  prepare(document);
  say();
  followRows();
  drawPace();
}

function poll() {
  polling ??= setInterval(refresh, POLL_MS);
}

function stopPolling() {
  clearInterval(polling);
  polling = null;
}

function listen() {
  events = new EventSource(`/v1/jobs/${standing().dataset.job}/events`);
  events.addEventListener("open", stopPolling);
  events.addEventListener("progress", refresh);
  // Somebody may have it run again: that is asked now and then.
  events.addEventListener("end", () => {
    events.close();
    if (standing().dataset.isOver === "no") refresh();
    setTimeout(listen, TRY_AGAIN_MS);
  });
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
  // What was said of the state before is over with it.
  if (lastState !== null && state !== lastState) document.getElementById("notice")?.remove();
  lastState = state;
  rowsAt = Date.now();
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis() {
  const line = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--muted"), font: `12px ${getComputedStyle(document.body).fontFamily}`, grid: line, ticks: line };
}

// A job takes seconds or days: the axis says as much of the time as it takes to tell two marks apart.
function clockTimes(marks) {
  const step = marks.length > 1 ? marks[1] - marks[0] : 1;
  const form = step < 60 ? { timeStyle: "medium" } : step < 43200 ? { timeStyle: "short" } : { dateStyle: "short" };
  const format = new Intl.DateTimeFormat(undefined, form);
  return marks.map((at) => format.format(new Date(at * 1000)));
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
      series: [
        { label: "Time", value: (_, at) => (at === null ? "–" : clockTimes([at])[0]) },
        line("installed a second", "--installed"),
        line("failed a second", "--failed"),
      ],
      scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
      axes: [{ ...axis(), space: 90, incrs: STEPS_S, values: (_, marks) => clockTimes(marks) }, { ...axis(), size: 56 }],
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

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("pagehide", () => events?.close());
say();
followRows();
drawPace();
listen();
