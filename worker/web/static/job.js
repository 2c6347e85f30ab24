// A job's page, live: it asks what has changed, every few seconds, while somebody looks.
"use strict";

const ASK_EVERY_MS = 5000; // with the rows, at most 15 requests a minute
const ASK_AN_ENDED_JOB_EVERY_MS = 15000; // somebody may have it run again
const MORE_EVERY_MS = 30000; // what is long: the rows
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
const MOST_MOMENTS = 600;
let asking = null;
let isAsking = false;
let askAgain = false;
let chart = null;
let pace = null;
let lastSaid = null;
let lastState = null;
let moreAt = Date.now();

const standing = () => document.getElementById("standing");

// What is pressed just now stays until it is let go: a click must not fall between two versions of a button.
function replacePart(fresh) {
  const old = document.getElementById(fresh.id);
  if (old.matches(":active")) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  old.replaceWith(document.adoptNode(fresh));
  if (focused) document.getElementById(focused)?.focus();
}

const isTimeForMore = () => Date.now() - moreAt >= MORE_EVERY_MS;

// What the page has already is not sent again.
function liveAddress() {
  const tags = [...document.querySelectorAll("[data-tag]")].map((part) => part.dataset.tag);
  const known = tags.join(",");
  const chartEnd = pace.at.length > 0 ? `${pace.over_s}-${pace.at.at(-1)}` : "";
  return `/jobs/${standing().dataset.job}/live?${new URLSearchParams({ known, pace: chartEnd })}`;
}

async function refresh() {
  clearTimeout(asking);
  if (isAsking || document.hidden) return;
  isAsking = true;
  askAgain = false;
  try {
    const answer = await ask(liveAddress());
    if (answer.redirected || answer.status === 404) location.reload();
    else if (answer.ok) show(await answer.text());
  } catch {
    // Said by `ask`; the next one may come through.
  } finally {
    isAsking = false;
    if (askAgain) refresh();
    else askSoon();
  }
}

// A hidden page rests. Those who come back to it see at once how things stand.
function askSoon() {
  clearTimeout(asking);
  const waitMs = standing().dataset.isOver === "yes" ? ASK_AN_ENDED_JOB_EVERY_MS : ASK_EVERY_MS;
  if (!document.hidden) asking = setTimeout(refresh, waitMs);
}

function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  standing().replaceWith(document.adoptNode(fresh.getElementById("standing")));
  for (const part of fresh.querySelectorAll("[data-part]")) replacePart(part);
  prepare(document);
  say();
  followRows();
  followPace();
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
  const hasChanged = lastState !== null && state !== lastState;
  // What was said of the state before is over with it.
  if (hasChanged) document.getElementById("notice")?.remove();
  lastState = state;
  if (!hasChanged && !isTimeForMore()) return;
  htmx.trigger("#item-table", "refresh");
  moreAt = hasChanged ? 0 : Date.now();
  askAgain = hasChanged;
}

// The chart is sent once; then only what is new of it, from the last moment on, in which more may have ended.
function followPace() {
  const fresh = JSON.parse(standing().dataset.pace);
  if (pace !== null && !fresh.is_whole) {
    const kept = pace.at.filter((at) => at < fresh.at[0]).length;
    for (const name of ["at", "installed", "failed"]) {
      fresh[name] = [...pace[name].slice(0, kept), ...fresh[name]].slice(-MOST_MOMENTS);
    }
  }
  pace = fresh;
  drawPace();
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
        line("done a second", "--installed"),
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
document.addEventListener("visibilitychange", refresh);
addEventListener("online", refresh);
say();
followRows();
followPace();
askSoon();
