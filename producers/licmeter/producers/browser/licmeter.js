/**
 * Counts how the licensed features of a web application are used, and reports it to a licmeter gateway.
 *
 * Theory of operation. A report is one record from its first count to its confirmation: it has its id when its slot
 * gets the first unit, is written to IndexedDB a moment later, grows while its slot lasts (`open`), and is then only
 * read, sent, and removed when the gateway has confirmed it. Nothing is ever copied from a tally into a report, so no
 * crash and no second tab can make two out of one. Whatever is sent twice has the same id, and the server counts it
 * once. A page holds a Web Lock named after its session: an open record whose session holds none was left by a page
 * that died, and whoever comes next sends it as it stands.
 *
 * Only counts leave the page: no content, no address of a page, no name of a person.
 */

const REPORT_TYPE = "license.usage.report.v1";
const SLOT_MS = 180_000; // domain, T2: slots are absolute, as no leap second exists in POSIX time
const KEEP_MS = 30 * 86_400_000; // domain, L3; the server takes nothing older
const FEATURES_MAX = 64; // of a report: domain, section 14
const COUNT_MAX = 1_000_000; // of a feature in a report: beyond it the server takes it for a fault
const TEXT_MAX = 128; // characters of a feature, a product, a client UUID
const SPOOL_REPORTS_MAX = 20_000; // 30 days of one tab are 14,400
const SPOOL_BYTES_MAX = 16 * 1024 * 1024;
const UNSAVED_MAX = 1_000; // reports in memory while the store does not answer
const SAVE_DELAY_MS = 250; // what a crash may cost
const BATCH_MAX = 500;
const BEACON_BYTES_MAX = 60 * 1024; // browsers refuse more than 64 KiB under way
const ABANDONED_MS = 2 * SLOT_MS; // without Web Locks: its page would have closed the record long ago
const HOLD_MS = 900_000; // until a report that came from the future is tried again
const RETRY_AFTER_MS = 5_000; // where the server does not say
const RETRY_AFTER_MS_MAX = 3_600_000;
const REQUEST_MS_MAX = 30_000;
const TURN_MS_MAX = 60_000; // for another tab to finish sending; then both send, and the server sees one report
const OPEN_MS_MAX = 5_000; // some browsers never answer when storage is broken
const SCANS_MAX = 1_000;
const SCAN_CHARS_MAX = 16_384; // no symbology holds as much
const AUTHORIZE_TRIES = 3;
const AUTHORIZE_WAIT_MS_MAX = 10_000;
const BATCH_TYPE = "application/cloudevents-batch+json";
const NOT_NOW = ["future_slot", "clock_skew"]; // refusals that end when the clock is right again

const slotOf = (ms) => Math.floor(ms / SLOT_MS) * SLOT_MS;
const encoder = new TextEncoder();
const bytesOf = (value) => encoder.encode(JSON.stringify(value)).length;
const unitsOf = (records) =>
  records.reduce((sum, each) => sum + Object.values(each.event.data.counts).reduce((a, b) => a + b, 0), 0);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A text that JSON can carry: a lone surrogate would spoil the whole batch. */
const isText = (value, max = TEXT_MAX) =>
  typeof value === "string" && value.length > 0 && value.length <= max && !/\p{Surrogate}/u.test(value);

/** `crypto.randomUUID` exists on https only. */
function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Seconds or a date, as HTTP has both; bounded, since a server's typing mistake must not silence a client. */
function retryAfterMs(response) {
  const text = response.headers.get("retry-after");
  const ms = /^[\d.]+$/.test(text ?? "") ? Number(text) * 1000 : Date.parse(text ?? "") - Date.now();
  return Number.isNaN(ms) ? RETRY_AFTER_MS : Math.min(Math.max(ms, 0), RETRY_AFTER_MS_MAX);
}

/** Failure of `authorize()`: the status (0 = no answer), and what the gateway says about it. */
export class LicmeterError extends Error {
  constructor(message, status, problem) {
    super(message);
    Object.assign(this, { name: "LicmeterError", status, problem });
  }
}

// ---- Where reports rest -------------------------------------------------------------------------------------------

const answered = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** The spool in IndexedDB: `reports` by id, and in `about` the device, what was dropped, local licenses. */
class DiskStore {
  kind = "indexeddb";

