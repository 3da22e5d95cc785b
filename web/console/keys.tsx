// The view of the API keys.

import { signal } from "@preact/signals";
import { Fragment } from "preact";
import { useEffect } from "preact/hooks";
import { type ApiKey, asProblem, call, type Problem, signedOut } from "./api";
import { ago, bytes, count, moment, plural } from "./format";
import { KeyForm, type MadeKey } from "./newkey";
import { announce, Busy, Copy, confirm, Failure } from "./parts";
import { me } from "./session";

const keys = signal<readonly ApiKey[] | null>(null);
const problem = signal<Problem | null>(null);
const creating = signal(false);
/** The key that was just made, for as long as the page lives or until it is put away: nobody can show it again. */
const made = signal<MadeKey | null>(null);
/** What became of the last order for a key. */
const results = signal<ReadonlyMap<string, { busy?: boolean; problem?: Problem }>>(new Map());

async function load(): Promise<void> {
  try {
    const all: ApiKey[] = [];
    for (let cursor = ""; ; ) {
      const q = cursor ? `?${new URLSearchParams({ cursor })}` : "";
      const page = await call<{ keys: ApiKey[]; next: string }>("GET", `/api/v1/keys${q}`);
      all.push(...page.keys);
      if (page.next === "" || page.next === cursor) {
        break;
      }
      cursor = page.next;
    }
    keys.value = all.sort((a, b) => (a.created ?? "").localeCompare(b.created ?? ""));
    problem.value = null;
  } catch (e) {
    problem.value = asProblem(e);
  }
}

function setResult(id: string, r: { busy?: boolean; problem?: Problem } | null): void {
  const m = new Map(results.value);
  if (r) {
    m.set(id, r);
  } else {
    m.delete(id);
  }
  results.value = m;
}

async function revoke(k: ApiKey): Promise<void> {
  const own = k.id === me.value?.id;
  const yes = await confirm({
    title: `Revoke ${k.name}?`,
    text: (
      <>
        <p>
          Whoever uses the key <code>{k.id}</code> is refused from now on, also sessions in browsers and uploads that
          are under way. It cannot be taken back.
        </p>
        {own && (
          <p>
            <strong>You are signed in with this key</strong>, so this session ends, too.
          </p>
        )}
      </>
    ),
    yes: "Revoke",
    danger: true,
  });
  if (!yes) {
    return;
  }
  setResult(k.id, { busy: true });
  try {
    await call("DELETE", `/api/v1/keys/${encodeURIComponent(k.id)}`);
    setResult(k.id, null);
    announce(`Key ${k.name} revoked`);
    if (made.value?.id === k.id) {
      made.value = null;
    }
    await load();
  } catch (e) {
    setResult(k.id, { problem: asProblem(e) });
  }
}

export function KeysView() {
  useEffect(() => {
    void load();
  }, []);
  const list = keys.value;
  return (
    <div class="stack">
      <div class="head">
        <h1 tabIndex={-1}>Keys</h1>
        <span class="lead">Who may use the API and this console, and how far.</span>
        {list && !creating.value && !signedOut.value && (
          <button
            type="button"
            class="btn primary push"
            id="new-key"
            onClick={() => {
              creating.value = true;
              made.value = null;
            }}
          >
            New key
          </button>
        )}
      </div>
      {made.value && <Made k={made.value} />}
      {creating.value && (
        <KeyForm
          first={list?.length === 0}
          made={(k) => {
            made.value = k;
            creating.value = false;
            keys.value = [...(keys.value ?? []), k]; // the first key ends keyless mode: the list cannot be asked for any more
            void load();
          }}
          cancel={() => {
            creating.value = false;
          }}
        />
      )}
      {problem.value && <Failure problem={problem.value} retry={load} />}
      <div class="card flush">
        {list && list.length > 0 && <Table keys={list} />}
        {list?.length === 0 && (
          <p class="empty">
            <strong>There is no key yet</strong>Only programs on this machine are served, and none needs a key. The
            first key ends that.
          </p>
        )}
        {!list && !problem.value && <p class="empty">Loading…</p>}
      </div>
    </div>
  );
}

