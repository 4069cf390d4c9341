// Sends files from the browser to the bucket and moves their rows. Rows, texts and the finished file are the server's:
// a row is fetched through HTMX, and the event "uploaded" on it makes HTMX confirm and swap in what it became.

const AT_ONCE = 3; // more only share the same line
const ROWS_AT_ONCE = 100; // what files/views.py makes a request
const STALLED_AFTER = 60_000; // milliseconds without a byte
const ANSWERED_WITHIN = 30_000; // milliseconds, by the site; htmx-config in templates/files/list.html says the same
const SPEED_OVER = 3_000; // milliseconds of the moving average

const uploader = document.querySelector("#uploader");
const list = document.querySelector("#files");
const notice = document.querySelector("#notice");
const announcer = document.querySelector("#announcer");

const uploads = new Map(); // id of a row -> its upload
const queue = [];
let running = 0;
let lastId = 0;

const says = (what, ...values) => {
  const text = uploader.dataset[`says${what[0].toUpperCase()}${what.slice(1)}`];
  return values.reduce((sentence, value) => sentence.replace("%s", () => value), text);
};
// Each on its own line, so that one is not written over before it is read out.
function announce(sentence) {
  const line = document.createElement("p");
  line.textContent = sentence;
  announcer.append(line);
  while (announcer.childElementCount > 10) announcer.firstElementChild.remove();
}
const csrfToken = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";

function humanSize(bytes) {
  const units = ["bytes", "KB", "MB", "GB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return `${(bytes / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

// --- one upload --------------------------------------------------------------------------------------------------------

class Upload {
  constructor(file, id) {
    this.file = file;
    this.id = id;
    this.arrived = false; // the bucket has the bytes; only the confirm is missing
  }

  get row() { return list.querySelector(`[data-upload="${this.id}"]`); }
  part(name) { return this.row.querySelector(`[data-part="${name}"]`); }
  get key() { return this.row.querySelector("[name=key]").value; }
  set key(key) { this.row.querySelector("[name=key]").value = key; }

  show(state, sentence) {
    const { row } = this;
    if (!row) return;
    const failed = state === "failed";
    // Whoever pressed a button that goes away is put on the one that takes its place.
    const focused = row.contains(document.activeElement);
    row.dataset.state = state;
    this.part("status").textContent = sentence;
    this.part("sign-in").hidden = true;
    row.querySelector("[data-act=retry]").hidden = !failed;
    row.querySelector("[data-act=remove]").hidden = !failed;
    row.querySelector("[data-act=cancel]").hidden = failed || state === "confirming";
    if (focused) (row.querySelector("[data-act]:not([hidden])") ?? row).focus();
  }

  fail(sentence, status) {
    this.show("failed", sentence);
    if (!this.row) return;
    this.part("sign-in").hidden = status !== 401;
    announce(`${says("failed", this.file.name)}. ${sentence}`);
  }

  async run() {
    if (this.arrived) return this.confirm();
    try {
      this.show("signing", says("signing"));
      const signed = await this.sign();
      if (this.gone) return giveBack(signed.key);
      this.key = signed.key;
      await this.put(signed);
      this.arrived = true;
      this.confirm();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (!error.silent) this.fail(error.message, error.status);
    }
  }

  // Never cut short: the answer has the only copy of a key that the site may have written down already.
  sign() {
    const { file } = this;
    return post(uploader.dataset.signUrl, { filename: file.name, contentType: file.type, size: file.size });
  }

  put({ method, url, headers }) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.request = request;
      const progress = new Progress(this);
      let stalled;
      const alive = () => {
        clearTimeout(stalled);
        stalled = setTimeout(() => { refuse(says("stalled")); request.abort(); }, STALLED_AFTER);
      };
      const refuse = (sentence, options) => { clearTimeout(stalled); reject(new Refused(sentence, options)); };

      request.open(method, url);
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => { alive(); progress.move(event.loaded, event.total); };
      request.onload = () => {
        clearTimeout(stalled);
        if (request.status >= 200 && request.status < 300) resolve();
        else if (request.status === 403) refuse(says("expired"));
        else if (request.status === 412) refuse(says("exists"));
        else refuse(says("refused", request.status));
      };
      request.onerror = async () => refuse(says(await readable(this.file) ? "network" : "changed"));
      request.onabort = () => refuse("", { silent: true });
      alive();
      announce(says("started", this.file.name));
      request.send(this.file);
    });
  }

  confirm() {
    this.show("confirming", says("confirming"));
    htmx.trigger(this.row, "uploaded");
  }

  giveUp() {
    this.request?.abort();
    if (this.key) giveBack(this.key);
  }
}

// The document of an upload that will not come. Where this fails, the cleanup sees to it.
const giveBack = (key) => { post(uploader.dataset.cancelUrl, { key }).catch(() => {}); };

class Refused extends Error {
  constructor(sentence, { status = 0, silent = false } = {}) {
    super(sentence);
    this.status = status;
    this.silent = silent;
  }
}

// Percent and speed of a PUT, told to the row and, at every quarter, to screen readers.
class Progress {
  constructor(upload) {
    this.upload = upload;
    this.samples = [[performance.now(), 0]];
    this.quarter = 0;
  }

  move(loaded, total) {
    const { upload } = this;
    if (!upload.row) return;
    const now = performance.now();
    this.samples.push([now, loaded]);
    while (this.samples.length > 2 && now - this.samples[0][0] > SPEED_OVER) this.samples.shift();
    const [since, before] = this.samples[0];
    const speed = ((loaded - before) / Math.max(now - since, 1)) * 1000;
    // 100 % is for the server to say, once it has confirmed.
    const percent = Math.min(99, Math.floor((loaded / total) * 100));
    upload.row.querySelector("progress").value = percent;
    upload.show("sending", `${percent} %, ${humanSize(speed)}/s`);
    if (Math.floor(percent / 25) > this.quarter) {
      this.quarter = Math.floor(percent / 25);
      announce(says("percent", upload.file.name, this.quarter * 25));
    }
  }
}

