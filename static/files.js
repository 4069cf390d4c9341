// The uploader and its files, in two halves: the queue, which sends files from the browser to the bucket, and the list. One
// module, since every file more is another request of a first visit. A page with {% uploader %} has both, but for the search.
//
// Rows and texts come from the page's templates, and a finished file from the server: the event "uploaded" on a row makes HTMX
// confirm the upload and swap in what it became.

const AT_ONCE = 4; // more only share the same line
const ROWS_WAITING = 20; // of those that wait, and of those that failed; the others are counted in a line of text
const ROWS_FAILED = 20;
const RETRIES = 5; // by itself, of one upload
const BACKOFF_MOST = 30_000; // milliseconds
const STALLED_AFTER = 60_000; // milliseconds without a byte
// From the last byte to the answer: a proxy, or a buffer of the system, may take all at once and send it on by 50 bytes a millisecond.
const takenWithin = (bytes) => Math.min(10 * 60_000, 2 * STALLED_AFTER + bytes / 50);
const ANSWERED_WITHIN = 30_000; // milliseconds, by the site; htmx-config in templates/files/_uploader_head.html says the same
const WAIT_MOST = 15 * 60_000; // milliseconds, that the queue waits for the site to take more; whoever is told more fails
const READ_AT_ONCE = 8 * 1024 ** 2; // bytes of a file, to have its SHA-256 from the browser itself
const SHOWN_EVERY = 250; // milliseconds
const SMOOTHED_OVER = 4_000; // milliseconds of the moving average
const NAME_LENGTH = 256; // characters that the site takes

const uploader = document.querySelector("#uploader");
const list = document.querySelector("#files");
const notice = document.querySelector("#notice");
const announcer = document.querySelector("#announcer");
const chooser = document.querySelector("#chooser");
const folderChooser = document.querySelector("#folder-chooser");
const bar = document.querySelector("#queue");
const title = document.title;

// --- words ---------------------------------------------------------------------------------------------------------------

const part = (element, name) => element.querySelector(`[data-part="${name}"]`);
const act = (element, name) => element.querySelector(`[data-act="${name}"]`);
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (blank, name) => values[name] ?? blank);
const says = (what, values = {}) => fill(uploader.dataset[`says${what[0].toUpperCase()}${what.slice(1)}`], values);
const inSeconds = (moment) => Math.max(1, Math.ceil((moment - Date.now()) / 1000));

// Each on its own line, so that one is not written over before it is read out.
function announce(sentence) {
  const line = document.createElement("p");
  line.textContent = sentence;
  announcer.append(line);
  while (announcer.childElementCount > 10) announcer.firstElementChild.remove();
}

function notify(sentence, signIn = false) {
  part(notice, "sentence").textContent = sentence;
  part(notice, "sign-in").hidden = !signIn;
  notice.hidden = false;
}

function humanSize(bytes) {
  const units = says("units").split(" ");
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  const digits = power ? 1 : 0;
  const format = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return `${(bytes / 1024 ** power).toLocaleString(document.documentElement.lang, format)} ${units[power]}`;
}

// In steps, since what is left is a guess, and a guess that moves at every look is not believed.
function humanTime(seconds) {
  if (seconds < 10) return says("seconds", { count: Math.max(1, Math.ceil(seconds)) });
  if (seconds < 55) return says("seconds", { count: Math.ceil(seconds / 5) * 5 });
  if (seconds < 3600) return says("minutes", { count: Math.ceil(seconds / 60) });
  return says("hours", { count: Math.ceil(seconds / 3600) });
}

// --- the site ------------------------------------------------------------------------------------------------------------

// Why an upload does not go on. `passes`: it is worth another try by itself, not before `later` milliseconds; `wait`:
// milliseconds until the site takes more; `rejected`: the site keeps that it will not have these bytes; `silent`: the site did not
// answer.
class Problem extends Error {
  constructor(sentence, { status = 0, passes = false, later = 0, wait = 0, rejected = false, silent = false } = {}) {
    super(sentence);
    Object.assign(this, { status, passes, later, wait, rejected, silent });
  }
}
class Stopped extends Error {}

const retryAfter = (seconds) => 1000 * (Number(seconds) || 0);
// A site on this very machine, or in its network, answers a browser that thinks it is offline.
const isOffline = ({ silent }) => silent && !navigator.onLine;
const mayPass = (status) => status === 0 || status === 408 || status >= 500;
const csrfToken = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
const request = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken() },
  body: JSON.stringify(body),
});

async function post(url, body) {
  let response, answer;
  try {
    response = await fetch(url, { ...request(body), signal: AbortSignal.timeout(ANSWERED_WITHIN) });
    answer = await response.json();
  } catch {
    // Also a 200 that is not JSON: the sign-in page of a hotel's network.
    throw new Problem(says("unreachable"), { status: response?.status, passes: true, silent: !response });
  }
  if (response.ok) return answer;
  const { status } = response;
  const told = retryAfter(response.headers.get("Retry-After"));
  const wait = status === 429 ? told || 1000 : 0;
  throw new Problem(answer.error, { status, wait: wait <= WAIT_MOST ? wait : 0, later: told, passes: mayPass(status) });
}