function Made({ k }: { k: MadeKey }) {
  return (
    <section class="note ok" id="made-key" aria-labelledby="made-h">
      <p>
        <strong id="made-h">The key {k.name} is made. This is the only time it is shown.</strong> Put it where it is
        used before you leave this page; only its hash is kept here.
      </p>
      <div class="row secret">
        <code id="secret">{k.key}</code>
        <Copy text={k.key} what="key" label="Copy" />
      </div>
      <p class="small muted">
        Use it as <code>PERIGEE_KEY</code>, as <code>Authorization: Bearer …</code>, or to sign in here.
      </p>
      <div class="row">
        <button
          type="button"
          class="btn small"
          onClick={() => {
            made.value = null;
          }}
        >
          I have it
        </button>
      </div>
    </section>
  );
}

/** Everything that narrows a key, as short lines. */
function limits(k: ApiKey): string[] {
  const lines: string[] = [];
  if (k.sites?.length) {
    lines.push(`${k.sites.length === 1 ? "site" : "sites"} ${k.sites.join(", ")}`);
  }
  if (k.prefixes?.length) {
    lines.push(`below ${k.prefixes.join(", ")}`);
  }
  if (k.max_file) {
    lines.push(`files up to ${bytes(k.max_file)}`);
  }
  if (k.max_form) {
    lines.push(`${plural(k.max_form, "file")} a form`);
  }
  if (k.requests_per_second) {
    lines.push(`${count(k.requests_per_second)} requests/s`);
  }
  if (k.bytes_per_second) {
    lines.push(`${bytes(k.bytes_per_second)}/s`);
  }
  return lines;
}

function Table({ keys }: { keys: readonly ApiKey[] }) {
  return (
    <table id="keys-table" class="cards">
      <thead>
        <tr>
          <th scope="col">Key</th>
          <th scope="col">May</th>
          <th scope="col">Limits</th>
          <th scope="col">Made</th>
          <th scope="col">Ends</th>
          <th scope="col">Last used</th>
          <th scope="col">
            <span class="sr">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {keys.map((k) => (
          <Row key={k.id} k={k} />
        ))}
      </tbody>
    </table>
  );
}

function When({ iso, none }: { iso: string | undefined; none: string }) {
  if (!iso) {
    return <span class="muted">{none}</span>;
  }
  return (
    <time dateTime={iso} title={moment(iso)}>
      {ago(Date.parse(iso), Date.now())}
    </time>
  );
}

function Ends({ iso }: { iso: string | undefined }) {
  if (!iso) {
    return <span class="muted">never</span>;
  }
  const expired = Date.parse(iso) <= Date.now();
  return (
    <time dateTime={iso} title={moment(iso)} class={expired ? "bad-text" : ""}>
      {moment(iso).slice(0, 10)}
      {expired && " (expired)"}
    </time>
  );
}

function Row({ k }: { k: ApiKey }) {
  const r = results.value.get(k.id);
  const narrow = limits(k);
  const fromEnvironment = !k.created;
  return (
    <Fragment>
      <tr data-key={k.id} class={r?.problem ? "has-result" : ""}>
        <td class="full">
          <strong>{k.name}</strong>
          {k.id === me.value?.id && <span class="muted small"> (yours)</span>}
          <div class="sub">
            <code class="muted">{k.id}</code>
            <a
              class="small"
              href={`#audit?${new URLSearchParams({ key: k.id })}`}
              aria-label={`What ${k.name} changed`}
            >
              changes
            </a>
          </div>
        </td>
        <td data-label="May">{k.scopes.join(", ")}</td>
        <td data-label="Limits">
          {narrow.length > 0 ? narrow.map((l) => <div key={l}>{l}</div>) : <span class="muted">none</span>}
        </td>
        <td data-label="Made" class="nowrap">
          <When iso={k.created} none="–" />
        </td>
        <td data-label="Ends" class="nowrap">
          <Ends iso={k.expires} />
        </td>
        <td data-label="Last used" class="nowrap">
          <When iso={k.last_used} none="never" />
        </td>
        <td class="full">
          <div class="actions">
            {fromEnvironment ? (
              <span class="muted small" title="PERIGEE_API_KEY: take it out there and restart">
                in the configuration
              </span>
            ) : (
              <button
                type="button"
                class="btn quiet small danger"
                data-do="revoke"
                aria-label={`Revoke ${k.name}`}
                disabled={r?.busy ?? false}
                onClick={() => revoke(k)}
              >
                Revoke
              </button>
            )}
          </div>
          {r?.busy && <Busy text="Revoking" />}
        </td>
      </tr>
      {r?.problem && (
        <tr class="result">
          <td colSpan={7}>
            <Failure problem={r.problem} />
          </td>
        </tr>
      )}
    </Fragment>
  );
}
