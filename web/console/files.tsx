// The view that lists what is published.

import { batch, signal, useSignal } from "@preact/signals";
import { Fragment } from "preact";
import { useEffect } from "preact/hooks";
import { asProblem, call, type FileEntry, filePath, filesPath, type Problem, type Proof } from "./api";
import { ago, bytes, milliseconds, moment, proofLine } from "./format";
import { onChange } from "./live";
import { announce, Copy, confirm, Failure, Pager } from "./parts";
import { SitePicker } from "./sitepicker";
import { loadSites, site, sites, sitesKnown, sitesProblem } from "./sites";

const pageSize = 50;

const prefix = signal("");
const files = signal<readonly FileEntry[] | null>(null);
const next = signal("");
/** Cursors of the pages before this one; the last is this page's own. */
const cursors = signal<readonly string[]>([""]);
const problem = signal<Problem | null>(null);
/** What became of the last order for a path: running, an error, or a proof. */
const results = signal<ReadonlyMap<string, Result>>(new Map());
let loading: AbortController | null = null;

interface Result {
  busy?: string;
  problem?: Problem;
  proof?: Proof;
  gone?: boolean;
}

function setResult(path: string, r: Result | null): void {
  const m = new Map(results.value);
  if (r) {
    m.set(path, r);
  } else {
    m.delete(path);
  }
  results.value = m;
}

async function load(): Promise<void> {
  loading?.abort();
  const mine = new AbortController();
  loading = mine;
  if (!site.value) {
    return;
  }
  const q = new URLSearchParams({ limit: String(pageSize) });
  if (prefix.value) {
    q.set("prefix", prefix.value);
  }
  const cursor = cursors.value.at(-1);
  if (cursor) {
    q.set("cursor", cursor);
  }
  try {
    const page = await call<{ files: FileEntry[] | null; next?: string }>(
      "GET",
      `${filesPath(site.value)}?${q}`,
      undefined,
      mine.signal,
    );
    batch(() => {
      files.value = page.files ?? [];
      next.value = page.next ?? "";
      problem.value = null;
    });
  } catch (e) {
    if (!mine.signal.aborted) {
      problem.value = asProblem(e);
    }
  }
}

function firstPage(): void {
  cursors.value = [""];
  void load();
}

/** Fetches again soon after a change, but not once for each of many. */
let soon = false;
function loadSoon(): void {
  if (soon) {
    return;
  }
  soon = true;
  setTimeout(() => {
    soon = false;
    void load();
  }, 400);
}

async function purge(f: FileEntry): Promise<void> {
  setResult(f.path, { busy: "Purging…" });
  try {
    const url = new URL(f.url);
    const proof = await call<Proof>("POST", `/api/v1/sites/${encodeURIComponent(f.site)}/purge?wait=5s`, {
      urls: [url.pathname],
    });
    setResult(f.path, { proof });
    announce(`Purge of ${f.path} ${proofLine(proof)}`);
  } catch (e) {
    setResult(f.path, { problem: asProblem(e) });
  }
}

async function del(f: FileEntry): Promise<void> {
  const yes = await confirm({
    title: `Delete ${f.path}?`,
    text: (
      <p>
        Its URL answers 404 on every edge within moments. Its immutable URL, of this very version, stays until retention
        removes it.
      </p>
    ),
    yes: "Delete",
    danger: true,
  });
  if (!yes) {
    return;
  }
  setResult(f.path, { busy: "Deleting…" });
  try {
    await call("DELETE", filePath(f.site, f.path));
    setResult(f.path, { gone: true });
    announce(`${f.path} deleted`);
    loadSoon();
  } catch (e) {
    setResult(f.path, { problem: asProblem(e) });
  }
}

export function FilesView() {
  useEffect(
    () =>
      onChange((event, change) => {
        if (event === "resync" || change?.site === site.value) {
          if (event === "publish" && change?.path && results.value.get(change.path)?.gone) {
            setResult(change.path, null); // published anew
          }
          loadSoon();
        }
      }),
    [],
  );
  useEffect(() => {
    batch(() => {
      files.value = null;
      results.value = new Map();
    });
    firstPage();
  }, [site.value]);

  const listed = files.value;
  return (
    <div class="stack">
      <div class="head">
        <h1 tabIndex={-1}>Files</h1>
      </div>
      {sitesProblem.value && <Failure problem={sitesProblem.value} retry={loadSites} />}
      <div class="row">
        {sites.value.length > 1 && (
          <div class="search">
            <SitePicker id="files-site" label="Site" />
          </div>
        )}
        <div class="search">
          <PrefixFilter />
        </div>
      </div>
      {problem.value && <Failure problem={problem.value} retry={load} />}
      <div class="card flush">
        {listed && listed.length > 0 && <Table files={listed} />}
        {listed?.length === 0 && <Empty />}
        {!listed && !problem.value && (
          <p class="empty">{sitesKnown.value && !site.value ? "There is no site yet." : "Loading…"}</p>
        )}
      </div>
      <Pager cursors={cursors} next={next} load={load} />
    </div>
  );
}