// The document of an upload that will not come. Where this fails, the cleanup sees to it.
const giveBack = (key) => { post(uploader.dataset.cancelUrl, { key }).catch(() => {}); };
const dismiss = (key) => {
  const headers = { "X-CSRFToken": csrfToken(), "HX-Request": "true" };
  fetch(`${uploader.dataset.filesUrl}${key}/dismiss`, { method: "POST", headers }).catch(() => {});
};

// A file that was changed or moved after it was chosen fails like a cut connection does.
const readable = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);

// Its SHA-256 in hex, or "" where there can be no worker. WebCrypto is ten times as fast, but wants a file as a whole.
async function sumOf(file, signal, moved) {
  if (file.size <= READ_AT_ONCE && crypto.subtle) {
    const sum = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    return [...new Uint8Array(sum)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  let worker, silent;
  try {
    return await new Promise((resolve, reject) => {
      const alive = () => {
        clearTimeout(silent);
        silent = setTimeout(resolve, ANSWERED_WITHIN, "");
      };
      signal.addEventListener("abort", () => reject(new Stopped()), { once: true });
      worker = new Worker(uploader.dataset.hashUrl);
      worker.onerror = () => resolve("");
      worker.onmessage = ({ data: { read, sum } }) => {
        if (sum) resolve(sum);
        else if (!read) reject(new Error("the file cannot be read"));
        else { alive(); moved(read); }
      };
      worker.postMessage(file);
      alive();
    });
  } finally {
    clearTimeout(silent);
    worker?.terminate();
  }
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(new Stopped()); }, { once: true });
  });
}

// Or after a while: a site on this very machine may come back without.
function online(signal) {
  const event = new Promise((resolve) => { window.addEventListener("online", resolve, { once: true, signal }); });
  return Promise.race([event, sleep(BACKOFF_MOST, signal)]);
}

// Bytes a second, an average in which what is longer ago counts exponentially less; at first it is that of all so far.
class Pace {
  constructor() { this.clear(); }
  clear() { Object.assign(this, { bytes: 0, seconds: 0, at: performance.now() }); }
  get speed() { return this.seconds > 0.2 ? this.bytes / this.seconds : 0; }
  add(bytes) {
    const now = performance.now();
    const fades = Math.exp((this.at - now) / SMOOTHED_OVER);
    this.bytes = this.bytes * fades + Math.max(0, bytes);
    this.seconds = this.seconds * fades + (now - this.at) / 1000;
    this.at = now;
  }
  left(bytes) { return bytes && this.speed ? humanTime(bytes / this.speed) : ""; }
}

// --- one upload ----------------------------------------------------------------------------------------------------------

let lastId = 0;
const uploadsByRow = new WeakMap();

class Upload {
  constructor(file, name = file.name) {
    Object.assign(this, { file, name, id: ++lastId, key: "", sent: 0, tries: 0, pace: new Pace() });
    this.sha256 = null; // not yet known
    this.arrived = false; // the bucket has the bytes; only the confirm is missing
    this.state = "waiting";
    this.sentence = says("waiting");
  }

  // Until the site has confirmed it. Throws Problem, and Stopped after `stop`. It keeps its place among those that run while it
  // backs off, so that a line that is broken is not tried by every other file as well.
  async run() {
    this.stopper = new AbortController();
    for (;;) {
      try {
        return await this.attempt();
      } catch (problem) {
        if (this.stopper.signal.aborted) throw new Stopped();
        if (!problem.passes) throw problem;
        if (isOffline(problem)) {
          this.show("offline", says("offline"));
          await online(this.stopper.signal);
        } else await this.backOff(problem);
      }
    }
  }

  async attempt() {
    if (!this.arrived) {
      this.giveUp();
      this.show("reading", says("signing")); // for as long as it takes no time
      this.sha256 ??= await this.sum();
      if (this.stopper.signal.aborted) throw new Stopped();
      this.show("signing", says("signing"));
      // Never cut short: the answer has the only copy of a key that the site may have written down already.
      const { file, name, sha256 } = this;
      const { signUrl, policy } = uploader.dataset;
      const signed = await post(signUrl, { policy, filename: name, contentType: file.type, size: file.size, sha256 });
      this.key = signed.key;
      if (this.stopper.signal.aborted) throw new Stopped();
      await this.put(signed);
      this.arrived = true;
      this.sent = this.file.size;
    }
    this.show("confirming", says("confirming"));
    await this.confirm();
  }

  // By which the bucket knows whether what arrives is what was here; "" where the browser cannot, or it would take too long.
  async sum() {
    if (this.file.size > uploader.dataset.hashMaxSize) return "";
    try {
      return await sumOf(this.file, this.stopper.signal, (bytes) => { this.read = bytes; });
    } catch (problem) {
      if (problem instanceof Stopped) throw problem;
      if (await readable(this.file)) return "";
      throw new Problem(says("changed"));
    } finally {
      this.read = 0;
    }
  }

  // With full jitter, so that those who were cut off together do not all come back together.
  async backOff(problem) {
    if (this.tries === RETRIES) throw new Problem(`${problem.message} ${says("tried", { count: RETRIES + 1 })}`);
    const most = Math.min(BACKOFF_MOST, uploader.dataset.backoff * 2 ** this.tries);
    this.tries += 1;
    const wait = Math.min(problem.later, BACKOFF_MOST) + Math.random() * most;
    Object.assign(this, { againAt: Date.now() + wait, why: problem.message });
    this.show("retrying", this.countdown());
    await sleep(wait, this.stopper.signal);
  }

