// The form that makes an API key.

import { useSignal } from "@preact/signals";
import { type ApiKey, asProblem, call, type Problem } from "./api";
import { parseBytes } from "./format";
import { announce, Busy, Failure, TextField } from "./parts";
import { allSites } from "./sites";

export interface MadeKey extends ApiKey {
  key: string;
}

const scopes = {
  read: "List, look at, explain. Every key may.",
  publish: "Upload, delete, roll back.",
  purge: "Purge caches.",
  admin: "Everything: sites, fleet and keys too.",
} as const;

type Scope = keyof typeof scopes;

/** How long a key is good, in days; 0 is for ever. */
const terms: [days: number, text: string][] = [
  [1, "1 day"],
  [7, "7 days"],
  [30, "30 days"],
  [90, "90 days"],
  [365, "1 year"],
  [0, "for ever"],
];

const day = 86_400_000;

const list = (text: string) => text.split(/[\s,]+/).filter((s) => s !== "");

export function KeyForm({ first, made, cancel }: { first: boolean; made: (k: MadeKey) => void; cancel: () => void }) {
  const name = useSignal("");
  const chosen = useSignal<ReadonlySet<Scope>>(new Set<Scope>(first ? ["admin"] : ["read"]));
  const sites = useSignal<ReadonlySet<string>>(new Set());
  const prefixes = useSignal("");
  const days = useSignal(first ? 0 : 90);
  const file = useSignal("");
  const form = useSignal("");
  const requests = useSignal("");
  const rate = useSignal("");
  const more = useSignal(false);
  const busy = useSignal(false);
  const problem = useSignal<Problem | null>(null);

  const size = (text: string) =>
    text.trim() === "" || parseBytes(text) !== null ? "" : "Write a size such as 100 MB.";
  const number = (text: string) => (/^\s*([0-9]+([.][0-9]+)?)?\s*$/.test(text) ? "" : "Write a number.");
  const wrong = {
    prefixes: list(prefixes.value).length > 0 && sites.value.size === 0 ? "Choose the site that it belongs to." : "",
    file: size(file.value),
    form: /^\s*[0-9]*\s*$/.test(form.value) ? "" : "Write a number.",
    requests: number(requests.value),
    rate: size(rate.value),
  };
  const create = async () => {
    busy.value = true;
    problem.value = null;
    try {
      const k = await call<MadeKey>("POST", "/api/v1/keys", {
        name: name.value.trim(),
        scopes: [...chosen.value],
        ...(days.value > 0 && { expires: new Date(Date.now() + days.value * day).toISOString() }),
        ...(sites.value.size > 0 && { sites: [...sites.value] }),
        ...(list(prefixes.value).length > 0 && { prefixes: list(prefixes.value) }),
        max_file: parseBytes(file.value) ?? 0,
        max_form: Number(form.value),
        requests_per_second: Number(requests.value),
        bytes_per_second: parseBytes(rate.value) ?? 0,
      });
      announce(`Key ${k.name} made`);
      made(k);
    } catch (e) {
      problem.value = asProblem(e);
    } finally {
      busy.value = false;
    }
  };
  const toggled = <T,>(set: ReadonlySet<T>, item: T, on: boolean): ReadonlySet<T> => {
    const next = new Set(set);
    if (on) {
      next.add(item);
    } else {
      next.delete(item);
    }
    return next;
  };
  return (
    <form
      id="key-form"
      class="card stack"
      aria-labelledby="key-form-h"
      onSubmit={(e) => {
        e.preventDefault();
        void create();
      }}
    >
      <h2 id="key-form-h">New key</h2>
      {first && (
        <p class="note warn">
          <strong>This is the first key.</strong> From then on everybody needs one, also on this machine: this page asks
          you to sign in with it. Without <em>admin</em> it cannot make others.
        </p>
      )}
      <div class="fields">
        <TextField
          id="key-name"
          label="Name"
          value={name}
          required
          placeholder="deploy"
          hint="Who or what will use it."
        />
        <div class="field">
          <label for="key-days">Good for</label>
          <select
            id="key-days"
            value={String(days.value)}
            onChange={(e) => {
              days.value = Number(e.currentTarget.value);
            }}
          >
            {terms.map(([n, text]) => (
              <option key={n} value={String(n)}>
                {text}
              </option>
            ))}
          </select>
        </div>
      </div>
      <fieldset class="choices">
        <legend>It may</legend>
        {(Object.keys(scopes) as Scope[]).map((s) => (
          <label key={s} class="choice">
            <input
              type="checkbox"
              name="scope"
              value={s}
              checked={chosen.value.has(s)}
              onChange={(e) => {
                chosen.value = toggled(chosen.value, s, e.currentTarget.checked);
              }}
            />
            <span>
              <strong>{s}</strong>
              <span class="hint">{scopes[s]}</span>
            </span>
          </label>
        ))}
      </fieldset>
      <fieldset class="choices">
        <legend>
          On these sites <span class="hint">none chosen is all, and what belongs to no site</span>
        </legend>
        {allSites.value.map((s) => (
          <label key={s.site} class="choice">
            <input
              type="checkbox"
              name="site"
              value={s.site}
              checked={sites.value.has(s.site)}
              onChange={(e) => {
                sites.value = toggled(sites.value, s.site, e.currentTarget.checked);
              }}
            />
            <span>{s.site}</span>
          </label>
        ))}
      </fieldset>
      <details
        class="more"
        open={more.value || Object.values(wrong).some((w) => w !== "")}
        onToggle={(e) => {
          more.value = e.currentTarget.open;
        }}
      >
        <summary>Directories, sizes and rates</summary>
        <div class="fields">
          <TextField
            id="key-prefixes"
            label="Directories"
            value={prefixes}
            placeholder="/img/"
            problem={wrong.prefixes}
            hint="Of those sites; several with commas. Empty is everything."
          />
          <TextField
            id="key-file"
            label="Largest file"
            value={file}
            placeholder="the site's limit"
            problem={wrong.file}
            hint="Such as 100 MB."
          />
          <TextField
            id="key-files"
            label="Files of one form"
            value={form}
            placeholder="the site's limit"
            problem={wrong.form}
          />
          <TextField
            id="key-requests"
            label="Requests a second"
            value={requests}
            placeholder="as configured"
            problem={wrong.requests}
          />
          <TextField
            id="key-rate"
            label="Bytes a second"
            value={rate}
            placeholder="as configured"
            problem={wrong.rate}
            hint="Such as 5 MB."
          />
        </div>
      </details>
      {problem.value && <Failure problem={problem.value} />}
      {busy.value && <Busy text="Making the key" />}
      <div class="row">
        <button
          type="submit"
          class="btn primary"
          id="create-key"
          disabled={busy.value || Object.values(wrong).some((w) => w !== "")}
        >
          Make the key
        </button>
        <button type="button" class="btn" disabled={busy.value} onClick={cancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}
