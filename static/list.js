// --- the list: search, selection, deletion with undo, names that are changed in place -----------------------------------

const files = document.querySelector("#files");
const filter = document.querySelector("#filter");
const selection = document.querySelector("#selection");
const selectAll = document.querySelector("#select-all");
const toast = document.querySelector("#toast");

const TYPED_FOR = 200; // milliseconds without a key, after which the search goes off
const DOWNLOADS_APART = 400; // milliseconds; browsers drop downloads that are started at one moment
const UNDO_FOR = 10_000; // milliseconds, as files/uploads.py keeps what is trashed

// --- what is asked for: the address bar has it, so that Back, reload and a bookmark work

function address() {
  const asked = new URLSearchParams([...new FormData(filter)].filter(([name, value]) => value.trim() && !(name === "sort" && value === "newest")));
  return `${location.pathname}${asked.size ? "?" : ""}${asked}`;
}

// Uploads that are under way stay where they are.
function show(where) {
  return htmx.ajax("GET", where, { source: filter, target: files, swap: "beforeend settle:0ms" });
}

function search() {
  const where = address();
  if (where === location.pathname + location.search) return;
  history.pushState(null, "", where);
  show(where);
}

let typed;
filter.addEventListener("input", (event) => {
  clearTimeout(typed);
  typed = setTimeout(search, event.target.type === "search" ? TYPED_FOR : 0);
});
filter.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typed); search(); });

window.addEventListener("popstate", () => {
  const asked = new URLSearchParams(location.search);
  for (const field of filter.querySelectorAll("[name]")) field.value = asked.get(field.name) ?? (field.name === "sort" ? "newest" : "");
  show(location.pathname + location.search);
});

// Of two searches the later counts, whichever is answered first.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.requestConfig.elt !== filter || detail.isError) return;
  if (detail.pathInfo.requestPath !== location.pathname + location.search) detail.shouldSwap = false;
  else for (const row of files.querySelectorAll(":scope > :is(.file, .more, .empty)")) row.remove();
});
document.addEventListener("htmx:afterSwap", selected);

// --- selection

const boxes = () => [...files.querySelectorAll(".file:not([hidden]) > [name=key]")];
const chosen = () => boxes().filter((box) => box.checked);

function selected() {
  const [all, some] = [boxes().length, chosen().length];
  const count = selection.querySelector("[data-part=count]");
  count.textContent = some === 1 ? count.dataset.saysOne : count.dataset.saysMany.replace("%s", some);
  selectAll.checked = all > 0 && some === all;
  selectAll.indeterminate = some > 0 && some < all;
  selectAll.disabled = all === 0;
}

let last;
files.addEventListener("click", (event) => {
  const box = event.target.closest(".file > [name=key]");
  if (!box) return;
  const all = boxes();
  const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
  if (event.shiftKey && from >= 0) for (const between of all.slice(from, to + 1)) between.checked = box.checked;
  last = box;
  selected();
});
selectAll.addEventListener("change", () => {
  for (const box of boxes()) box.checked = selectAll.checked;
  selected();
});
selection.addEventListener("reset", () => setTimeout(selected));
selection.addEventListener("submit", (event) => {
  event.preventDefault();
  trash(chosen().map((box) => box.closest(".file")));
});
selection.querySelector("[data-do=download]").addEventListener("click", async () => {
  for (const box of chosen()) {
    const link = document.createElement("a");
    [link.href, link.download] = [`${location.pathname}${box.value}/download`, ""];
    link.click();
    await new Promise((resolve) => { setTimeout(resolve, DOWNLOADS_APART); });
  }
});

// --- deletion: the rows go at once and come back if it fails, or is undone

let trashed = [];

async function trash(rows) {
  forget();
  trashed = rows;
  for (const row of rows) row.hidden = true;
  const rest = boxes();
  const behind = (box) => rows[0].compareDocumentPosition(box) & Node.DOCUMENT_POSITION_FOLLOWING;
  (rest.find(behind) ?? rest.at(-1) ?? document.querySelector("#chooser")).focus();
  selected();
  const key = rows.map((row) => row.querySelector("[name=key]").value);
  await htmx.ajax("POST", selection.action, { source: toast, target: toast, swap: "innerHTML", values: { key } }).catch(() => {});
}

let over;
function forget() {
  clearTimeout(over);
  for (const row of trashed) row.remove();
  trashed = [];
  toast.replaceChildren();
}

function bringBack() {
  for (const row of trashed) {
    row.hidden = false;
    row.querySelector("[name=key]").checked = false;
  }
  trashed[0]?.querySelector("a").focus();
  trashed = [];
  selected();
}