  countdown() { return `${this.why} ${says("again", { seconds: inSeconds(this.againAt), tries: this.tries, most: RETRIES })}`; }

  put({ method, url, headers }) {
    return new Promise((resolve, reject) => {
      const xhr = new XMLHttpRequest();
      const end = (problem) => { clearTimeout(this.stalled); problem ? reject(problem) : resolve(); };
      const passes = (sentence) => end(new Problem(sentence, { passes: true }));
      const alive = (loaded) => {
        clearTimeout(this.stalled);
        this.stalled = setTimeout(stall, loaded < this.file.size ? STALLED_AFTER : takenWithin(loaded));
      };
      const stall = async () => {
        xhr.onabort = null;
        xhr.abort();
        const problem = await this.diagnose();
        if (problem?.passes && !problem.silent) passes(says("stalled"));
        else end(problem);
      };
      xhr.open(method, url);
      for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
      xhr.upload.onprogress = ({ loaded }) => { alive(loaded); this.move(loaded); };
      xhr.onload = () => {
        if (xhr.status >= 200 && xhr.status < 300) end();
        else if (xhr.status === 403) passes(says("expired"));
        else if (xhr.status === 412) passes(says("exists"));
        else if (xhr.status === 400 && /BadDigest|Mismatch/.test(xhr.responseText)) {
          this.sha256 = null; // it may be the file that changed
          passes(says("corrupted"));
        } else end(new Problem(says("refused", { status: xhr.status }), { passes: mayPass(xhr.status) || xhr.status === 429 }));
      };
      xhr.onerror = () => { clearTimeout(this.stalled); this.diagnose().then(end); };
      xhr.onabort = () => end(new Stopped());
      this.stopper.signal.addEventListener("abort", () => xhr.abort());
      this.quarter = 0;
      this.pace.clear();
      this.move(0);
      queue.whisper(says("started", { name: this.name }));
      alive(0);
      xhr.send(this.file);
    });
  }

  // What the browser does not say of a PUT that failed. Nothing, if it has arrived all the same.
  async diagnose() {
    if (!(await readable(this.file))) return new Problem(says("changed"));
    try {
      const { cause, message } = await post(uploader.dataset.diagnoseUrl, { key: this.key });
      return cause === "arrived" ? null : new Problem(message, { passes: !["origin", "clock"].includes(cause) });
    } catch ({ silent }) {
      return new Problem(says("network"), { passes: true, silent });
    }
  }

  move(loaded) {
    this.pace.add(loaded - this.sent);
    queue.pace.add(loaded - this.sent);
    this.sent = loaded;
    if (this.state !== "sending") this.show("sending", says("sending", { percent: 0, speed: humanSize(0) }));
  }

  // 100 % is for the server to say, once it has confirmed.
  get percent() { return Math.min(99, Math.floor((this.sent / Math.max(1, this.file.size)) * 100)); }

  tick() {
    if (this.state === "retrying") this.show(this.state, this.countdown());
    if (this.read) this.show(this.state, says("reading", { percent: Math.floor((this.read / this.file.size) * 100) }));
    if (this.state !== "sending") return;
    this.pace.add(0);
    const { percent } = this;
    const left = this.pace.left(this.file.size - this.sent);
    this.show("sending", says("sending", { percent, speed: humanSize(this.pace.speed) }) + (left && `, ${left}`));
    if (Math.floor(percent / 25) > this.quarter) {
      this.quarter = Math.floor(percent / 25);
      queue.whisper(says("percent", { name: this.name, percent: this.quarter * 25 }));
    }
  }

  confirm() {
    return new Promise((resolve, reject) => {
      this.answered = (xhr, ok) => {
        if (ok) return resolve();
        // The bucket has nothing, or not what was signed, or the key is given up: only a new upload can help.
        if ([404, 409, 422].includes(xhr.status)) this.arrived = false;
        const later = retryAfter(xhr.getResponseHeader("Retry-After"));
        const { status } = xhr;
        const problem = { status, passes: mayPass(status), later, rejected: isRejected(xhr), silent: !status };
        reject(new Problem(answerOf(xhr), problem));
      };
      queue.layout(); // HTMX asks nothing for a row that is not on the page
      htmx.trigger(this.row, "uploaded");
    });
  }

  stop() { if (this.state !== "confirming") this.stopper?.abort(); }

  giveUp() {
    if (this.arrived && !this.gone) return;
    if (this.key) (this.rejected ? dismiss : giveBack)(this.key);
    this.key = "";
    this.sent = 0;
  }

  // --- its row ---

  draw() {
    if (this.row) return this.row;
    this.row = document.querySelector("#upload-row").content.firstElementChild.cloneNode(true);
    this.row.dataset.upload = this.id;
    uploadsByRow.set(this.row, this);
    part(this.row, "name").textContent = this.name;
    part(this.row, "ending").textContent = this.name.match(/\.([a-z\d]{1,4})$/i)?.[1].toUpperCase() ?? "";
    part(this.row, "size").textContent = humanSize(this.file.size);
    for (const it of this.row.querySelectorAll("[aria-label]")) it.ariaLabel = fill(it.ariaLabel, { name: this.name });
    htmx.process(this.row);
    this.paint();
    return this.row;
  }