async function post(url, body) {
  let response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken() },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWERED_WITHIN),
    });
  } catch {
    throw new Refused(says("unreachable"));
  }
  const answer = await response.json().catch(() => ({ error: says("unreachable") }));
  // A 200 that is not JSON is somebody else's: the sign-in page of a hotel's network.
  if (!response.ok || answer.error) throw new Refused(answer.error, { status: response.status });
  return answer;
}

// A file that was changed or moved after it was chosen fails like a cut connection does.
const readable = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);

// --- the queue ---------------------------------------------------------------------------------------------------------

// One after the other: htmx keeps only the last of the requests that wait for another of the same element.
let rowsCame = Promise.resolve();
function add(files) {
  const added = [...files].map((file) => new Upload(file, ++lastId));
  rowsCame = rowsCame.then(() => addRows(added));
}

async function addRows(added) {
  for (let start = 0; start < added.length; start += ROWS_AT_ONCE) {
    const batch = added.slice(start, start + ROWS_AT_ONCE);
    for (const upload of batch) uploads.set(String(upload.id), upload);
    await htmx.ajax("POST", uploader.dataset.rowsUrl, {
      source: uploader,
      target: list,
      swap: "afterbegin settle:0ms",
      values: {
        id: batch.map((upload) => upload.id),
        name: batch.map((upload) => upload.file.name),
        size: batch.map((upload) => upload.file.size),
      },
    }).catch(() => {}); // "htmx:sendError" has said it
    for (const upload of batch) {
      if (upload.row) queue.push(upload);
      else uploads.delete(String(upload.id));
    }
    pump();
  }
}

function pump() {
  while (running < AT_ONCE && queue.length) {
    running += 1;
    queue.shift().run().finally(() => { running -= 1; pump(); });
  }
}

function retry(upload) {
  if (!upload.arrived && upload.key) {
    upload.giveUp();
    upload.key = "";
  }
  upload.show("waiting", says("waiting"));
  upload.row.querySelector("progress").value = 0;
  queue.push(upload);
  pump();
}

function remove(upload) {
  const before = upload.row.previousElementSibling;
  const place = queue.indexOf(upload);
  if (place >= 0) queue.splice(place, 1);
  upload.gone = true;
  upload.giveUp();
  upload.row.remove();
  uploads.delete(String(upload.id));
  focusBehind(before);
}

// Puts the focus on the row that is behind `before` now, so that whoever acted on a row goes on from its place.
function focusBehind(before) {
  const row = before ? before.nextElementSibling : list.firstElementChild;
  (row?.querySelector("[autofocus], a:not([hidden]), button:not([hidden])") ?? chooser).focus();
}

// --- what the person does, and what the server answers -----------------------------------------------------------------

const uploadOf = (element) => uploads.get(element?.closest?.("[data-upload]")?.dataset.upload);

list.addEventListener("click", (event) => {
  const act = event.target.closest("[data-act]")?.dataset.act;
  const upload = uploadOf(event.target);
  if (!act || !upload) return;
  if (act === "retry") retry(upload);
  else remove(upload);
});

const chooser = document.querySelector("#chooser");
chooser.addEventListener("change", () => {
  add(chooser.files);
  chooser.value = ""; // the same file can be chosen again
});

let depth = 0;
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragenter", (event) => {
  if (hasFiles(event)) { depth += 1; uploader.classList.add("dragging"); }
});
document.addEventListener("dragleave", (event) => {
  if (hasFiles(event)) { depth -= 1; uploader.classList.toggle("dragging", depth > 0); }
});
document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  depth = 0;
  uploader.classList.remove("dragging");
  add(event.dataTransfer.files);
});

// Read at every request: signing in again in another tab changes it.
document.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-CSRFToken"] = csrfToken(); });

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.isError) return;
  const upload = uploadOf(detail.elt);
  if (upload) {
    announce(says("done", upload.file.name));
    uploads.delete(String(upload.id));
  }
  const row = detail.elt.closest("li");
  if (row?.contains(document.activeElement)) {
    const before = row.previousElementSibling;
    document.addEventListener("htmx:afterRequest", () => focusBehind(before), { once: true });
  }
});

function refused(element, sentence, status) {
  const upload = uploadOf(element);
  if (upload) {
    // The bucket has nothing, or not what was signed, or the key is given up: only a new upload can help.
    if ([404, 409, 422].includes(status)) upload.arrived = false;
    upload.fail(sentence, status);
  } else if (element.closest?.("dialog")) {
    // The notice is behind the dialog, where nobody can go.
    element.closest("dialog").querySelector("[role=alert]").textContent = sentence;
  } else {
    notice.querySelector("[data-part=sentence]").textContent = sentence;
    notice.querySelector("[data-part=sign-in]").hidden = status !== 401;
    notice.hidden = false;
  }
}
document.addEventListener("htmx:responseError", ({ detail }) => {
  const plain = detail.xhr.getResponseHeader("Content-Type")?.startsWith("text/plain");
  refused(detail.elt, plain ? detail.xhr.responseText : says("unreachable"), detail.xhr.status);
});
for (const name of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, ({ detail }) => refused(detail.elt, says("unreachable"), 0));
}
document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (!uploadOf(detail.elt)) notice.hidden = true; // that an upload goes on says nothing about it
});
