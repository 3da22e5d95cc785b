// The view of the sites: all of them, one of them, and a new one.

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { asProblem, call, type Problem, type SiteRecord } from "./api";
import { bytes, count } from "./format";
import { onChange } from "./live";
import { announce, Busy, Failure, TextField } from "./parts";
import { mayAdminister } from "./session";
import { allSites, loadSites, sitesKnown, sitesProblem } from "./sites";
import { stores } from "./stores";
import { QuotaCard, Used } from "./usage";
import { useWatches, WatchCard, watches, watchState } from "./watching";

const kinds: Record<SiteRecord["kind"], string> = {
  published: "Files are uploaded, and kept in versions.",
  bucket: "The objects of a bucket are served as they are; any S3 tool writes them.",
  pull: "What another web server answers is cached.",
};

/** Fetches the sites again soon after a change, for what they use, but not once for each of many. */
let soon = false;
function loadSoon(): void {
  if (soon) {
    return;
  }
  soon = true;
  setTimeout(() => {
    soon = false;
    void loadSites();
  }, 1000);
}

export function SitesView({ query }: { query: URLSearchParams }) {
  useEffect(() => {
    void loadSites();
    return onChange(loadSoon);
  }, []);
  useWatches(allSites.value.some((s) => s.kind === "bucket"));
  const name = query.get("site");
  if (query.has("new")) {
    return <NewSite />;
  }
  if (name !== null) {
    return <OneSite name={name} />;
  }
  return (
    <div class="stack">
      <div class="head">
        <h1 tabIndex={-1}>Sites</h1>
        {mayAdminister() && (
          <a class="btn primary push" href="#sites?new=1" id="new-site">
            New site
          </a>
        )}
      </div>
      {sitesProblem.value && <Failure problem={sitesProblem.value} retry={loadSites} />}
      <div class="card flush">
        {allSites.value.length > 0 && <Table sites={allSites.value} />}
        {allSites.value.length === 0 && !sitesProblem.value && (
          <p class="empty">
            {sitesKnown.value ? <strong>There is no site yet</strong> : "Loading…"}
            {sitesKnown.value && mayAdminister() && <a href="#sites?new=1">Make the first one</a>}
          </p>
        )}
      </div>
    </div>
  );
}