  undraw() {
    this.row?.remove();
    this.row = null;
  }

  show(state, sentence, status = 0) {
    Object.assign(this, { state, sentence, status });
    if (this.row) this.paint();
  }

  paint() {
    const { row, state } = this;
    const failed = state === "failed";
    // Whoever pressed a button that goes away is put on the one that takes its place.
    const focused = row.contains(document.activeElement);
    row.dataset.state = state;
    row.querySelector("[name=key]").value = this.key;
    row.querySelector("progress").value = this.percent;
    if (part(row, "status").textContent !== this.sentence) part(row, "status").textContent = this.sentence;
    part(row, "sign-in").hidden = this.status !== 401;
    act(row, "remove").hidden = !failed;
    act(row, "retry").hidden = !failed || this.rejected;
    act(row, "cancel").hidden = failed || state === "confirming";
    if (focused && focusIsLost(row)) (row.querySelector("[data-act]:not([hidden])") ?? row).focus();
  }
}

// --- the queue -----------------------------------------------------------------------------------------------------------

const queue = new (class Queue {
  waiting = []; // in the order they came
  running = new Set();
  failed = new Set();
  done = 0; // since there was nothing to do, as are the bytes; what failed counts for itself
  bytes = 0;
  bytesDone = 0;
  pace = new Pace();
  paused = false;
  openAt = 0; // when the site takes more
  line = Object.assign(document.createElement("li"), { className: "uncounted", hidden: true }); // ends the rows of uploads

  get all() { return [...this.running, ...this.waiting, ...this.failed]; }
  get total() { return this.done + this.running.size + this.waiting.length; }
  get again() { return [...this.failed].filter(({ rejected }) => !rejected); }
  get idle() { return !this.running.size && !this.waiting.length; }

  add(uploads) {
    if (this.idle) {
      list.prepend(this.line); // what is new comes on top
      this.pace.clear();
      this.quarter = 0;
    }
    for (const upload of uploads) this.bytes += upload.file.size;
    this.waiting = this.waiting.concat(uploads); // a spread of a hundred thousand overflows the stack
    this.pump();
  }

  pump() {
    const open = !this.paused && Date.now() >= this.openAt;
    while (open && this.running.size < AT_ONCE && this.waiting.length) this.start(this.waiting.shift());
    this.layout();
    this.tick();
    if (this.idle) Object.assign(this, { paused: false, done: 0, bytes: 0, bytesDone: 0 });
    this.ticking ??= setInterval(() => (Date.now() >= this.openAt && this.openAt ? this.reopen() : this.tick()), SHOWN_EVERY);
    if (this.idle) this.ticking = clearInterval(this.ticking);
  }

  async start(upload) {
    this.running.add(upload);
    let problem = null;
    try {
      await upload.run();
    } catch (error) {
      problem = error;
    }
    this.running.delete(upload);
    if (!problem) this.finish(upload);
    else if (upload.gone) upload.giveUp();
    else if (problem.wait) this.limit(upload, problem.wait);
    else if (problem instanceof Problem) this.fail(upload, problem);
    else if (problem instanceof Stopped) this.putBack([upload]);
    else this.fail(upload, new Problem(says("broken")));
    this.pump();
    if (problem && !(problem instanceof Problem || problem instanceof Stopped)) throw problem;
  }

  finish(upload) {
    this.done += 1;
    this.bytesDone += upload.file.size;
    this.whisper(says(rowOf(upload.key)?.matches(".checking") ? "checking" : "done", { name: upload.name }));
    const { idle, done, total } = this;
    if (idle && total > AT_ONCE) announce(says("allDone", { done, total: total + this.failed.size }));
  }

  fail(upload, problem) {
    this.failed.add(upload);
    this.bytes -= upload.file.size;
    upload.rejected = problem.rejected;
    if (!upload.rejected) upload.giveUp(); // what is rejected is shown again by a reload, until it is removed here
    upload.show("failed", problem.message, problem.status);
    announce(`${says("failed", { name: upload.name })}. ${problem.message}`);
    if (problem.status === 401) this.paused = this.waiting.length > 0; // the others would only fail as well
  }

  limit(upload, wait) {
    if (Date.now() > this.openAt) announce(says("limited", { seconds: Math.ceil(wait / 1000) }));
    this.openAt = Math.max(this.openAt, Date.now() + wait);
    this.putBack([upload]);
  }

  reopen() {
    this.openAt = 0;
    this.pump();
  }

  // To where they were, before all that came later.
  putBack(uploads) {
    for (const upload of uploads) {
      upload.giveUp();
      upload.show("waiting", says("waiting"));
    }
    this.waiting = this.waiting.concat(uploads).sort((one, other) => one.id - other.id);
  }

  pause() {
    this.paused = true;
    for (const upload of this.running) upload.stop();
    this.tick();
  }

  resume() {
    this.paused = false;
    this.pump();
  }

  retry(uploads) {
    for (const upload of uploads) {
      if (upload.status === 401) this.paused = false;
      this.failed.delete(upload);
      this.bytes += upload.file.size;
      upload.tries = 0;
    }
    this.putBack(uploads);
    this.pump();
  }

  // Cancels those that are under way.
  remove(uploads) {
    const leaving = new Set(uploads.filter(({ state }) => state !== "confirming"));
    this.waiting = this.waiting.filter((upload) => !leaving.has(upload));
    for (const upload of leaving) {
      upload.gone = true;
      if (!this.failed.delete(upload)) this.bytes -= upload.file.size;
      if (this.running.has(upload)) upload.stop();
      else upload.giveUp();
      upload.undraw();
    }
    this.pump();
  }

  // --- what is seen of it ---

  // A row for each that runs or failed and for the next that wait, however many there are.
  layout() {
    const [failed, moreFailed] = some([...this.failed], ROWS_FAILED);
    const [waiting, moreWaiting] = some(this.waiting, ROWS_WAITING);
    const shown = new Set([...failed, ...this.running, ...waiting].filter((upload) => !upload.gone));
    for (const row of list.querySelectorAll("[data-upload]")) {
      const upload = uploadOf(row);
      if (upload && !shown.has(upload)) upload.undraw();
    }
    if (!this.line.isConnected) list.prepend(this.line);
    for (const upload of shown) if (!upload.row?.isConnected) this.line.before(upload.draw());
    const more = [moreWaiting && says("moreWaiting", { count: moreWaiting }), moreFailed && says("moreFailed", { count: moreFailed })];
    this.line.textContent = more.filter(Boolean).join(" · ");
    this.line.hidden = !this.line.textContent;
  }

  tick() {
    for (const upload of this.running) upload.tick();
    this.pace.add(0);
    const { total, done, failed, waiting, running, bytes } = this;
    const sent = [...running].reduce((sum, upload) => sum + upload.sent, this.bytesDone);
    const percent = done === total ? 100 : Math.min(99, Math.floor((sent / Math.max(1, bytes)) * 100));
    const numbers = { percent, done, total, sent: humanSize(sent), bytes: humanSize(bytes) };
    document.title = this.idle ? title : `${says("title", numbers)} · ${title}`;

    const focused = bar.contains(document.activeElement);
    bar.hidden = this.idle && !failed.size;
    bar.querySelector("progress").hidden = this.idle;
    bar.querySelector("progress").value = percent;
    part(bar, "numbers").textContent = this.idle ? "" : says("queue", numbers);
    part(bar, "state").textContent = this.words(bytes - sent);
    act(bar, "pause").hidden = this.paused || this.idle;
    act(bar, "resume").hidden = !this.paused || this.idle;
    act(bar, "retry-all").hidden = !this.again.length;
    if (focused && focusIsLost(bar)) (bar.hidden ? chooser : bar.querySelector("button:not([hidden])")).focus();

    const quarter = Math.floor(percent / 25);
    if (total > AT_ONCE && quarter > this.quarter && quarter < 4) announce(says("title", numbers));
    this.quarter = quarter;
    this.moves = [...running].some(({ state }) => state !== "confirming") || (waiting.length && !this.paused);
    window[this.moves ? "addEventListener" : "removeEventListener"]("beforeunload", stay);
  }

  words(bytes) {
    const failed = this.failed.size ? [says("notUploaded", { count: this.failed.size })] : [];
    if (this.idle) return failed.join("");
    if ([...this.running].some(({ state }) => state === "offline")) return says("offline");
    if (this.paused) return says("paused");
    if (Date.now() < this.openAt) return says("limited", { seconds: inSeconds(this.openAt) });
    return [this.pace.left(bytes), ...failed].filter(Boolean).join(" · ");
  }

  // What is too much to be told of each of many files.
  whisper(sentence) { if (this.total <= AT_ONCE) announce(sentence); }
})();

