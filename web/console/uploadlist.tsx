// The list of uploads: what is on its way, what is done, what failed.

import { useSignalEffect } from "@preact/signals";
import { bytes, count, duration, plural, proofLine } from "./format";
import { proofOfVersion, uploading } from "./live";
import { announce, Copy, Failure } from "./parts";
import { clearDone, type Item, items, pause, pauseAll, remove, resume, resumeAll, totals } from "./queue";

/** How many rows are drawn; a folder of ten thousand files would freeze the page otherwise. */
export const mostRows = 200;

export function Queue() {
  useSignalEffect(() => {
    const t = totals.value;
    if (t.open === 0 && t.done + t.failed > 0) {
      announce(`${plural(t.done, "upload")} done${t.failed ? `, ${t.failed} failed` : ""}`);
    }
  });
  const all = items.value;
  const c = totals.value;
  if (all.length === 0) {
    return null;
  }
  const rows = all.length <= mostRows ? all : choose(all);
  return (
    <section class="card flush" aria-labelledby="queue-h">
      <div class="section-head">
        <h2 id="queue-h">
          {count(c.done)} of {plural(all.length, "file")} done
        </h2>
        <span class="muted small num">
          {bytes(c.sent)} of {bytes(c.size)}
          {c.rate > 0 && ` · ${bytes(c.rate)}/s · ${duration((c.size - c.sent) / c.rate)} left`}
          {c.failed > 0 && ` · ${count(c.failed)} failed`}
        </span>
        <div class="row push">
          {c.open > 0 && (
            <button type="button" class="btn small" id="pause-all" onClick={pauseAll}>
              Pause all
            </button>
          )}
          {c.paused > 0 && (
            <button type="button" class="btn small" id="resume-all" onClick={resumeAll}>
              Resume all
            </button>
          )}
          {c.done > 0 && (
            <button type="button" class="btn small" onClick={clearDone}>
              Clear finished
            </button>
          )}
        </div>
      </div>
      <ul class="queue" id="upload-list">
        {rows.map((i) => (
          <Row key={i.id} item={i} />
        ))}
      </ul>
      {rows.length < all.length && (
        <p class="empty">{plural(all.length - rows.length, "more file")} in the queue, not shown.</p>
      )}
    </section>
  );
}