function Table({ sites }: { sites: readonly SiteRecord[] }) {
  return (
    <table id="sites-table" class="cards">
      <thead>
        <tr>
          <th scope="col">Site</th>
          <th scope="col">Kind</th>
          <th scope="col">Bytes</th>
          <th scope="col">Files</th>
          <th scope="col">State</th>
        </tr>
      </thead>
      <tbody>
        {sites.map((s) => (
          <Row key={s.site} s={s} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ s }: { s: SiteRecord }) {
  const [word, look] = watchState(watches.value.get(s.site));
  return (
    <tr data-site={s.site}>
      <td class="full grow">
        <a class="path" href={`#sites?${new URLSearchParams({ site: s.site })}`}>
          {s.site}
        </a>
        <div class="sub">
          <span class="url mono">{s.hosts?.join(", ") || "no host"}</span>
        </div>
      </td>
      <td data-label="Kind">{s.kind}</td>
      <td data-label="Bytes">
        {s.usage ? (
          <Used used={s.usage.bytes} most={s.usage.quota.bytes} text={bytes} label={`Bytes used by ${s.site}`} />
        ) : (
          <span class="muted">not counted</span>
        )}
      </td>
      <td data-label="Files">
        {s.usage ? (
          <Used used={s.usage.files} most={s.usage.quota.files} text={count} label={`Files of ${s.site}`} />
        ) : (
          <span class="muted">not counted</span>
        )}
      </td>
      <td data-label="State">{s.kind === "bucket" ? <span class={`state ${look}`}>{word}</span> : "–"}</td>
    </tr>
  );
}

function OneSite({ name }: { name: string }) {
  const s = allSites.value.find((x) => x.site === name);
  return (
    <div class="stack">
      <div class="head">
        <h1 tabIndex={-1}>{name}</h1>
        <a class="push" href="#sites">
          All sites
        </a>
      </div>
      {sitesProblem.value && <Failure problem={sitesProblem.value} retry={loadSites} />}
      {!s && !sitesProblem.value && (
        <p class="card empty">
          {sitesKnown.value ? (
            <>
              <strong>There is no site of this name</strong>It may belong to others, if your key is limited to some
              sites.
            </>
          ) : (
            "Loading…"
          )}
        </p>
      )}
      {s && <Facts s={s} />}
      {s?.kind === "bucket" && <WatchCard site={s.site} />}
      {s && <QuotaCard site={s} usage={s.usage} />}
    </div>
  );
}

function Facts({ s }: { s: SiteRecord }) {
  return (
    <section class="card" aria-labelledby="site-h">
      <h2 id="site-h">Site</h2>
      <dl class="facts-list" id="site-facts">
        <dt>Kind</dt>
        <dd>
          {s.kind} <span class="muted small">{kinds[s.kind]}</span>
        </dd>
        <dt>Hosts</dt>
        <dd>{s.hosts?.length ? s.hosts.join(", ") : "none"}</dd>
        {s.origin && (
          <>
            <dt>Origin</dt>
            <dd class="mono">{s.origin.url}</dd>
          </>
        )}
        {s.bucket && (
          <>
            <dt>Bucket</dt>
            <dd>{s.bucket.store ? `store ${s.bucket.store}` : "Perigee's own"}</dd>
            <dt>Prefix</dt>
            <dd class="mono">{s.bucket.prefix || "the whole bucket"}</dd>
          </>
        )}
        <dt>Record</dt>
        <dd class="mono">{s.version}</dd>
      </dl>
      {s.kind === "published" && (
        <div class="row after">
          <a class="btn" href="#upload">
            Upload
          </a>
          <a class="btn" href="#files">
            Files
          </a>
          <a class="btn quiet" href={`#audit?${new URLSearchParams({ site: s.site })}`}>
            Who changed what
          </a>
        </div>
      )}
    </section>
  );
}

// What was typed stays when the view is left and come back to.
const site = signal("");
const hosts = signal("");
const kind = signal<SiteRecord["kind"]>("published");
const origin = signal("");
const store = signal("");
const prefix = signal("");
const poll = signal("300");
const busy = signal(false);
const problem = signal<Problem | null>(null);

function declaration() {
  const list = hosts.value.split(/[\s,]+/).filter((h) => h !== "");
  const d = { site: site.value.trim(), kind: kind.value, hosts: list };
  switch (kind.value) {
    case "bucket":
      return {
        ...d,
        bucket: {
          prefix: prefix.value,
          ...(store.value && { store: store.value }),
          ...(poll.value.trim() && { poll: Number(poll.value) }),
        },
      };
    case "pull":
      return { ...d, origin: { url: origin.value.trim() } };
    default:
      return d;
  }
}

async function create(): Promise<void> {
  busy.value = true;
  problem.value = null;
  try {
    const made = await call<SiteRecord>("POST", "/api/v1/sites", declaration());
    await loadSites();
    announce(`Site ${made.site} made`);
    for (const field of [site, hosts, origin, prefix]) {
      field.value = "";
    }
    location.hash = `#sites?${new URLSearchParams({ site: made.site })}`;
  } catch (e) {
    problem.value = asProblem(e);
  } finally {
    busy.value = false;
  }
}

function NewSite() {
  const wrongPoll = /^\s*[0-9]*\s*$/.test(poll.value) ? "" : "Write a number of seconds, or leave it empty.";
  return (
    <div class="stack">
      <div class="head">
        <h1 tabIndex={-1}>New site</h1>
        <a class="push" href="#sites">
          All sites
        </a>
      </div>
      <form
        id="site-form"
        class="card stack"
        onSubmit={(e) => {
          e.preventDefault();
          void create();
        }}
      >
        <fieldset class="choices">
          <legend>Where its content comes from</legend>
          {(Object.keys(kinds) as SiteRecord["kind"][]).map((k) => (
            <label key={k} class="choice">
              <input
                type="radio"
                name="kind"
                value={k}
                checked={kind.value === k}
                onChange={() => {
                  kind.value = k;
                }}
              />
              <span>
                <strong>{k}</strong>
                <span class="hint">{kinds[k]}</span>
              </span>
            </label>
          ))}
        </fieldset>
        <div class="fields">
          <TextField
            id="site-name"
            label="Name"
            value={site}
            required
            hint="a–z, 0–9 and “-”. It cannot be changed later."
          />
          <TextField
            id="site-hosts"
            label="Host names"
            value={hosts}
            placeholder="media.example.org"
            hint="That readers ask for; several with commas."
          />
        </div>
        {kind.value === "pull" && (
          <div class="fields">
            <TextField id="site-origin" label="Origin" value={origin} required placeholder="https://shop.example" />
          </div>
        )}
        {kind.value === "bucket" && (
          <>
            <div class="fields">
              <div class="field">
                <label for="site-store">Bucket</label>
                <select
                  id="site-store"
                  value={store.value}
                  onChange={(e) => {
                    store.value = e.currentTarget.value;
                  }}
                >
                  <option value="">Perigee's own</option>
                  {stores().map((s) => (
                    <option key={s} value={s}>
                      {s}
                    </option>
                  ))}
                </select>
                <span class="hint">
                  Others are named in the configuration, under <code>stores</code>.
                </span>
              </div>
              <TextField
                id="site-prefix"
                label="Prefix"
                value={prefix}
                placeholder="media/"
                required={store.value === ""}
                hint="What the keys of its objects begin with; it ends in “/”."
              />
              <TextField
                id="site-poll"
                label="Seconds between listings"
                value={poll}
                placeholder="300"
                problem={wrongPoll}
                hint="How often the bucket is compared, for changes that nothing tells of."
              />
            </div>
            <p class="note">
              <strong>How changes are heard of.</strong> Perigee's own storage tells of them, and stores that have
              MinIO's way of listening are listened to, without anything to set up. Others can post their events to{" "}
              <code>/api/v1/bucket-events</code> (docs/bucket-sites.md). Listings find what none of these tells. The
              site's page shows which way it is.
            </p>
          </>
        )}
        {problem.value && <Failure problem={problem.value} />}
        {busy.value && <Busy text="Making the site" />}
        <div class="row">
          <button type="submit" class="btn primary" id="create-site" disabled={busy.value || wrongPoll !== ""}>
            Make the site
          </button>
        </div>
      </form>
    </div>
  );
}
