// The calls of the console to the API, and the shapes of its answers (docs/contract.md, /api/v1/openapi.json).

import { signal } from "@preact/signals";
import { learnFrom, seen, seenHeaders } from "./consistency";

/** What the server wrote into the page's head. */
export function meta(name: string): string {
  return document.querySelector(`meta[name="${name}"]`)?.getAttribute("content") ?? "";
}

/** Set when the API says that the session is over; the frame then offers to sign in. */
export const signedOut = signal(false);

/** An error a person can act on: a problem document (RFC 9457), or no answer at all (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly requestId: string,
  ) {
    super(detail || title);
  }
}

export const unreachable = () =>
  new Problem(
    0,
    "No answer",
    "Perigee did not answer. Is it running, and is your connection up? Try again in a moment.",
    "",
  );

/** Makes a Problem of an answer that is not a success, whatever its body is. */
export function problemOf(status: number, body: string): Problem {
  if (status === 401) {
    signedOut.value = true;
  }
  try {
    const p = JSON.parse(body) as Partial<Record<"title" | "detail" | "request_id", unknown>>;
    const text = (v: unknown) => (typeof v === "string" ? v : "");
    if (text(p.detail) || text(p.title)) {
      return new Problem(status, text(p.title) || `Error ${status}`, text(p.detail), text(p.request_id));
    }
  } catch {
    // Not ours: a proxy in between, perhaps.
  }
  return new Problem(status, `Error ${status}`, `The server answered ${status} without saying why.`, "");
}

/** What went wrong, as a Problem, whatever was thrown. */
export function asProblem(e: unknown): Problem {
  return e instanceof Problem ? e : new Problem(0, "Something went wrong in this page", String(e), "");
}

/** The header that unsafe requests carry; none in keyless mode. */
export function csrfHeaders(): Record<string, string> {
  const token = meta("csrf-token");
  return token ? { "X-CSRF-Token": token } : {};
}

/** Calls the API and returns its JSON; undefined when it has no body. Throws Problem, or AbortError when signal says so. */
export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const told = seen.tell();
  const headers = { Accept: "application/json", ...seenHeaders(told) };
  const init: RequestInit = { method, headers, ...(signal && { signal }) };
  if (method !== "GET") {
    Object.assign(init.headers as Record<string, string>, csrfHeaders());
  }
  if (body !== undefined) {
    (init.headers as Record<string, string>)["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let res: Response;
  let text: string;
  try {
    res = await fetch(path, init);
    learnFrom(told, (name) => res.headers.get(name));
    text = await res.text();
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") {
      throw e;
    }
    throw unreachable();
  }
  if (!res.ok) {
    throw problemOf(res.status, text);
  }
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** Escapes a file's path for the API: each segment by itself, so that '/' stays. */
export function escapePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

export const filesPath = (site: string) => `/api/v1/sites/${encodeURIComponent(site)}/files`;
export const filePath = (site: string, path: string) => filesPath(site) + escapePath(path);

export interface FileEntry {
  site: string;
  path: string;
  url: string;
  immutable_url: string;
  sha256: string;
  size: number;
  content_type: string;
  etag: string;
  version: string;
  modified: string;
  tags?: string[];
  state?: string;
}

/** What a site may use; what is absent has no limit. */
export interface Quota {
  bytes?: number;
  files?: number;
  file?: number;
  form?: number;
}

export interface Usage {
  site: string;
  quota: Quota;
  bytes: number;
  files: number;
}

export interface SiteRecord {
  site: string;
  kind: "published" | "bucket" | "pull";
  hosts: string[] | null;
  version: string;
  origin?: { url: string };
  bucket?: { store?: string; prefix: string; poll?: number };
  /** null if what the site serves is not stored by Perigee. */
  usage: Usage | null;
}

export interface Listing {
  started: string;
  finished?: string;
  listed: number;
  skipped: number;
  differences: number;
}

/** How a bucket site is watched. */
export interface Watch {
  site: string;
  store: string;
  bucket?: string;
  prefix: string;
  watcher: string;
  mode: "listening" | "storage" | "webhook" | "polling";
  listening?: string;
  last_event?: string;
  poll: number;
  listing?: Listing;
  last_listing?: Listing;
  cycle_seconds: number;
  missed: number;
  trouble?: string;
}

export interface ApiKey {
  id: string;
  name: string;
  scopes: string[];
  created?: string;
  expires?: string;
  last_used?: string;
  sites?: string[];
  prefixes?: string[];
  max_file?: number;
  max_form?: number;
  requests_per_second?: number;
  bytes_per_second?: number;
}

export interface AuditEntry {
  id: string;
  at: string;
  key?: string;
  name?: string;
  request?: string;
  remote?: string;
  action: string;
  site?: string;
  object?: string;
  outcome: string;
  detail?: string;
}

/** Who this page is to the API. */
export interface Session {
  keyless: boolean;
  id: string;
  name: string;
  scopes: string[];
  sites?: string[];
}

export interface FleetNode {
  node: string;
  role: string;
  boot: string;
  state: "starting" | "ready" | "draining" | "stopping";
  down: boolean;
  heard: string;
  place: { name: string; country: string; lat: number; lon: number };
  addrs?: string[];
  load: { rps: number; conns: number; cpu: number; mem: number; sent_bps: number; headroom: number };
  cache?: { objects: number; bytes: number; limit: number; ram: number; hits: number; misses: number };
  lease_ms: number;
  version: string;
  behind: number | null;
}

export interface FleetView {
  gen: number;
  now: string;
  nodes: FleetNode[];
}

export interface Proof {
  id: string;
  position: string;
  effective: boolean;
  applied: number;
  total: number;
  edges: { node: string; applied: boolean; ms: number | null }[];
}

/** Data of the events "publish", "delete", "purge" and "site". */
export interface Change {
  id: string;
  kind: string;
  site: string;
  path?: string;
  version?: string;
}

export interface Explanation {
  site: string;
  path: string;
  ip: string;
  place: { country: string; city: string; lat: number; lon: number; known: boolean };
  geo: { source: string; built: string };
  candidates: { node: string; km: number; state: string; down: boolean; reason: string; addrs: string[] | null }[];
  chosen: string;
  answer: { type: string; addr: string; ttl: number; scope: string };
  edge: {
    outcome: string;
    reason: string;
    blob: string;
    pointer: {
      state: string;
      version: string;
      modified: string;
      sha256?: string;
      size: number;
      content_type?: string;
    } | null;
  };
}