document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (detail.target !== toast) return;
  if (detail.requestConfig.path.endsWith("/restore")) bringBack();
  clearTimeout(over);
  over = setTimeout(forget, UNDO_FOR);
});
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, ({ detail }) => { if (detail.elt === toast) bringBack(); });
}
files.addEventListener("click", (event) => {
  const link = event.target.closest("[data-do=trash]");
  if (!link) return;
  event.preventDefault();
  trash([link.closest(".file")]);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "z" && (event.ctrlKey || event.metaKey) && !event.target.matches("textarea, input:not([type=checkbox], [type=file])")) {
    toast.querySelector("button")?.click();
  } else if (event.key === "Escape") {
    event.target.closest("#files")?.querySelector(".rename [data-do=cancel]")?.click();
  }
});

// --- a name that is changed in place: what is typed first takes the place of the name, and leaves its end

document.addEventListener("htmx:afterSettle", () => {
  const field = files.querySelector(".rename [autofocus]");
  if (!field || field.dataset.begun) return;
  field.dataset.begun = "";
  field.focus();
  field.setSelectionRange(0, field.value.lastIndexOf(".") > 0 ? field.value.lastIndexOf(".") : field.value.length);
});

// --- dialogs: a link that opens one is answered into it

const dialog = document.querySelector("#dialog");
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (detail.target === dialog && !dialog.open) dialog.showModal();
});
dialog.addEventListener("click", (event) => {
  // The dialog itself is what is clicked beside its content.
  if (event.target === dialog || event.target.closest("[data-do=close]")) { event.preventDefault(); dialog.close(); }
});
files.addEventListener("click", (event) => {
  const link = event.target.closest("[data-do=dialog]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // those open it elsewhere, as a page
  event.preventDefault();
  htmx.ajax("GET", link.getAttribute("href"), { source: link, target: dialog, swap: "innerHTML" }).catch(() => {});
});
dialog.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-do=copy]");
  if (!copy) return;
  const field = copy.closest("li").querySelector("input");
  field.select(); // for whoever has to press Ctrl+C: without TLS there is no clipboard
  await navigator.clipboard?.writeText(field.value).then(() => { copy.textContent = copy.dataset.saysDone; }, () => {});
});
dialog.addEventListener("close", () => dialog.replaceChildren());

// --- previews: a name opens one; the arrow keys and two buttons lead to its neighbours in the list

const names = () => [...files.querySelectorAll(".file:not([hidden]) > a.name")];
const place = () => names().findIndex((name) => name.getAttribute("href") === viewed);
let viewed; // the address of the file that is shown, or was asked for since

function view(name) {
  viewed = name.getAttribute("href");
  // To find it again afterwards; and at the end of what is shown this brings more files into view, which loads them.
  if (dialog.open) name.scrollIntoView({ block: "center" });
  htmx.ajax("GET", viewed, { source: dialog, target: dialog, swap: "innerHTML" }).catch(() => {});
}

function step(by) {
  const next = names()[place() + by];
  if (next) view(next);
}

function showSteps() {
  for (const [what, by] of [["previous", -1], ["next", 1]]) {
    const button = dialog.querySelector(`[data-do=${what}]`);
    if (button) button.disabled = !names()[place() + by];
  }
}

function fail(shown) {
  shown.hidden = true;
  shown.parentElement.querySelector("[data-part=failed]").hidden = false;
}

files.addEventListener("click", (event) => {
  const name = event.target.closest(".file > a.name");
  if (!name || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  view(name);
});
dialog.addEventListener("click", ({ target }) => {
  if (target.dataset.do === "previous") step(-1);
  else if (target.dataset.do === "next") step(1);
});
document.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || !dialog.querySelector(".viewer")) return;
  if (event.target.closest("audio, video, input, textarea, select")) return; // which have a use for these keys
  event.preventDefault();
  step(by);
});

// Whoever went on, or closed the dialog, does not want what they asked for before.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.requestConfig.elt === dialog && detail.pathInfo.requestPath !== viewed) detail.shouldSwap = false;
});
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  showSteps();
  if (detail.requestConfig.elt !== dialog) return;
  // htmx keeps the focus on the button that was pressed; its description is the new name.
  if (!document.activeElement.matches("[data-do=previous]:enabled, [data-do=next]:enabled")) dialog.querySelector("h1").focus();
  if (!navigator.pdfViewerEnabled) dialog.querySelectorAll("[data-element=pdf] iframe").forEach(fail);
});
dialog.addEventListener("error", ({ target }) => { if (target.parentElement.matches(".preview")) fail(target); }, true);
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  // What went wrong is said on the page, behind the dialog.
  document.addEventListener(name, ({ detail }) => { if (detail.elt === dialog) dialog.close(); });
}
dialog.addEventListener("close", () => {
  names()[place()]?.focus();
  viewed = undefined;
});
