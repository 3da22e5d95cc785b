// The upload queue: a few files at a time, each one resumable (tus 1.0), none lost by a cut connection.

import { computed, signal } from "@preact/signals";
import {
  type DetailedError,
  defaultOptions,
  type HttpRequest,
  type HttpResponse,
  type PreviousUpload,
  Upload,
} from "tus-js-client";
import { asProblem, call, csrfHeaders, type FileEntry, filePath, Problem, problemOf, unreachable } from "./api";
import { learnFrom, seen, seenHeaders } from "./consistency";
import { pathProblem } from "./format";
import { RateMeter } from "./rate";

/**
 * waiting -> sending <-> retrying (the connection was cut; it goes on by itself) -> finishing (every byte is out,
 * the server stores) -> done; paused and failed from any but done, and back to waiting.
 */
export type ItemState = "waiting" | "sending" | "retrying" | "finishing" | "paused" | "failed" | "done";

/** What holds for every file of one choice. */
export interface Target {
  site: string;
  tags: string;
  cacheControl: string;
}

const endpoint = () => new URL("/api/v1/uploads/", location.href).href;

/** How many files are on their way at once: enough to fill a line, few enough that each one moves. */
const concurrency = 3;

/** Up to this size a file travels with the request that creates it: one round trip for the many small ones. */
const oneRequest = 4 << 20;

/** About four minutes of trying, counted anew whenever a byte got through. */
const retryDelays = [0, 1000, 2000, 4000, 8000, 15_000, 30_000, 30_000, 30_000, 60_000, 60_000];

export class Item {
  readonly state = signal<ItemState>("waiting");
  readonly sent = signal(0);
  readonly rate = signal(0);
  readonly problem = signal<Problem | null>(null);
  readonly url = signal("");
  readonly immutableUrl = signal("");
  readonly sha256 = signal("");
  readonly version = signal("");
  /** Where the transfer went on that an earlier page had begun, in bytes; 0 for one of our own. */
  readonly resumedAt = signal(0);
  upload: Upload | null = null;
  /** False when the server would refuse the path whatever is tried. */
  usable = true;
  /** An earlier page began it; the first progress will say how far that came. */
  continued = false;
  readonly meter = new RateMeter();

  constructor(
    readonly id: number,
    readonly file: File,
    readonly path: string,
    readonly target: Target,
  ) {}

  become(s: ItemState): void {
    this.state.value = s;
    touch();
  }

  /** Seconds that are left at the present rate; NaN while unknown. */
  left(): number {
    const rate = this.rate.value;
    return rate > 0 ? (this.file.size - this.sent.value) / rate : Number.NaN;
  }

  /** The same file for the same path with the same rules: only then may an earlier transfer be continued. */
  fingerprint(): string {
    const { site, tags, cacheControl } = this.target;
    const f = this.file;
    return ["perigee", site, this.path, f.size, f.lastModified, f.type, tags, cacheControl]
      .map((v) => encodeURIComponent(String(v)))
      .join("/");
  }
}

export const items = signal<readonly Item[]>([]);
let nextId = 1;

/** The queue in figures. Adding up ten thousand files takes a moment, so in a long queue it is done a few times a second. */
export interface Totals {
  done: number;
  failed: number;
  paused: number;
  open: number;
  sent: number;
  size: number;
  rate: number;
}

export const totals = signal<Totals>({ done: 0, failed: 0, paused: 0, open: 0, sent: 0, size: 0, rate: 0 });

/** Uploads that wait or move. */
export const active = computed(() => totals.value.open);

/** The same at this very moment, for the question whether to leave the page. */
export function busy(): boolean {
  return items.peek().some((i) => i.state.peek() === "waiting" || isRunning(i.state.peek()));
}

const addUpEvery = 150;
const longQueue = 200;
let due = false;

/** Adds up soon. */
function touch(): void {
  if (due) {
    return;
  }
  due = true;
  const addUp = () => {
    due = false;
    const t: Totals = { done: 0, failed: 0, paused: 0, open: 0, sent: 0, size: 0, rate: 0 };
    for (const i of items.peek()) {
      const s = i.state.peek();
      t.sent += i.sent.peek();
      t.size += i.file.size;
      t.rate += i.rate.peek();
      t[s === "done" || s === "failed" || s === "paused" ? s : "open"]++;
    }
    totals.value = t;
  };
  if (items.peek().length > longQueue) {
    setTimeout(addUp, addUpEvery);
  } else {
    queueMicrotask(addUp);
  }
}