  static async open(name) {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("reports", { keyPath: "id" });
      request.result.createObjectStore("about");
    };
    const late = pause(OPEN_MS_MAX).then(() => Promise.reject(new Error("IndexedDB does not answer")));
    const db = await Promise.race([answered(request), late]);
    db.onversionchange = () => db.close();
    return new DiskStore(db);
  }

  constructor(db) {
    this.db = db;
  }

  /** Return what is kept under a name; made now, in the same transaction, if nothing is. */
  async about(name, make) {
    const about = this.db.transaction("about", make ? "readwrite" : "readonly").objectStore("about");
    const kept = await answered(about.get(name));
    if (kept !== undefined || !make) return kept;
    const made = make();
    await answered(about.put(made, name));
    return made;
  }

  read() {
    return answered(this.db.transaction("reports").objectStore("reports").getAll());
  }

  /** All or nothing. Without `dropped` nothing is read, so that it also ends while the page is going away. */
  change({ put = [], remove = [], dropped, about = {} }) {
    return new Promise((resolve, reject) => {
      const transaction = this.db.transaction(["reports", "about"], "readwrite");
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
      const [reports, facts] = ["reports", "about"].map((name) => transaction.objectStore(name));
      for (const record of put) reports.put(record);
      for (const id of remove) reports.delete(id);
      for (const [name, value] of Object.entries(about)) facts.put(value, name);
      if (!dropped) return transaction.commit?.();
      const request = facts.get("dropped");
      request.onsuccess = () => facts.put(plus(request.result, dropped), "dropped");
    });
  }

  close() {
    this.db.close();
  }
}

/** The same for as long as the page lives. */
class MemoryStore {
  kind = "memory";
  facts = new Map();
  reports = new Map();

  async about(name, make) {
    if (make && !this.facts.has(name)) this.facts.set(name, make());
    return this.facts.get(name);
  }

  async read() {
    return [...this.reports.values()];
  }

  async change({ put = [], remove = [], dropped, about = {} }) {
    for (const record of put) this.reports.set(record.id, record);
    for (const id of remove) this.reports.delete(id);
    for (const [name, value] of Object.entries(about)) this.facts.set(name, value);
    if (dropped) this.facts.set("dropped", plus(this.facts.get("dropped"), dropped));
  }
}

function plus(kept, more) {
  const sum = (name) => Math.max(0, (kept?.[name] ?? 0) + more[name]); // two tabs may have said the same
  return { reports: sum("reports"), units: sum("units") };
}

// ---- The client ---------------------------------------------------------------------------------------------------

