// How a bucket site is watched.

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { asProblem, call, type Listing, type Problem, type Watch } from "./api";
import { ago, count, duration, inTime, moment, plural, took } from "./format";
import { Failure } from "./parts";

export const watches = signal<ReadonlyMap<string, Watch>>(new Map());
export const watchesProblem = signal<Problem | null>(null);
const now = signal(Date.now());

async function load(): Promise<void> {
  try {
    const { watches: list } = await call<{ watches: Watch[] | null }>("GET", "/api/v1/watches");
    watches.value = new Map((list ?? []).map((w) => [w.site, w]));
    watchesProblem.value = null;
  } catch (e) {
    watchesProblem.value = asProblem(e);
  }
}

const askEvery = 2000;

/** Keeps the watches up to date while a view with bucket sites is open. */
export function useWatches(wanted: boolean): void {
  useEffect(() => {
    if (!wanted) {
      return;
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    let over = false;
    const again = async () => {
      await load();
      now.value = Date.now();
      if (!over) {
        timer = setTimeout(again, askEvery);
      }
    };
    void again();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [wanted]);
}

/** The state of a watch as a word, and the class that colours it. */
export function watchState(w: Watch | undefined): [word: string, look: string] {
  if (!w) {
    return watchesProblem.value ? ["not known", "idle"] : ["…", "idle"];
  }
  if (w.trouble) {
    return [w.watcher ? "in trouble" : "not watched", "bad"];
  }
  if (!w.last_listing) {
    return ["first listing", "warn"];
  }
  return ["watched", "ok"];
}

const ways: Record<Watch["mode"], [name: string, text: string]> = {
  listening: ["Listening", "The store tells of each change over a connection that is kept open."],
  storage: ["Storage", "Perigee's own S3 server tells of each change."],
  webhook: ["Webhook", "The store posts its events to this API."],
  polling: ["Polling", "Nothing tells of changes; listings find them."],
};

const time = (iso: string) => (
  <time dateTime={iso} title={moment(iso)}>
    {ago(Date.parse(iso), now.value)}
  </time>
);

export function WatchCard({ site }: { site: string }) {
  const w = watches.value.get(site);
  if (!w) {
    return (
      <section class="card" aria-labelledby="watch-h">
        <h2 id="watch-h">Watching</h2>
        {watchesProblem.value ? (
          <Failure problem={watchesProblem.value} retry={load} />
        ) : (
          <p class="muted flat">Loading…</p>
        )}
      </section>
    );
  }
  const [word, look] = watchState(w);
  const [way, how] = ways[w.mode];
  return (
    <section class="card" aria-labelledby="watch-h" id="watch" data-mode={w.mode} data-state={word}>
      <h2 id="watch-h">Watching</h2>
      <p class="flat">
        <span class={`state ${look}`}>{word}</span>
        {w.watcher && <span class="muted small"> by {w.watcher}</span>}
      </p>
      {w.trouble && (
        <p class="note bad after" role="alert">
          {w.trouble}
        </p>
      )}
      <dl class="facts-list">
        <dt>Way</dt>
        <dd>
          {way} <span class="muted small">{how}</span>
        </dd>
        <dt>Last event</dt>
        <dd>{w.last_event ? time(w.last_event) : "none yet"}</dd>
        <dt>Last listing</dt>
        <dd id="last-listing">{w.last_listing ? <Ended l={w.last_listing} /> : "the first one has not ended yet"}</dd>
        <dt>Next listing</dt>
        <dd id="next-listing">
          {w.listing ? (
            <>
              under way, {plural(w.listing.listed, "object")} so far
              <progress
                class="bar listing"
                aria-label="Listing"
                {...(w.last_listing &&
                  w.last_listing.listed > 0 && {
                    max: Math.max(w.last_listing.listed, w.listing.listed),
                    value: w.listing.listed,
                  })}
              />
            </>
          ) : (
            nextListing(w)
          )}
        </dd>
        <dt>Found at the latest after</dt>
        <dd>
          {w.cycle_seconds > 0 ? duration(w.cycle_seconds) : "not known before the first listing has ended"}
          {w.cycle_seconds > 0 && <span class="muted small"> if nothing tells of a change</span>}
        </dd>
        <dt>Missed</dt>
        <dd>
          {plural(w.missed, "change")} <span class="muted small">that a listing found and nothing had told of</span>
        </dd>
      </dl>
    </section>
  );
}

function nextListing(w: Watch): string {
  if (!w.last_listing) {
    return w.watcher ? "about to begin" : "when a node watches the site";
  }
  return inTime(Date.parse(w.last_listing.started) + w.poll * 1000, now.value);
}

function Ended({ l }: { l: Listing }) {
  const finished = l.finished ?? l.started;
  return (
    <>
      {time(finished)}, in {took((Date.parse(finished) - Date.parse(l.started)) / 1000)}: {plural(l.listed, "object")}
      {l.skipped > 0 && `, ${count(l.skipped)} skipped`}, {plural(l.differences, "difference")}
    </>
  );
}