// The first so many, and how many more there are; a line for one more would take as much room as itself.
const some = (uploads, most) => (uploads.length > most + 1 ? [uploads.slice(0, most), uploads.length - most] : [uploads, 0]);

const isTyping = (element) => element.matches("textarea, input:not([type=checkbox], [type=file])");

// Whether what had it within this element is hidden now.
const focusIsLost = (element) => !element.contains(document.activeElement) || document.activeElement.closest("[hidden]");

const uploadOf = (element) => uploadsByRow.get(element?.closest?.("[data-upload]"));

// --- where files come from -----------------------------------------------------------------------------------------------

const add = (files) => queue.add([...files].map((file) => new Upload(file, nameOf(file.webkitRelativePath) || file.name)));

// A path as a name, without its outermost folders where it is too long.
function nameOf(path) {
  const parts = path.split("/").filter(Boolean);
  while (parts.length > 1 && parts.join(" › ").length > NAME_LENGTH) parts.shift();
  return parts.join(" › ");
}

for (const input of [chooser, folderChooser]) {
  input.addEventListener("change", () => {
    add(input.files);
    input.value = ""; // the same file can be chosen again
  });
}

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
  // All at once: the browser forgets what was dropped when this returns.
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const dropped = items.map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  add(dropped.filter(({ entry, file }) => file && !entry?.isDirectory).map(({ file }) => file));
  for (const { entry } of dropped) if (entry?.isDirectory) addFolder(entry);
});

