// Makes the pages nicer where a browser runs scripts; every one of them works without.
"use strict";

// Times in the reader's own zone.
function localise(root) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    time.title = time.textContent;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

// Whether the server can be reached: said at the top of the page for as long as it cannot, with the time from which all is.
const ANSWERS_WITHIN_MS = 10000;
let heardAt = new Date();

function heard() {
  heardAt = new Date();
  document.getElementById("connection").textContent = "";
}

function notHeard() {
  const since = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }).format(heardAt);
  const text = `Not connected since ${since}; what you see is of then.`;
  const line = document.getElementById("connection");
  if (!line.textContent.startsWith(text)) line.textContent = text;
}

// The answer, whatever the server says. Without one, or with that of a proxy whose server is away, it throws.
async function ask(address, options = {}) {
  try {
    const answer = await fetch(address, { ...options, signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) });
    if ([502, 503, 504].includes(answer.status)) throw new Error(`answered ${answer.status}`);
    heard();
    return answer;
  } catch (error) {
    notHeard();
    throw error;
  }
}

document.addEventListener("htmx:afterRequest", (event) => {
  const status = event.detail.xhr.status;
  if (status > 0 && ![502, 503, 504].includes(status)) heard();
  else if (!document.hidden) notHeard();
});

// What a page asks for by itself can wait until somebody looks at it.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden) event.preventDefault();
});

// Nothing was done: said where the button is, and for as long as nothing else is tried.
function sayNotDone(form) {
  form.querySelector("[data-not-done]")?.remove();
  const text = "The server cannot be reached, so nothing was done. Try again when it is back.";
  if (!form.closest("dialog")) {
    document.getElementById("connection").append(` ${text}`);
    return;
  }
  const notice = document.createElement("p");
  notice.className = "notice bad";
  notice.role = "alert";
  notice.dataset.notDone = "";
  notice.textContent = text;
  form.prepend(notice);
}

// A form is sent once the server has answered: the browser's own page of an error would take this one away.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.dataset.isReached) {
    delete form.dataset.isReached;
    return;
  }
  event.preventDefault();
  try {
    await ask("/healthz");
    form.dataset.isReached = "yes";
    form.requestSubmit(event.submitter);
  } catch {
    sayNotDone(form);
  }
});

// A confirmation opens above the page it is about.
async function openDialog(link) {
  let answer;
  try {
    answer = await ask(link.href, { headers: { Accept: "text/html" } });
  } catch {
    sayNotDone(link);
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const form = page.getElementById("confirm");
  if (!answer.ok || !form) {
    location.assign(link.href);
    return;
  }
  const dialog = document.getElementById("dialog");
  dialog.replaceChildren(document.adoptNode(form));
  dialog.setAttribute("aria-labelledby", "confirm-title");
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  const link = event.target.closest("a[data-dialog]");
  if (link && plain) {
    event.preventDefault();
    openDialog(link);
  }
  const dialog = event.target.closest("dialog");
  if (dialog && event.target.closest("[data-close]")) {
    event.preventDefault();
    dialog.close();
  }
});

// What has to be handed on is copied as it is; plain http knows no clipboard, but the old way.
async function copy(button) {
  const label = button.firstChild;
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(button.dataset.copy);
    else copySelected(button);
    label.data = "Copied";
  } catch {
    label.data = "Not copied: select it";
  }
  document.getElementById("copied").textContent = label.data;
  setTimeout(() => {
    label.data = "Copy";
    document.getElementById("copied").textContent = "";
  }, 2000);
}

function copySelected(button) {
  const field = document.createElement("textarea");
  field.value = button.dataset.copy;
  field.readOnly = true;
  button.after(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  button.focus();
  if (!isCopied) throw new Error("not copied");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});

// A file that is dropped is uploaded at once; how far it got is shown.
function showUpload(form, part) {
  const progress = form.querySelector("progress");
  progress.closest("[hidden]")?.removeAttribute("hidden");
  progress.value = part;
  form.querySelector("output").textContent =
    part < 1 ? `Uploading: ${Math.floor(part * 100)} %` : "Uploaded, one moment";
}

// Whoever may no longer upload is told so by the way to sign in; the server does not read the rest of the file then.
async function whyCutOff(form) {
  try {
    const answer = await ask(form.action);
    if (answer.redirected) location.assign(answer.url);
  } catch {
    // Said at the top of the page.
  }
  form.querySelector("output").textContent = "The upload was cut off, and nothing of it was kept. Drop the file again.";
}

function upload(form) {
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  const isLeaving = (event) => event.preventDefault(); // the browser asks: what was sent so far would be lost
  addEventListener("beforeunload", isLeaving);
  request.addEventListener("loadend", () => removeEventListener("beforeunload", isLeaving));
  request.responseType = "document";
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) showUpload(form, event.loaded / event.total);
  });
  request.addEventListener("load", () => {
    removeEventListener("beforeunload", isLeaving);
    const main = request.response && request.response.querySelector("main");
    if (request.status < 400) {
      location.assign(request.responseURL);
    } else if (main) {
      document.querySelector("main").replaceWith(document.adoptNode(main));
      prepare(document);
    }
  });
  request.addEventListener("error", () => whyCutOff(form));
  showUpload(form, 0);
  request.send(new FormData(form));
}

function prepareDrop(form) {
  const input = form.querySelector("input[type=file]");
  const zone = form.querySelector(".drop");
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files.length === 0) return;
    input.files = event.dataTransfer.files;
    form.requestSubmit();
  });
  input.addEventListener("change", () => {
    if (input.files.length > 0) form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    if (input.files.length === 0) return;
    event.preventDefault();
    upload(form);
  });
}

function prepare(root) {
  localise(root);
  for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
  for (const form of root.querySelectorAll("form[data-upload]:not([data-ready])")) {
    form.dataset.ready = "yes";
    prepareDrop(form);
  }
}

// A session that has ended answers with the way to sign in: a whole page, not a part of this one.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (new URL(event.detail.xhr.responseURL || location.href).pathname !== "/sign-in") return;
  event.detail.shouldSwap = false;
  location.reload();
});

prepare(document);
document.addEventListener("htmx:afterSettle", () => prepare(document));