/** Adds files to the queue and starts as many as may run. Paths that the server would refuse fail at once. */
export function add(files: readonly { file: File; path: string }[], target: Target): void {
  const added = files.map(({ file, path }) => {
    const item = new Item(nextId++, file, path, target);
    const why = pathProblem(path);
    if (why) {
      item.usable = false;
      fail(item, new Problem(400, "This path cannot be used", why, ""));
    }
    return item;
  });
  items.value = [...items.value, ...added];
  touch();
  pump();
}

const isRunning = (s: ItemState) => s === "sending" || s === "retrying" || s === "finishing";

function pump(): void {
  let free = concurrency;
  for (const i of items.peek()) {
    free -= isRunning(i.state.peek()) ? 1 : 0;
  }
  for (const i of items.peek()) {
    if (free <= 0) {
      return;
    }
    if (i.state.peek() === "waiting") {
      free--;
      void begin(i);
    }
  }
}

async function begin(item: Item): Promise<void> {
  item.become("sending");
  item.problem.value = null;
  item.meter.reset();
  item.upload ??= newUpload(item);
  const upload = item.upload;
  try {
    if (!upload.url) {
      const earlier = await upload.findPreviousUploads();
      if (earlier[0]) {
        item.continued = true;
        upload.resumeFromPreviousUpload(earlier[0]);
      }
    }
    if (item.state.peek() === "sending") {
      upload.start(); // unless it was paused while we looked
    }
  } catch (e) {
    fail(item, asProblem(e));
  }
}

/** What a request has sent of what this tab has seen. */
const toldBy = new WeakMap<HttpRequest, readonly string[]>();

function newUpload(item: Item): Upload {
  const { site, tags, cacheControl } = item.target;
  const metadata: Record<string, string> = { site, path: item.path, filename: item.file.name };
  for (const [k, v] of Object.entries({ filetype: item.file.type, tags, cache_control: cacheControl })) {
    if (v) {
      metadata[k] = v;
    }
  }
  return new Upload(item.file, {
    endpoint: endpoint(),
    metadata,
    headers: csrfHeaders(),
    retryDelays,
    uploadDataDuringCreation: item.file.size <= oneRequest,
    storeFingerprintForResuming: true,
    removeFingerprintOnSuccess: true,
    fingerprint: async () => item.fingerprint(),
    onBeforeRequest: (req) => {
      const told = seen.tell();
      toldBy.set(req, told);
      for (const [name, value] of Object.entries(seenHeaders(told))) {
        req.setHeader(name, value);
      }
    },
    onAfterResponse: (req, res) => learnFrom(toldBy.get(req) ?? [], (name) => res.getHeader(name)),
    onProgress: (sent) => progress(item, sent),
    onShouldRetry: (err) => {
      const retry = mayRetry(err);
      if (retry && isRunning(item.state.peek())) {
        item.become("retrying");
        item.rate.value = 0;
        item.meter.reset();
      }
      return retry;
    },
    onError: (err) => {
      if (isRunning(item.state.peek())) {
        fail(item, problemOfUpload(err));
      }
    },
    onSuccess: ({ lastResponse }) => void finish(item, lastResponse),
  });
}

function progress(item: Item, sent: number): void {
  const s = item.state.peek();
  if (!isRunning(s)) {
    return; // a last report after a pause
  }
  if (item.continued) {
    item.continued = false;
    item.resumedAt.value = sent;
  }
  item.meter.note(performance.now(), sent);
  item.sent.value = sent;
  item.rate.value = item.meter.rate();
  item.become(sent >= item.file.size ? "finishing" : "sending");
}

/** No answer, a lock that another request still holds, too much at once, and the server's own troubles pass by themselves. */
function mayRetry(err: Error | DetailedError): boolean {
  const status = statusOf(err);
  return status === 0 || status === 409 || status === 423 || status === 429 || (status >= 500 && status !== 507);
}

function statusOf(err: Error | DetailedError): number {
  return "originalResponse" in err ? (err.originalResponse?.getStatus() ?? 0) : 0;
}

function problemOfUpload(err: Error | DetailedError): Problem {
  const status = statusOf(err);
  if (status > 0 && "originalResponse" in err) {
    return problemOf(status, err.originalResponse?.getBody() ?? "");
  }
  if ("originalRequest" in err && err.originalRequest) {
    return unreachable();
  }
  // Without a request it is the browser that could not read the file: it was moved, changed or may not be read.
  return new Problem(0, "The file cannot be read", `The browser could not read the file any more: ${err.message}`, "");
}