// A hundred files at a time, as browsers tell what is in a folder.
async function addFolder(folder) {
  const within = folder.createReader();
  try {
    for (;;) {
      const entries = await new Promise((resolve, reject) => within.readEntries(resolve, reject));
      if (!entries.length) return;
      const files = entries.filter((entry) => entry.isFile);
      const read = files.map((entry) => new Promise((resolve, reject) => entry.file(resolve, reject)));
      const found = await Promise.all(read);
      queue.add(found.map((file, place) => new Upload(file, nameOf(files[place].fullPath))));
      for (const entry of entries) if (entry.isDirectory) await addFolder(entry);
    }
  } catch {
    notify(says("folder", { name: folder.name }));
  }
}

// Spreadsheets copy a picture of a cell beside its text, which is what a field is to have.
document.addEventListener("paste", (event) => {
  const { files, types } = event.clipboardData;
  if (!files.length || (isTyping(event.target) && types.includes("text/plain"))) return;
  event.preventDefault();
  queue.add([...files].map((file) => new Upload(file, pastedName(file))));
});

// Browsers call every picture that was copied image.png.
function pastedName(file) {
  const [, extension] = file.name.match(/^image\.(\w+)$/) ?? [];
  if (!extension) return file.name;
  const two = (number) => String(number).padStart(2, "0");
  const now = new Date();
  const date = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join("-");
  const time = [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join(".");
  return `${says("screenshot", { date, time })}.${extension}`;
}

// --- what the person does, and what the server answers -------------------------------------------------------------------

// Puts the focus on the row that is behind `before` now, so that whoever acted on a row goes on from its place.
function focusBehind(before) {
  const row = before ? before.nextElementSibling : list.firstElementChild;
  (row?.querySelector("[autofocus], a:not([hidden]), button:not([hidden])") ?? chooser).focus();
}

const rowOf = (key) => [...list.children].find((row) => row.querySelector("[name=key]")?.value === key);
const isRejected = (xhr) => xhr.getResponseHeader("X-Code") === "rejected";

list.addEventListener("click", (event) => {
  const what = event.target.closest("[data-act]")?.dataset.act;
  const upload = uploadOf(event.target);
  if (!what || !upload) return;
  if (what === "retry") return queue.retry([upload]);
  const before = upload.row.previousElementSibling;
  queue.remove([upload]);
  focusBehind(before);
});

bar.addEventListener("click", (event) => {
  const what = event.target.closest("[data-act]")?.dataset.act;
  if (what === "pause") queue.pause();
  if (what === "resume") queue.resume();
  if (what === "retry-all") queue.retry(queue.again);
  if (what === "cancel-all") queue.remove(queue.all);
});

// Signing in again in another tab changes the token, and Django looks at a form's own before the header.
document.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-CSRFToken"] = csrfToken(); });
document.addEventListener("formdata", ({ formData }) => {
  if (formData.has("csrfmiddlewaretoken")) formData.set("csrfmiddlewaretoken", csrfToken());
});

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.isError || !detail.shouldSwap) return;
  const row = detail.elt.closest("#files > li");
  if (row?.contains(document.activeElement)) {
    const before = row.previousElementSibling;
    document.addEventListener("htmx:afterRequest", () => focusBehind(before), { once: true });
  }
});

// By what asked: the row of an upload may be gone from the page by now.
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  const asked = detail.requestConfig?.elt;
  uploadOf(asked)?.answered(detail.xhr, detail.successful);
  if (detail.successful || isRejected(detail.xhr)) settle(asked?.closest("#unfinished li"));
});

for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, ({ detail }) => {
    if (uploadOf(detail.elt)) return;
    if (looks(detail.elt)) return unanswered(detail);
    // The notice is behind a dialog, where nobody can go.
    const within = detail.elt.closest("dialog")?.querySelector("[role=alert]");
    if (within) within.textContent = answerOf(detail.xhr);
    else notify(answerOf(detail.xhr), detail.xhr.status === 401);
  });
}
document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (!uploadOf(detail.elt) && !looks(detail.elt)) notice.hidden = true; // that an upload goes on says nothing about it
});

// What was left unfinished is finished or discarded now.
function settle(row) {
  if (!row) return;
  const focused = row.contains(document.activeElement);
  const next = row.nextElementSibling ?? row.previousElementSibling;
  (next ? row : row.closest("#unfinished")).remove();
  if (focused) (next?.querySelector("button") ?? chooser).focus();
}

function answerOf(xhr) {
  const plain = xhr.getResponseHeader("Content-Type")?.startsWith("text/plain");
  return plain ? xhr.responseText : says("unreachable");
}

// --- files under their checks: each row asks how it stands, ever more seldom, and some of many in any one second -------------

const LOOK_EVERY = 1_000; // milliseconds
const LOOK_AT_LEAST = 5; // of these steps in one
const LOOKS_AT_ONCE = 8;

const looks = (element) => element.matches(".checking");
const turns = new WeakMap(); // of a row: how often it has asked, and for how many steps it does not
// A row that has come to its next step is another, and begins anew.
const turnOf = (row) => turns.get(row) ?? turns.set(row, { times: 0, wait: 0 }).get(row);