function PrefixFilter() {
  const timer = useSignal<ReturnType<typeof setTimeout> | undefined>(undefined);
  return (
    <div class="field">
      <label for="prefix">Paths that begin with</label>
      <input
        id="prefix"
        type="search"
        value={prefix.value}
        placeholder="/"
        autocomplete="off"
        spellcheck={false}
        onInput={(e) => {
          prefix.value = e.currentTarget.value;
          clearTimeout(timer.value);
          timer.value = setTimeout(firstPage, 250);
        }}
      />
    </div>
  );
}

function Empty() {
  return prefix.value ? (
    <p class="empty">
      <strong>No file begins with “{prefix.value}”</strong>Paths start with “/” and are compared letter by letter.
    </p>
  ) : (
    <p class="empty">
      <strong>Nothing is published on this site yet</strong>
      <a href="#upload">Upload the first file</a>
    </p>
  );
}

function Table({ files }: { files: readonly FileEntry[] }) {
  return (
    <table id="files-table" class="cards">
      <thead>
        <tr>
          <th scope="col">Path</th>
          <th scope="col" class="r">
            Size
          </th>
          <th scope="col">Type</th>
          <th scope="col">SHA-256</th>
          <th scope="col">Modified</th>
          <th scope="col">
            <span class="sr">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {files.map((f) => (
          <Row key={f.path} f={f} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ f }: { f: FileEntry }) {
  const r = results.value.get(f.path);
  const inactive = Boolean(r?.busy ?? r?.gone);
  return (
    <Fragment>
      <tr data-path={f.path} class={`${r ? "has-result" : ""} ${r?.gone ? "leaving" : ""}`}>
        <td class="full grow">
          <a class="path" href={f.url} target="_blank" rel="noreferrer" title={f.path}>
            {f.path}
          </a>
          <div class="sub">
            <span class="url mono">{f.url}</span>
            <Copy text={f.url} what="URL" />
            <Copy text={f.immutable_url} what="immutable URL" label="immutable" />
          </div>
        </td>
        <td class="r" data-label="Size" title={`${f.size} bytes`}>
          {bytes(f.size)}
        </td>
        <td class="type" data-label="Type" title={f.content_type}>
          {f.content_type.split(";")[0]}
        </td>
        <td data-label="SHA-256" class="nowrap">
          <Copy text={f.sha256} what="SHA-256" label={<code>{f.sha256.slice(0, 10)}…</code>} />
        </td>
        <td class="nowrap" data-label="Modified">
          <time dateTime={f.modified} title={moment(f.modified)}>
            {ago(Date.parse(f.modified), Date.now())}
          </time>
        </td>
        <td class="full">
          <div class="actions">
            <a class="btn quiet small" href={`#explain?${new URLSearchParams({ path: f.path })}`}>
              Explain
            </a>
            <button
              type="button"
              class="btn quiet small"
              data-do="purge"
              aria-label={`Purge ${f.path}`}
              disabled={inactive}
              onClick={() => purge(f)}
            >
              Purge
            </button>
            <button
              type="button"
              class="btn quiet small danger"
              data-do="delete"
              aria-label={`Delete ${f.path}`}
              disabled={inactive}
              onClick={() => del(f)}
            >
              Delete
            </button>
          </div>
        </td>
      </tr>
      {r && (
        <tr class="result">
          <td colSpan={6}>
            <Outcome r={r} dismiss={() => setResult(f.path, null)} />
          </td>
        </tr>
      )}
    </Fragment>
  );
}

function Outcome({ r, dismiss }: { r: Result; dismiss: () => void }) {
  if (r.problem) {
    return <Failure problem={r.problem} />;
  }
  if (!r.proof) {
    return <span class="muted small">{r.gone ? "Deleted" : r.busy}</span>;
  }
  const p = r.proof;
  return (
    <div class={`note ${p.effective ? "ok" : "warn"} purge-proof`} data-effective={p.effective}>
      <div class="row">
        <strong>
          {p.total > 0 ? "Purge" : "Purge recorded;"} {proofLine(p)}
        </strong>
        <span class="small num">
          {p.edges
            .map((e) => `${e.node} ${e.applied ? (e.ms === null ? "applied" : milliseconds(e.ms)) : "pending"}`)
            .join(" · ")}
        </span>
        <button type="button" class="btn quiet small push" onClick={dismiss}>
          Dismiss
        </button>
      </div>
    </div>
  );
}