function fail(item: Item, p: Problem): void {
  item.problem.value = p;
  item.rate.value = 0;
  if (!item.upload?.url) {
    item.sent.value = 0; // nothing was kept
  }
  item.become("failed");
  pump();
}

async function finish(item: Item, last: HttpResponse): Promise<void> {
  let url = last.getHeader("Perigee-URL");
  if (url) {
    item.immutableUrl.value = last.getHeader("Perigee-Immutable-URL") ?? "";
    item.sha256.value = last.getHeader("Perigee-SHA256") ?? "";
    item.version.value = last.getHeader("Perigee-Version") ?? "";
  } else {
    // A server that does not repeat the answer whose connection was cut; the catalogue has the file all the same.
    try {
      const f = await call<FileEntry>("GET", filePath(item.target.site, item.path));
      url = f.url;
      item.immutableUrl.value = f.immutable_url;
      item.sha256.value = f.sha256;
      item.version.value = f.version;
    } catch (e) {
      fail(item, asProblem(e));
      return;
    }
  }
  item.url.value = url;
  item.sent.value = item.file.size;
  item.rate.value = 0;
  item.upload = null;
  item.become("done");
  pump();
}

/** Stops sending; what the server has stays there. */
export function pause(item: Item): void {
  if (item.state.peek() === "waiting" || isRunning(item.state.peek())) {
    item.become("paused");
    item.rate.value = 0;
    void item.upload?.abort().catch(() => undefined);
    pump();
  }
}

/** Lets a paused or failed item go on where the server's copy ends. */
export function resume(item: Item): void {
  const s = item.state.peek();
  if (s === "paused" || s === "failed") {
    item.problem.value = null;
    item.become("waiting");
    pump();
  }
}

/** Takes an item off the list; a transfer that is not finished is ended on the server too. */
export function remove(item: Item): void {
  const unfinished = item.state.peek() !== "done";
  item.become("paused"); // so that late callbacks change nothing
  items.value = items.value.filter((i) => i !== item);
  if (unfinished && item.upload) {
    const upload = item.upload;
    // The server ends abandoned transfers by itself after a while, so a failure here costs only space.
    void upload.abort(Boolean(upload.url)).catch(() => undefined);
    void forgetStored(item.fingerprint());
  }
  pump();
}

export function pauseAll(): void {
  for (const i of items.peek()) {
    pause(i);
  }
}

export function resumeAll(): void {
  for (const i of items.peek()) {
    if (i.state.peek() === "paused") {
      resume(i);
    }
  }
}

export function clearDone(): void {
  items.value = items.value.filter((i) => i.state.peek() !== "done");
  touch();
}

/** Starts again what failed because nobody answered. */
export function retryUnreachable(): void {
  for (const i of items.peek()) {
    if (i.state.peek() === "failed" && i.problem.peek()?.status === 0 && i.upload) {
      resume(i);
    }
  }
}

/** Transfers that an earlier page left unfinished: the browser remembers where they are, but not their files. */
export const interrupted = signal<readonly PreviousUpload[]>([]);

export async function findInterrupted(): Promise<void> {
  const all = (await defaultOptions.urlStorage.findAllUploads()) ?? [];
  const mine = new Set(items.peek().map((i) => `${i.target.site} ${i.path}`));
  interrupted.value = all.filter(
    (u) =>
      u.uploadUrl?.startsWith(endpoint()) && u.metadata?.path && !mine.has(`${u.metadata.site} ${u.metadata.path}`),
  );
}

/** Ends an interrupted transfer, here and on the server. */
export async function forget(u: PreviousUpload): Promise<void> {
  if (u.uploadUrl) {
    // Already gone on the server is as good as ended now.
    await Upload.terminate(u.uploadUrl, { headers: csrfHeaders(), retryDelays: [] }).catch(() => undefined);
  }
  await defaultOptions.urlStorage.removeUpload(u.urlStorageKey);
  await findInterrupted();
}

async function forgetStored(fingerprint: string): Promise<void> {
  for (const u of await defaultOptions.urlStorage.findUploadsByFingerprint(fingerprint)) {
    await defaultOptions.urlStorage.removeUpload(u.urlStorageKey);
  }
}