setInterval(() => {
  if (document.hidden) return;
  const rows = [...list.querySelectorAll(".checking:not(.htmx-request)")];
  for (const row of rows) turnOf(row).wait -= 1;
  const due = rows.filter((row) => turnOf(row).wait < 0).sort((a, b) => turnOf(a).wait - turnOf(b).wait);
  for (const row of due.slice(0, LOOKS_AT_ONCE)) {
    const turn = turnOf(row);
    turn.times += 1;
    turn.wait = Math.min(LOOK_AT_LEAST, Math.ceil(turn.times / 3)) - 1;
    htmx.trigger(row, "look");
  }
}, LOOK_EVERY);

// What does not answer is asked again, and no word of it. That somebody is signed out they are told once.
function unanswered({ elt, xhr }) {
  if (xhr.status === 404) elt.remove(); // another tab has cancelled it
  else if (xhr.status === 401 && notice.hidden) notify(answerOf(xhr), true);
}

document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const before = detail.requestConfig.elt;
  if (!looks(before)) return;
  const row = rowOf(before.querySelector("[name=key]").value);
  const name = before.querySelector(".name").textContent;
  if (row?.matches(".rejected")) announce(`${says("rejected", { name })}. ${part(row, "why").textContent}`);
  else if (row?.matches(".file") && list.querySelectorAll(".checking").length < AT_ONCE) announce(says("checked", { name }));
});

// --- leaving -------------------------------------------------------------------------------------------------------------

const stay = (event) => event.preventDefault();

// The browser asks before it knows that a download stays here; and one that ends at the sign-in would take the files with it.
document.addEventListener("click", ({ target }) => {
  const link = target.closest("a[href$='/download']");
  if (link) link.target = queue.moves ? "_blank" : "";
});

// What the bucket has is not lost with this page: the browser sends these after it is gone.
window.addEventListener("pagehide", () => {
  const { confirmUrl } = uploader.dataset;
  for (const { arrived, key } of queue.all) if (arrived) fetch(confirmUrl, { ...request({ key }), keepalive: true }).catch(() => {});
});

// === the list: search, selection, deletion with undo, names that are changed in place, dialogs =============================

const files = document.querySelector("#files");
const filter = document.querySelector("#filter");
const selection = document.querySelector("#selection");
const selectAll = document.querySelector("#select-all");
const toast = document.querySelector("#toast");

const TYPED_FOR = 200; // milliseconds without a key, after which the search goes off
const DOWNLOADS_APART = 400; // milliseconds; browsers drop downloads that are started at one moment
const UNDO_FOR = 10_000; // milliseconds, as TRASH_LIVES in uploadkit/settings.py

// --- what is asked for: the address bar has it, so that Back, reload and a bookmark work

function address() {
  const asked = new URLSearchParams([...new FormData(filter)].filter(([name, value]) => value.trim() && !(name === "sort" && value === "newest")));
  return `${location.pathname}${asked.size ? "?" : ""}${asked}`;
}

const here = () => location.pathname + location.search;
const arrived = new Set(); // keys of what was uploaded since the list was last asked for, whose answer may not know them
let shown = here(); // whose answer the list has: where it failed, what is asked for is not what is shown

// Uploads that are under way stay where they are.
function show(where) {
  arrived.clear();
  htmx.ajax("GET", where, { source: filter, target: files, swap: "beforeend settle:0ms" }).catch(() => {});
}

function search() {
  const where = address();
  if (where !== here()) history.pushState(null, "", where);
  if (where !== shown) show(where);
}

let typed;
filter?.addEventListener("input", (event) => {
  clearTimeout(typed);
  typed = setTimeout(search, event.target.type === "search" ? TYPED_FOR : 0);
});
filter?.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typed); search(); });

window.addEventListener("popstate", () => {
  if (!filter) return;
  const asked = new URLSearchParams(location.search);
  for (const field of filter.querySelectorAll("[name]")) field.value = asked.get(field.name) ?? (field.name === "sort" ? "newest" : "");
  if (here() !== shown) show(here()); // it comes for a mere #main too
});

// Of two searches the later counts, whichever is answered first.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.requestConfig.elt !== filter || detail.isError) return;
  if (detail.pathInfo.requestPath !== here()) return void (detail.shouldSwap = false);
  shown = here();
  for (const row of files.querySelectorAll(":scope > :is(.file, .more, .empty)")) {
    if (!arrived.has(row.querySelector("[name=key]")?.value)) row.remove();
  }
});
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const { elt, path, formData } = detail.requestConfig;
  if (path.endsWith("/confirm")) arrived.add(formData.get("key"));
  if (looks(elt)) arrived.add(elt.querySelector("[name=key]").value);
  once();
  selected();
  if (elt === filter) announce(found());
});

function found() {
  const empty = files.querySelector(":scope > .empty:not([hidden])");
  const count = boxes().length;
  if (empty && !count) return empty.firstChild.textContent.trim();
  const { saysOne, saysMany, saysMore } = filter.dataset;
  if (files.querySelector(":scope > .more")) return fill(saysMore, { count });
  return count === 1 ? saysOne : fill(saysMany, { count });
}

// What was uploaded since is on top, and comes again in its place.
function once() {
  const keys = new Set();
  for (const box of files.querySelectorAll(".file > [name=key]")) {
    if (keys.has(box.value)) box.closest(".file").remove();
    keys.add(box.value);
  }
}

