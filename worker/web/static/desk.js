// The desk of a job, by itself up to date: who has opened their link, gone on, authorised.
"use strict";

const EVERY_MS = 10000;
const shown = new Map(); // id of a part -> what the server sent of it last

// A form's token is another one each time.
function contentOf(part) {
  return part.outerHTML.replace(/name="form_token" value="[^"]*"/g, "");
}

function replacePart(fresh) {
  const old = document.getElementById(fresh.id);
  const content = contentOf(fresh);
  // A link that is being selected, or a button that is being pressed, stays until it is let go.
  if (!old || shown.get(fresh.id) === content || old.matches(":active") || isSelecting(old)) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  for (const details of old.querySelectorAll("details[open]")) {
    const again = fresh.querySelector(`#${CSS.escape(details.id)}`);
    if (again) again.open = true;
  }
  shown.set(fresh.id, content);
  old.replaceWith(document.adoptNode(fresh));
  if (focused) document.getElementById(focused)?.focus();
}

function isSelecting(part) {
  const field = document.activeElement;
  return part.contains(field) && field.matches("input[readonly]") && field.selectionStart !== field.selectionEnd;
}

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await ask(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected) location.reload();
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of page.querySelectorAll("[data-part]")) replacePart(part);
    prepare(document);
  } catch {
    // Said by `ask`; the next one may come through.
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
addEventListener("online", refresh);
