// What a site uses of what it may use: bars, and the form that sets it.

import { useSignal } from "@preact/signals";
import { asProblem, call, type Problem, type Quota, type SiteRecord, type Usage } from "./api";
import { bytes, bytesField, count, parseBytes, plural } from "./format";
import { announce, Busy, Failure, TextField } from "./parts";
import { mayAdminister } from "./session";
import { loadSites } from "./sites";

/** A bar where there is a limit; it changes its look where little or nothing is left. */
export function Used({
  used,
  most,
  text,
  label,
}: {
  used: number;
  most: number | undefined;
  text: (n: number) => string;
  label: string;
}) {
  if (!most) {
    return <span class="num nowrap">{text(used)}</span>;
  }
  const part = used / most;
  const look = part >= 1 ? "full" : part >= 0.9 ? "nearly" : "";
  return (
    <span class="used">
      <span class="num nowrap">
        {text(used)} <span class="muted">of {text(most)}</span>
      </span>
      <progress class={`bar ${look}`} max={most} value={Math.min(used, most)} aria-label={label} />
    </span>
  );
}

const path = (site: string) => `/api/v1/sites/${encodeURIComponent(site)}`;

/** The card of a site's page. usage is null for sites whose content lies elsewhere. */
export function QuotaCard({ site, usage }: { site: SiteRecord; usage: Usage | null }) {
  const editing = useSignal(false);
  const recount = useSignal<{ busy?: boolean; text?: string; problem?: Problem }>({});
  if (!usage) {
    return (
      <section class="card" aria-labelledby="quota-h" id="quota-none">
        <h2 id="quota-h">Quota</h2>
        <p class="muted flat">
          None. What this site serves{" "}
          {site.kind === "bucket" ? "lies in a bucket that others write" : "comes from its origin"}, so Perigee neither
          stores nor counts it.
        </p>
      </section>
    );
  }
  const q = usage.quota;
  const over = (q.bytes && usage.bytes > q.bytes) || (q.files && usage.files > q.files);
  const countAnew = async () => {
    recount.value = { busy: true };
    try {
      const r = await call<{ before: Usage; after: Usage; drift: boolean }>("POST", `${path(site.site)}/recount`);
      const text = r.drift
        ? `Corrected: ${bytes(r.after.bytes)} in ${plural(r.after.files, "file")}; ${bytes(r.before.bytes)} in ${plural(r.before.files, "file")} had been counted.`
        : `Counted anew: ${bytes(r.after.bytes)} in ${plural(r.after.files, "file")}, as before.`;
      recount.value = { text };
      announce(text);
      await loadSites();
    } catch (e) {
      recount.value = { problem: asProblem(e) };
    }
  };
  return (
    <section class="card" aria-labelledby="quota-h" id="quota">
      <h2 id="quota-h">Quota</h2>
      <div class="fields">
        <div class="field" id="used-bytes">
          <span>Bytes of all kept versions</span>
          <Used used={usage.bytes} most={q.bytes} text={bytes} label="Bytes used" />
          {!q.bytes && <span class="hint">No limit</span>}
        </div>
        <div class="field" id="used-files">
          <span>Files</span>
          <Used used={usage.files} most={q.files} text={count} label="Files used" />
          {!q.files && <span class="hint">No limit</span>}
        </div>
        <div class="field">
          <span>Largest file</span>
          <span>{q.file ? bytes(q.file) : "No limit of its own"}</span>
        </div>
        <div class="field">
          <span>Files of one form</span>
          <span>{q.form ? count(q.form) : "No limit of its own"}</span>
        </div>
      </div>
      {over && (
        <p class="note warn after">
          <strong>The site uses more than it may.</strong> Nothing is deleted; nothing can be added before enough was.
        </p>
      )}
      {editing.value && (
        <QuotaForm
          site={site.site}
          quota={q}
          done={() => {
            editing.value = false;
          }}
        />
      )}
      {recount.value.problem && <Failure problem={recount.value.problem} />}
      {recount.value.busy && <Busy text="Counting. Changes of the site wait meanwhile." />}
      {recount.value.text && (
        <p class="note ok after" id="recounted">
          {recount.value.text}
        </p>
      )}
      {mayAdminister() && !editing.value && (
        <div class="row after">
          <button
            type="button"
            class="btn"
            id="edit-quota"
            onClick={() => {
              editing.value = true;
            }}
          >
            Change
          </button>
          <button
            type="button"
            class="btn quiet"
            id="recount"
            disabled={recount.value.busy ?? false}
            onClick={countAnew}
          >
            Count anew
          </button>
        </div>
      )}
    </section>
  );
}

function sizeProblem(text: string): string {
  return text.trim() === "" || parseBytes(text) !== null ? "" : "Write a size such as 10 GB, or leave it empty.";
}

function countProblem(text: string): string {
  return /^\s*[0-9]{0,15}\s*$/.test(text) ? "" : "Write a number, or leave it empty.";
}

function QuotaForm({ site, quota, done }: { site: string; quota: Quota; done: () => void }) {
  const size = useSignal(quota.bytes ? bytesField(quota.bytes) : "");
  const files = useSignal(quota.files ? String(quota.files) : "");
  const file = useSignal(quota.file ? bytesField(quota.file) : "");
  const form = useSignal(quota.form ? String(quota.form) : "");
  const busy = useSignal(false);
  const problem = useSignal<Problem | null>(null);
  const wrong = [sizeProblem(size.value), countProblem(files.value), sizeProblem(file.value), countProblem(form.value)];
  const save = async () => {
    busy.value = true;
    problem.value = null;
    try {
      await call("PATCH", path(site), {
        quota: {
          bytes: parseBytes(size.value) ?? 0,
          files: Number(files.value),
          file: parseBytes(file.value) ?? 0,
          form: Number(form.value),
        },
      });
      await loadSites();
      announce("Quota saved");
      done();
    } catch (e) {
      problem.value = asProblem(e);
    } finally {
      busy.value = false;
    }
  };
  return (
    <form
      id="quota-form"
      class="after stack"
      onSubmit={(e) => {
        e.preventDefault();
        void save();
      }}
    >
      <div class="fields">
        <TextField
          id="quota-bytes"
          label="Bytes"
          value={size}
          placeholder="no limit"
          problem={wrong[0] ?? ""}
          hint="Of all versions that are kept, such as 10 GB."
        />
        <TextField id="quota-files" label="Files" value={files} placeholder="no limit" problem={wrong[1] ?? ""} />
        <TextField
          id="quota-file"
          label="Largest file"
          value={file}
          placeholder="no limit"
          problem={wrong[2] ?? ""}
          hint="Such as 500 MB."
        />
        <TextField
          id="quota-form-files"
          label="Files of one form"
          value={form}
          placeholder="no limit"
          problem={wrong[3] ?? ""}
        />
      </div>
      {problem.value && <Failure problem={problem.value} />}
      {busy.value && <Busy text="Saving" />}
      <div class="row">
        <button type="submit" class="btn primary" id="save-quota" disabled={busy.value || wrong.some((w) => w !== "")}>
          Save
        </button>
        <button type="button" class="btn" disabled={busy.value} onClick={done}>
          Cancel
        </button>
      </div>
    </form>
  );
}