// --- selection

const boxes = () => [...files.querySelectorAll(".file:not([hidden]) > [name=key]")];
const chosen = () => boxes().filter((box) => box.checked);

function selected() {
  const [all, some] = [boxes().length, chosen().length];
  const count = part(selection, "count");
  count.textContent = some === 1 ? count.dataset.saysOne : count.dataset.saysMany.replace("%s", some);
  if (!selectAll) return;
  selectAll.checked = all > 0 && some === all;
  selectAll.indeterminate = some > 0 && some < all;
  selectAll.disabled = all === 0;
}

function choose() {
  selected();
  announce(part(selection, "count").textContent);
}

let last;
files.addEventListener("click", (event) => {
  const box = event.target.closest(".file > [name=key]");
  if (!box) return;
  const all = boxes();
  const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
  if (event.shiftKey && from >= 0) for (const between of all.slice(from, to + 1)) between.checked = box.checked;
  last = box;
  choose();
});
selectAll?.addEventListener("change", () => {
  for (const box of boxes()) box.checked = selectAll.checked;
  choose();
});
selection.addEventListener("reset", () => setTimeout(choose));
selection.addEventListener("submit", (event) => {
  event.preventDefault();
  trash(chosen().map((box) => box.closest(".file")));
});
selection.querySelector("[data-do=download]").addEventListener("click", async () => {
  // Or a session that ended would save the page to sign in, once for every file.
  const { filesUrl } = uploader.dataset;
  const there = await fetch(`${filesUrl}${chosen()[0].value}/row`, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!there?.ok) return notify(there ? await there.text() : says("unreachable"), there?.status === 401);
  for (const box of chosen()) {
    const link = document.createElement("a");
    [link.href, link.download] = [`${filesUrl}${box.value}/download`, ""];
    link.click();
    await new Promise((resolve) => { setTimeout(resolve, DOWNLOADS_APART); });
  }
});

// --- deletion: the rows go at once and come back if it fails, or is undone

let trashed = []; // rows of the last deletion
let answered = false; // it, by the site
let regretted = false; // it, before there was a button for that

async function trash(rows) {
  forget();
  trashed = rows;
  for (const row of rows) row.hidden = true;
  focusBeside(rows);
  selected();
  const key = rows.map(keyOf);
  await htmx.ajax("POST", selection.action, { source: toast, target: toast, swap: "innerHTML", values: { key } }).catch(() => {});
}

// On the file behind them, or before.
function focusBeside(rows) {
  const rest = boxes();
  const behind = (box) => rows[0]?.compareDocumentPosition(box) & Node.DOCUMENT_POSITION_FOLLOWING;
  (rest.find(behind) ?? rest.at(-1) ?? chooser).focus();
}

let over;
function forget() {
  clearTimeout(over);
  if (toast.contains(document.activeElement)) focusBeside(trashed); // or it goes with "Undo"
  if (answered) for (const row of trashed) row.remove();
  [trashed, answered, regretted] = [[], false, false];
  toast.replaceChildren();
}

const keyOf = (row) => row.querySelector("[name=key]").value;
const keysOf = ({ requestConfig }) => new Set(requestConfig.formData.getAll("key"));
const rowsOf = (keys) => [...files.querySelectorAll(".file:has(> [name=key])")].filter((row) => keys.has(keyOf(row)));

function bringBack(keys) {
  const back = rowsOf(keys);
  for (const row of back) {
    row.hidden = false;
    row.querySelector("[name=key]").checked = false;
  }
  trashed = trashed.filter((row) => row.hidden);
  if (filter && back.length < keys.size) show(here()); // a search took them from the page, or the next deletion did
  (back[0]?.querySelector("a") ?? filter?.elements.q ?? chooser).focus();
  selected();
}

// "Undo" is for the last deletion, also while an earlier one is answered.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.requestConfig.elt !== toast || detail.isError) return;
  const keys = keysOf(detail);
  detail.shouldSwap = trashed.some((row) => keys.has(keyOf(row)));
  if (!detail.shouldSwap) for (const row of rowsOf(keys)) row.remove();
});
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (detail.target !== toast) return;
  htmx.process(toast); // as HTMX does 20 ms later; until then a click would leave the page
  answered = true;
  if (detail.requestConfig.path.endsWith("/restore")) bringBack(keysOf(detail));
  clearTimeout(over);
  over = setTimeout(forget, UNDO_FOR);
  if (regretted) undo();
});
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, ({ detail }) => { if (detail.elt === toast) bringBack(keysOf(detail)); });
}
function undo() {
  const button = toast.querySelector("button");
  regretted = !button;
  button?.click();
}
files.addEventListener("click", (event) => {
  const link = event.target.closest("[data-do=trash]");
  if (!link) return;
  event.preventDefault();
  trash([link.closest(".file")]);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "z" && (event.ctrlKey || event.metaKey) && !isTyping(event.target) && trashed.length) {
    event.preventDefault(); // or the browser takes back what was typed into the search as well
    undo();
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
  const field = copy.closest("li, p").querySelector("input");
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
  const name = event.target.closest(".file > :is(a.name, .picture)")?.parentElement.querySelector("a.name");
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