/** What others send: a form, a command, another page. Ours are in the queue. */
export function Elsewhere() {
  const ours = new Set(items.value.map((i) => i.upload?.url?.split("/").pop()));
  const others = uploading.value.filter((u) => u.path && !ours.has(u.id));
  if (others.length === 0) {
    return null;
  }
  return (
    <section class="card flush" aria-labelledby="elsewhere-h">
      <div class="section-head">
        <h2 id="elsewhere-h">{plural(others.length, "upload")} from elsewhere</h2>
      </div>
      <ul class="queue" id="elsewhere-list">
        {others.map((u) => (
          <li key={u.id} class="upload-item" data-path={u.path}>
            <div class="name">
              {u.site}:{u.path}
            </div>
            <div class="wide">
              <progress
                class="bar"
                max={Math.max(1, u.size)}
                value={u.size < 0 ? undefined : u.received}
                aria-label={`Progress of ${u.path}`}
              />
            </div>
            <div class="wide facts">
              <span class="state warn">Arriving</span>
              <span>{u.size < 0 ? bytes(u.received) : `${bytes(u.received)} of ${bytes(u.size)}`}</span>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Of a long queue those are shown that need attention or move; then what is done, the newest first; then what waits. */
function choose(all: readonly Item[]): Item[] {
  const rank = { failed: 0, sending: 1, retrying: 1, finishing: 1, paused: 2, done: 3, waiting: 4 };
  return [...all]
    .sort((a, b) => {
      const byRank = rank[a.state.peek()] - rank[b.state.peek()];
      return byRank || (a.state.peek() === "done" ? b.id - a.id : a.id - b.id);
    })
    .slice(0, mostRows);
}

function Row({ item }: { item: Item }) {
  const state = item.state.value;
  return (
    <li class="upload-item" data-state={state} data-path={item.path}>
      <div class="name">{item.path}</div>
      <Controls item={item} />
      {state !== "done" && (
        <div class="wide">
          <progress
            class="bar"
            max={Math.max(1, item.file.size)}
            value={item.file.size === 0 && state === "finishing" ? 1 : item.sent.value}
            aria-label={`Progress of ${item.path}`}
          />
        </div>
      )}
      <div class="wide facts">
        <Facts item={item} />
      </div>
      {state === "done" && (
        <div class="wide sub">
          <a class="url mono" href={item.url.value} target="_blank" rel="noreferrer">
            {item.url.value}
          </a>
          <Copy text={item.url.value} what="URL" label="Copy" />
          {item.immutableUrl.value && <Copy text={item.immutableUrl.value} what="immutable URL" label="immutable" />}
          {item.sha256.value && <Copy text={item.sha256.value} what="SHA-256" label="SHA-256" />}
        </div>
      )}
      {item.problem.value && (
        <div class="wide">
          <Failure problem={item.problem.value} />
        </div>
      )}
    </li>
  );
}

function Facts({ item }: { item: Item }) {
  const size = item.file.size;
  const sent = `${bytes(item.sent.value)} of ${bytes(size)}`;
  switch (item.state.value) {
    case "waiting":
      return (
        <>
          <span class="state idle">Waiting</span>
          <span>{bytes(size)}</span>
        </>
      );
    case "sending": {
      const rate = item.rate.value;
      return (
        <>
          <span class="state warn">Sending</span>
          <span>{sent}</span>
          {rate > 0 && <span>{bytes(rate)}/s</span>}
          {rate > 0 && <span>{duration(item.left())} left</span>}
          <Continued item={item} />
        </>
      );
    }
    case "retrying":
      return (
        <>
          <span class="state warn">Connection lost, trying again</span>
          <span>{sent} sent</span>
        </>
      );
    case "finishing":
      return (
        <>
          <span class="state warn">Storing</span>
          <span>{bytes(size)} sent</span>
        </>
      );
    case "paused":
      return (
        <>
          <span class="state idle">Paused</span>
          <span>{sent}</span>
        </>
      );
    case "failed":
      return (
        <>
          <span class="state bad">Failed</span>
          <span>{item.sent.value > 0 ? sent : bytes(size)}</span>
        </>
      );
    case "done": {
      const proof = proofOfVersion(item.version.value);
      return (
        <>
          <span class="state ok">Done</span>
          <span>{bytes(size)}</span>
          <Continued item={item} />
          {proof && <span>{proofLine(proof)}</span>}
        </>
      );
    }
  }
}

function Continued({ item }: { item: Item }) {
  return item.resumedAt.value > 0 ? <span>continued at {bytes(item.resumedAt.value)}</span> : null;
}

function Controls({ item }: { item: Item }) {
  const state = item.state.value;
  const running = state === "waiting" || state === "sending" || state === "retrying" || state === "finishing";
  const canResume = state === "paused" || (state === "failed" && item.usable);
  const name = item.path;
  return (
    <div class="controls">
      {running && (
        <button
          type="button"
          class="btn quiet small"
          data-do="pause"
          aria-label={`Pause ${name}`}
          onClick={() => pause(item)}
        >
          Pause
        </button>
      )}
      {canResume && (
        <button
          type="button"
          class="btn quiet small"
          data-do="resume"
          aria-label={`${state === "failed" ? "Retry" : "Resume"} ${name}`}
          onClick={() => resume(item)}
        >
          {state === "failed" ? "Retry" : "Resume"}
        </button>
      )}
      <button
        type="button"
        class={`btn quiet small ${state === "done" ? "" : "danger"}`}
        data-do="remove"
        aria-label={`${state === "done" ? "Take off the list:" : "Cancel"} ${name}`}
        onClick={() => remove(item)}
      >
        {state === "done" ? "Clear" : "Cancel"}
      </button>
    </div>
  );
}