export class UsageClient {
  #options;
  #session = newId();
  #device; // client UUID, known when the store is open
  #store = null;
  #locks = globalThis.navigator?.locks ?? null; // null on plain http, and where storage is denied
  #letGo = () => {}; // ends this session's lock
  #ready; // settles when the store is open and this session counts as alive
  #open = null; // the record of the current slot
  #unsaved = new Set(); // records that the store does not have as they are
  #lost = { reports: 0, units: 0 }; // dropped, and not yet written down
  #known = new Map(); // closed records for a beacon, which must be at hand without waiting
  #tried = new Map(); // report id -> when this session may try it again
  #notBefore = 0; // what the server asked for with Retry-After
  #batchMax = BATCH_MAX;
  #left = 0; // closed records that the last pass left, or has not come to yet
  #turn = Promise.resolve(); // passes run one after another
  #saveTimer = null;
  #passTimer = null;
  #scans = new Map(); // what was scanned -> when last seen, the latest last
  #items = new Map();
  #awake = false; // whether this session's lock is held, so that others leave its open record alone
  #closed = false;
  #warned = new Set();
  #stats = {
    recorded: 0, misused: 0, accepted: 0, rejected: 0, failures: 0,
    droppedReports: 0, droppedUnits: 0, lastProblem: null,
  }; // prettier-ignore
  #listeners = [
    ["visibilitychange", () => document.visibilityState === "hidden" && this.#save(), globalThis.document],
    ["pagehide", () => void this.#leave(), globalThis],
    ["pageshow", (event) => event.persisted && this.#begin(this.#hold()), globalThis],
  ];

  /** Begin a session: opens the spool and sends what earlier ones left. Throws `TypeError` for wrong options. */
  constructor(options) {
    this.#options = checkedOptions(options);
    for (const [name, listener, target] of this.#listeners) target?.addEventListener?.(name, listener);
    this.#begin(this.#start());
  }

  /** Count successful operations of a feature, now. Never throws: misuse is counted, and said once. */
  record(feature, count = 1) {
    try {
      if (this.#closed) this.#misuse("nothing is recorded after close()");
      else if (!isText(feature)) this.#misuse(`a feature is a text of 1 to ${TEXT_MAX} characters`);
      else if (!Number.isInteger(count) || count < 0 || count > COUNT_MAX)
        this.#misuse(`a count is an integer from 0 to ${COUNT_MAX}`);
      else if (count > 0) this.#add(feature, count); // no operation, no report (L1)
    } catch (error) {
      this.#warn("broken", `a use could not be recorded: ${error?.name}`);
    }
  }

  /**
   * Count a scan, unless the same symbology and content was seen less than `scanWindowMs` ago (domain, L6).
   * Returns whether it was counted. The content stays in memory until the window has passed, and goes nowhere.
   */
  recordScan(symbology, content) {
    try {
      const bytes = content instanceof Uint8Array;
      if (!isText(symbology) || !(bytes || typeof content === "string") || content.length > SCAN_CHARS_MAX) {
        this.#misuse("a scan is a symbology, and its content as text or Uint8Array");
        return false;
      }
      const key = `${symbology.length} ${symbology} ${bytes ? `bytes ${content.join()}` : `text ${content}`}`;
      const now = performance.now(); // a wall clock may be set back
      const seen = this.#scans.get(key);
      this.#scans.delete(key);
      this.#scans.set(key, now);
      this.#forgetScans(now);
      if (seen !== undefined && now - seen < this.#options.scanWindowMs) return false;
      this.record(symbology);
      return !this.#closed;
    } catch (error) {
      this.#warn("broken", `a scan could not be recorded: ${error?.name}`);
      return false;
    }
  }

  /**
   * Send all that is kept, the current slot included, whether it failed before or not. Never rejects; what could not
   * be confirmed stays.
   */
  async flush() {
    const { accepted, rejected } = this.#stats;
    await this.#ready;
    const left = await this.#pass(true);
    return { accepted: this.#stats.accepted - accepted, rejected: this.#stats.rejected - rejected, left };
  }

  /**
   * Ask for leave to run. Resolves to the gateway's answer, granted or not. When the gateway cannot answer, a local
   * license that was granted before and has not ended is the answer (`cached`). Rejects with `LicmeterError` otherwise.
   */
  async authorize({ feature, chargeWay = "auto", requestedInstances } = {}) {
    await this.#ready;
    const { projectId, product, version, edition, deploymentType, validation, instances } = this.#options;
    const asked = {
      client_uuid: this.#device, project_id: projectId, product, version, edition, deployment_type: deploymentType,
      charge_way: chargeWay, feature, requested_instances: requestedInstances ?? instances ?? 1, validation,
    }; // prettier-ignore
    const name = `license ${JSON.stringify([this.#options.url, this.#options.licenseKey, asked])}`;
    try {
      const answer = await this.#askForLeave(asked);
      for (const item of answer.items ?? []) this.#items.set(item.item_id, item);
      await this.#write({ about: { [name]: answer.granted ? answer : null } });
      return answer;
    } catch (error) {
      const kept = await this.#store.about(name).catch(() => null);
      const unanswered = error.status === 0 || error.status >= 500 || error.status === 429;
      if (unanswered && kept && Date.parse(kept.local_expires_at) > Date.now()) return { ...kept, cached: true };
      throw error;
    }
  }

  /** The license items that the last answers named, as they stood then. */
  get items() {
    return [...this.#items.values()];
  }

  /** What this session did so far. */
  get stats() {
    const openUnits = this.#open ? unitsOf([this.#open]) : 0;
    const storage = this.#store?.kind ?? null;
    return { ...this.#stats, openUnits, keptReports: this.#left, clientUuid: this.#device ?? null, storage };
  }

  /** End the session as a closed page does: what is open is kept, and sent by a beacon. Resolves when it is kept. */
  async close() {
    if (this.#closed) return;
    this.#closed = true;
    for (const [name, listener, target] of this.#listeners) target?.removeEventListener?.(name, listener);
    await this.#ready;
    await this.#leave();
    void this.#turn.then(() => this.#store.close?.()); // a request that is under way may still end
  }

  // ---- Counting

  #add(feature, count) {
    const slot = slotOf(Date.now());
    const counts = this.#open?.event.data.counts;
    const fits =
      this.#open?.slot === slot &&
      (counts[feature] ?? 0) + count <= COUNT_MAX &&
      (feature in counts || Object.keys(counts).length < FEATURES_MAX);
    if (!fits) this.#close();
    this.#open ??= this.#newRecord(slot);
    const into = this.#open.event.data.counts;
    into[feature] = (into[feature] ?? 0) + count;
    this.#stats.recorded += count;
    this.#unsaved.add(this.#open);
    this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_DELAY_MS);
  }

  #newRecord(slot) {
    const { projectId, product, version, edition, deploymentType, instances, validation, licenseKey } = this.#options;
    const counts = Object.create(null); // a feature may be called __proto__
    const data = { counts, product, version, edition, deployment_type: deploymentType, instances, validation };
    for (const name of Object.keys(data)) if (data[name] == null) delete data[name];
    const id = newId();
    const time = new Date(slot).toISOString();
    const event = { specversion: "1.0", type: REPORT_TYPE, id, source: this.#device, time, data };
    if (projectId) event.subject = projectId;
    return { id, slot, key: licenseKey, session: this.#session, open: true, tries: 0, event };
  }

  /** Close the record of the slot: from now on it is only read. */
  #close() {
    const record = this.#open;
    this.#open = null;
    if (!record) return;
    record.open = false;
    if (this.#unsaved.size <= UNSAVED_MAX || record.bytes) {
      this.#unsaved.add(record);
      this.#known.set(record.id, record);
    } else {
      // Only a loop over ever new features comes here.
      this.#unsaved.delete(record);
      this.#lost = plus(this.#lost, this.#countDropped([record]));
    }
  }

  #forgetScans(now) {
    for (const [key, seen] of this.#scans) {
      const recent = now - seen < this.#options.scanWindowMs;
      if (recent && this.#scans.size <= SCANS_MAX) break;
      if (recent) this.#warn("scans", `more than ${SCANS_MAX} scans within the window; the oldest are forgotten`);
      this.#scans.delete(key);
    }
  }

  // ---- Keeping

  /** Begin, or come back from where the browser kept the page: send what is left as soon as all is ready. */
  #begin(ready) {
    this.#ready = ready;
    void ready.then(() => this.#pass(false));
  }

  async #start() {
    try {
      this.#store = await DiskStore.open(this.#options.store);
      this.#device = await this.#store.about("device", newId);
    } catch (error) {
      this.#loseDisk(error);
      this.#device = newId();
    }
    this.#device = this.#options.clientUuid ?? this.#device;
    await this.#hold();
  }

  #loseDisk(error) {
    if (this.#store?.kind === "memory") return;
    this.#store = new MemoryStore();
    this.#warn("memory", `no IndexedDB (${error?.name}): reports are kept only as long as this page lives`);
  }

  /** Show that this session is alive. */
  #hold() {
    return new Promise((resolve) => {
      const awake = () => {
        this.#awake = true;
        resolve();
      };
      if (!this.#locks) return awake();
      const held = () => {
        awake();
        return this.#closed ? undefined : new Promise((letGo) => (this.#letGo = letGo));
      };
      this.#locks.request(lockName(this.#session), held).catch(() => {
        this.#locks = null;
        awake();
      });
    });
  }

  /** Write what the store does not have. Its work is handed over before this returns, as a dying page needs it. */
  #save() {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = null;
    const put = [...this.#unsaved];
    if (!this.#device || (this.#open && !this.#awake)) return this.#ready.then(() => this.#save());
    if (!put.length && !this.#lost.reports) return Promise.resolve();
    this.#unsaved.clear();
    for (const record of put) {
      record.event.source ??= this.#device;
      record.bytes = bytesOf(record.event);
    }
    const dropped = this.#lost.reports ? this.#lost : undefined;
    this.#lost = { reports: 0, units: 0 };
    return this.#write({ put, dropped });
  }

  /** Change the store; when the disk refuses, all goes on in memory. */
  async #write(change) {
    try {
      await this.#store.change(change);
    } catch (error) {
      this.#loseDisk(error);
      await this.#store.change({ ...change, put: [...this.#known.values(), ...(change.put ?? [])] });
    }
  }

  /** The page goes, perhaps for ever: nothing may be waited for before the beacon is away. */
  #leave() {
    clearTimeout(this.#passTimer);
    this.#close();
    const saved = this.#save();
    this.#sendBeacon();
    this.#awake = false;
    return saved.finally(() => this.#letGo()); // also lets the browser keep the page for "back"
  }

  async #drop(records) {
    if (!records.length) return;
    await this.#forget(records.map(({ id }) => id), this.#countDropped(records));
  }

  #countDropped(records) {
    const dropped = { reports: records.length, units: unitsOf(records) };
    this.#stats.droppedReports += dropped.reports;
    this.#stats.droppedUnits += dropped.units;
    this.#warn("dropped", "reports were dropped: too old, too many, or too large; see stats");
    return dropped;
  }

  #forget(ids, dropped) {
    for (const id of ids) {
      this.#known.delete(id);
      this.#tried.delete(id);
    }
    this.#left = Math.max(0, this.#left - ids.length);
    return this.#write({ remove: ids, dropped });
  }

  // ---- Sending

  /** Send in turn, one tab at a time; then wait for the next time. Resolves to how many reports are left. */
  #pass(everything) {
    clearTimeout(this.#passTimer);
    const work = async () => {
      try {
        return await this.#sendDue(everything);
      } catch (error) {
        this.#warn("pass", `reports could not be sent: ${error}`);
        return this.#known.size;
      }
    };
    const inTurn = () => {
      if (!this.#locks) return work();
      const signal = AbortSignal.timeout(TURN_MS_MAX);
      return this.#locks.request(lockName(this.#options.store), { signal }, work).catch(work);
    };
    this.#turn = this.#turn.then(inTurn);
    void this.#turn.then(() => this.#waitForNext());
    return this.#turn;
  }

  #waitForNext() {
    clearTimeout(this.#passTimer);
    if (this.#closed) return;
    const asked = this.#notBefore - Date.now();
    this.#passTimer = setTimeout(() => this.#pass(false), asked > 0 ? asked : this.#options.submitIntervalMs);
  }

  async #sendDue(everything) {
    const now = Date.now();
    if (everything || this.#open?.slot !== slotOf(now)) this.#close();
    this.#forgetScans(performance.now());
    await this.#save();
    const records = await this.#closedRecords(now);
    if (now < this.#notBefore) return this.#left;
    const groups = new Map();
    for (const record of records) {
      if (!everything && (this.#tried.get(record.id) ?? 0) > now) continue;
      const key = this.#keyFor(record);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(record);
    }
    for (const [key, queue] of groups) if (!(await this.#sendQueue(key, queue))) break;
    return this.#left;
  }

  /** Reports of a page whose key was another one belong to that key's project, unless they name ours. */
  #keyFor({ key, event }) {
    const { projectId, licenseKey } = this.#options;
    return projectId && event.subject === projectId ? licenseKey : key;
  }

  /** All records that nobody adds to any more, oldest first; what is beyond the bounds is dropped. */
  async #closedRecords(now) {
    const alive = this.#locks && new Set((await this.#locks.query()).held.map(({ name }) => name));
    const isDead = ({ session, slot }) =>
      alive ? !alive.has(lockName(session)) : slot + SLOT_MS + ABANDONED_MS < now;
    const records = (await this.#store.read())
      .filter((record) => !record.open || (record.session !== this.#session && isDead(record)))
      .sort((a, b) => a.slot - b.slot);
    let [bytes, first] = [records.reduce((sum, record) => sum + record.bytes, 0), 0];
    const { spoolReportsMax, spoolBytesMax } = this.#options;
    const isTooMuch = () => records.length - first > spoolReportsMax || bytes > spoolBytesMax;
    while (first < records.length && (records[first].slot + SLOT_MS + KEEP_MS < now || isTooMuch()))
      bytes -= records[first++].bytes;
    await this.#drop(records.splice(0, first));
    this.#left = records.length;
    this.#remember(records);
    return records;
  }

  #remember(records) {
    let bytes = 0;
    this.#known.clear();
    for (const record of records) {
      bytes += record.bytes;
      if (bytes > BEACON_BYTES_MAX) break;
      this.#known.set(record.id, record);
    }
    for (const record of this.#unsaved) if (!record.open) this.#known.set(record.id, record); // closed meanwhile
  }

  /** Send the reports of one key, batch by batch. Returns whether it is worth trying another key. */
  async #sendQueue(key, queue) {
    let size = this.#batchMax;
    while (queue.length) {
      const batch = queue.slice(0, size);
      const dropped = await this.#store.about("dropped");
      const events = batch.map((record, place) => outgoing(record, place === 0 && dropped));
      const answer = await this.#request("/v1/events", BATCH_TYPE, events, key);
      const results = [202, 403, 422].includes(answer.status) ? answer.body?.results : null;
      if (results?.length === batch.length) await this.#settle(batch, results, dropped);
      else if ([400, 413, 422].includes(answer.status)) {
        if (batch.length > 1) {
          // Too large, or one of them spoils it.
          size = Math.ceil(batch.length / 2);
          if (answer.status === 413) this.#batchMax = size;
          continue;
        }
        await this.#drop(batch);
      } else if ([429, 503].includes(answer.status)) {
        this.#notBefore = Date.now() + answer.waitMs; // no failure: all stay due
        return false;
      } else {
        await this.#fail(queue, batch);
        return answer.status !== 0;
      }
      queue.splice(0, batch.length);
      size = Math.min(size * 2, this.#batchMax);
    }
    return true;
  }

  /** Do what the server decided about each report of a batch. */
  async #settle(batch, results, dropped) {
    const [done, now] = [[], Date.now()];
    let said;
    batch.forEach((record, place) => {
      const { id, outcome, reason, items = [] } = results[place];
      for (const item of items) this.#items.set(item.item_id, item);
      if (id !== record.id || !["accepted", "rejected"].includes(outcome)) this.#tried.set(record.id, Infinity);
      else if (outcome === "rejected" && NOT_NOW.includes(reason)) {
        this.#tried.set(record.id, now + HOLD_MS);
        this.#known.delete(record.id);
        this.#warn(reason, `${reason}: the clock of this device is wrong; its reports are kept until it is right`);
      } else {
        done.push(record.id);
        this.#stats[outcome] += 1;
        if (outcome === "rejected") this.#warn("rejected", `the gateway rejected a report: ${reason}`);
        else if (place === 0 && dropped?.reports) said = { reports: -dropped.reports, units: -dropped.units };
      }
    });
    await this.#forget(done, said);
  }

  /** Keep all that was to be sent, for the next session (L3) or the next turn. */
  #fail(queue, batch) {
    if (!this.#options.retryInSession) for (const { id } of queue) this.#tried.set(id, Infinity);
    for (const record of batch) record.tries += 1;
    return this.#write({ put: batch });
  }

  async #askForLeave(asked) {
    let request = { ...asked, auth_id: newId(), at: new Date().toISOString() };
    for (let tries = 1; ; tries += 1) {
      const { status, body, waitMs } = await this.#request("/v1/authorizations", "application/json", request);
      if (status === 200 && body) return body;
      if (tries === AUTHORIZE_TRIES || ![0, 409, 429, 503].includes(status))
        throw new LicmeterError(body?.detail ?? body?.title ?? `no answer (${status})`, status, body);
      if (status === 409) request = { ...request, auth_id: newId() };
      else await pause(Math.min(waitMs, AUTHORIZE_WAIT_MS_MAX));
    }
  }

  /** Ask the gateway. Never rejects: status 0 is no answer. */
  async #request(path, type, content, key = this.#options.licenseKey) {
    const { url, licenseKey, sessionPassword } = this.#options;
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": type };
    if (sessionPassword && key === licenseKey) headers["Licmeter-Session-Password"] = sessionPassword;
    const init = { method: "POST", headers, body: JSON.stringify(content), keepalive: false, cache: "no-store" };
    let answer = { status: 0, body: null, waitMs: 500 };
    try {
      const signal = AbortSignal.timeout(REQUEST_MS_MAX);
      const response = await fetch(url + path, { ...init, credentials: "omit", referrerPolicy: "no-referrer", signal });
      answer = { status: response.status, body: null, waitMs: retryAfterMs(response) };
      answer.body = await response.json();
    } catch {
      // No answer, half of one, or one that is no JSON: `answer` says how far it came.
    }
    if (answer.body && answer.status >= 200 && answer.status < 300) return answer;
    const { title, detail } = answer.body ?? {};
    this.#stats.failures += 1;
    this.#stats.lastProblem = { status: answer.status, title: title ?? "no answer", detail: detail ?? "" };
    if ([401, 403].includes(answer.status)) this.#warn("key", `the gateway refuses the key: ${detail ?? title}`);
    return answer;
  }

  /** The last chance before the page is gone. The answer is never seen, so everything stays, and is sent again. */
  #sendBeacon() {
    const { licenseKey, sessionPassword } = this.#options;
    // A beacon has no headers, so the key goes into the address, and a session password nowhere.
    if (!this.#device || sessionPassword || !navigator.sendBeacon || Date.now() < this.#notBefore) return;
    const events = [];
    let bytes = 2;
    for (const record of [...this.#known.values()].sort((a, b) => a.slot - b.slot)) {
      if (this.#keyFor(record) !== licenseKey) continue;
      const event = outgoing(record);
      bytes += bytesOf(event) + 1;
      if (bytes > BEACON_BYTES_MAX) break;
      events.push(event);
    }
    if (!events.length) return;
    const body = new Blob([JSON.stringify(events)], { type: "text/plain" }); // this type needs no preflight
    navigator.sendBeacon(`${this.#options.url}/v1/events?license_key=${encodeURIComponent(licenseKey)}`, body);
  }

  // ---- Saying

  #misuse(message) {
    this.#stats.misused += 1;
    this.#warn("misuse", `${message}; this call was not counted`);
  }

  #warn(kind, message) {
    if (this.#warned.has(kind)) return;
    this.#warned.add(kind);
    globalThis.console?.warn(`licmeter: ${message}`);
  }
}

const lockName = (name) => `licmeter ${name}`;

/** A record's event as it is sent now; `dropped` is said with it. */
function outgoing({ event, tries }, dropped) {
  const data = { ...event.data, sent_at: new Date().toISOString(), attempt: tries + 1 };
  if (dropped?.reports) Object.assign(data, { dropped_reports: dropped.reports, dropped_units: dropped.units });
  return { ...event, data };
}

const isPositive = (value) => Number.isFinite(value) && value > 0;
const isHeader = (value) => typeof value === "string" && /^[\x20-\x7e]{1,1024}$/.test(value);
const CHECKS = {
  licenseKey: isHeader, sessionPassword: isHeader,
  product: isText, version: isText, edition: isText, deploymentType: isText,
  projectId: isText, clientUuid: isText, store: isText,
  instances: (value) => Number.isInteger(value) && value > 0 && value <= COUNT_MAX,
  validation: ({ kind, value }) => isText(kind, 32) && isText(value, 256),
  submitIntervalMs: (value) => isPositive(value) && value < 2 ** 31, // what a timer takes
  scanWindowMs: isPositive, spoolReportsMax: isPositive, spoolBytesMax: isPositive,
  retryInSession: (value) => typeof value === "boolean",
}; // prettier-ignore

/** Fill in what was not given, and say all that is wrong at once: a server would reject every report because of it. */
function checkedOptions(given) {
  const { hostname, href } = globalThis.location ?? {};
  const options = {
    deploymentType: "browser",
    // Only what names its host can draw on an item per domain, and a key in a web page is bound by nothing else (6.6).
    validation: hostname ? { kind: "domain", value: hostname } : null,
    store: "licmeter",
    submitIntervalMs: SLOT_MS,
    scanWindowMs: 3_000, // L6
    spoolReportsMax: SPOOL_REPORTS_MAX,
    spoolBytesMax: SPOOL_BYTES_MAX,
    retryInSession: false, // L3
  };
  for (const [name, value] of Object.entries(given)) if (value != null || name === "validation") options[name] = value;
  const isWrong = ([name, value]) => name !== "url" && value != null && !CHECKS[name]?.(value);
  const wrong = Object.entries(options).filter(isWrong).map(([name]) => name);
  if (options.licenseKey == null) wrong.push("licenseKey");
  if (wrong.length) throw new TypeError(`licmeter: wrong or missing options: ${wrong.join(", ")}`);
  return { ...options, url: new URL(options.url, href).href.replace(/\/+$/, "") };
}
