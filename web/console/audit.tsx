// The view of the audit log: who changed what.

import { batch, signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type AuditEntry, asProblem, call, type Problem } from "./api";
import { ago, moment } from "./format";
import { onChange } from "./live";
import { Failure, Pager } from "./parts";
import { allSites } from "./sites";

const pageSize = 50;

const site = signal("");
const key = signal("");
const entries = signal<readonly AuditEntry[] | null>(null);
const next = signal("");
const cursors = signal<readonly string[]>([""]);
const problem = signal<Problem | null>(null);
let loading: AbortController | null = null;

async function load(): Promise<void> {
  loading?.abort();
  const mine = new AbortController();
  loading = mine;
  const q = new URLSearchParams({ limit: String(pageSize) });
  const cursor = cursors.value.at(-1);
  for (const [name, value] of [
    ["site", site.value],
    ["key", key.value.trim()],
    ["cursor", cursor],
  ] as const) {
    if (value) {
      q.set(name, value);
    }
  }
  try {
    const page = await call<{ entries: AuditEntry[]; next: string }>(
      "GET",
      `/api/v1/audit?${q}`,
      undefined,
      mine.signal,
    );
    batch(() => {
      entries.value = page.entries;
      next.value = page.next;
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

/** The first page grows as things happen; others stay, so that nothing moves away from under the reader. */
let soon = false;
function loadSoon(): void {
  if (soon || cursors.value.length > 1) {
    return;
  }
  soon = true;
  setTimeout(() => {
    soon = false;
    if (cursors.value.length === 1) {
      void load();
    }
  }, 1000);
}

export function AuditView({ query }: { query: URLSearchParams }) {
  useEffect(() => onChange(loadSoon), []);
  useEffect(() => {
    batch(() => {
      site.value = query.get("site") ?? "";
      key.value = query.get("key") ?? "";
      entries.value = null;
    });
    firstPage();
  }, [query]);
  const list = entries.value;
  return (
    <div class="stack">
      <div class="head">
        <h1 tabIndex={-1}>Audit log</h1>
        <span class="lead">Every change: when, by which key, what, and how it ended. The newest first.</span>
      </div>
      <div class="row filters">
        <div class="search">
          <div class="field">
            <label for="audit-site">Site</label>
            <select
              id="audit-site"
              value={site.value}
              onChange={(e) => {
                site.value = e.currentTarget.value;
                firstPage();
              }}
            >
              <option value="">All, and what belongs to none</option>
              {allSites.value.map((s) => (
                <option key={s.site} value={s.site}>
                  {s.site}
                </option>
              ))}
            </select>
          </div>
        </div>
        <div class="search">
          <KeyFilter />
        </div>
      </div>
      {problem.value && <Failure problem={problem.value} retry={load} />}
      <div class="card flush">
        {list && list.length > 0 && <Table entries={list} />}
        {list?.length === 0 && (
          <p class="empty">
            {site.value || key.value ? (
              <strong>No entry fits</strong>
            ) : (
              <>
                <strong>Nothing was changed yet</strong>Uploads, purges, keys and all else that changes something will
                stand here.
              </>
            )}
          </p>
        )}
        {!list && !problem.value && <p class="empty">Loading…</p>}
      </div>
      <Pager cursors={cursors} next={next} load={load} />
    </div>
  );
}

function KeyFilter() {
  const timer = useSignal<ReturnType<typeof setTimeout> | undefined>(undefined);
  return (
    <div class="field">
      <label for="audit-key">Changed with key</label>
      <input
        id="audit-key"
        type="search"
        value={key.value}
        placeholder="id, local or offline"
        autocomplete="off"
        spellcheck={false}
        onInput={(e) => {
          key.value = e.currentTarget.value;
          clearTimeout(timer.value);
          timer.value = setTimeout(firstPage, 250);
        }}
      />
    </div>
  );
}

const words: Record<string, string> = {
  "file.publish": "published",
  "file.delete": "deleted",
  "file.rollback": "rolled back",
  "upload.terminate": "gave up upload",
  purge: "purged",
  erase: "erased",
  "site.create": "made site",
  "site.update": "changed site",
  "site.quota": "set quota",
  "site.recount": "recounted",
  "key.create": "made key",
  "key.revoke": "revoked key",
  "node.drain": "drained",
  "node.undrain": "undrained",
  "node.forget": "forgot node",
  "catalogue.move": "moved slots",
  "catalogue.cancel": "cancelled a move",
};

const looks: Record<string, string> = { done: "ok", recovered: "ok", unknown: "warn", failed: "bad" };

const outcomes: Record<string, string> = {
  recovered: "Finished after a crash",
  unknown: "Ordered; whether it was followed is not known",
};

/** Who ordered a change, in words. */
function who(e: AuditEntry): string {
  switch (e.key) {
    case undefined:
    case "":
      return "Perigee itself";
    case "local":
      return "this machine, without a key";
    case "configuration":
      return "the configuration";
    case "offline":
      return `${e.name ?? "somebody"}, off line`;
    default:
      return e.name || e.key;
  }
}

function Table({ entries }: { entries: readonly AuditEntry[] }) {
  return (
    <table id="audit-table" class="cards">
      <thead>
        <tr>
          <th scope="col">When</th>
          <th scope="col">Who</th>
          <th scope="col">Did</th>
          <th scope="col">What</th>
          <th scope="col">Outcome</th>
          <th scope="col">From</th>
        </tr>
      </thead>
      <tbody>
        {entries.map((e) => (
          <Row key={e.id} e={e} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ e }: { e: AuditEntry }) {
  return (
    <tr data-entry={e.id} data-action={e.action}>
      <td data-label="When" class="nowrap">
        <time dateTime={e.at} title={ago(Date.parse(e.at), Date.now())}>
          {moment(e.at)}
        </time>
      </td>
      <td data-label="Who">
        {who(e)}
        {e.name && e.key && e.key !== "offline" && (
          <div class="sub">
            <code class="muted">{e.key}</code>
          </div>
        )}
      </td>
      <td data-label="Did" class="nowrap">
        {words[e.action] ?? e.action}
      </td>
      <td class="full grow what">
        <span class="path">
          {e.site && <span class="muted">{e.site}:</span>}
          {e.object}
        </span>
        {(e.detail || e.request) && (
          <div class="sub small muted">
            <span class="url">{e.detail}</span>
            {e.request && <code title="Request id, as the server's log has it">{e.request}</code>}
          </div>
        )}
      </td>
      <td data-label="Outcome">
        <span class={`state ${looks[e.outcome] ?? "idle"}`} title={outcomes[e.outcome]}>
          {e.outcome}
        </span>
      </td>
      <td data-label="From" class="nowrap">
        {e.remote || "–"}
      </td>
    </tr>
  );
}
