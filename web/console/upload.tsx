// The view that uploads.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { PreviousUpload } from "tus-js-client";
import { type Chosen, fromDrop, fromInput } from "./drop";
import { bytes, joinPath, plural } from "./format";
import { announce, Failure, Icon } from "./parts";
import { add, findInterrupted, forget, interrupted, items } from "./queue";
import { SitePicker } from "./sitepicker";
import { loadSites, site, sites, sitesKnown, sitesProblem } from "./sites";
import { Elsewhere, mostRows, Queue } from "./uploadlist";

export function UploadView() {
  const directory = useSignal("/");
  const tags = useSignal("");
  const cacheControl = useSignal("");
  const unread = useSignal<string[]>([]);

  useEffect(() => {
    void findInterrupted();
  }, []);

  const take = (chosen: Chosen[]) => {
    if (chosen.length === 0 || !site.value) {
      return;
    }
    add(
      chosen.map((c) => ({ file: c.file, path: joinPath(directory.value, c.path) })),
      { site: site.value, tags: tags.value.trim(), cacheControl: cacheControl.value.trim() },
    );
    announce(`${plural(chosen.length, "file")} added`);
    void findInterrupted();
  };

  return (
    <div class="stack">
      <div class="head">
        <h1 tabIndex={-1}>Upload</h1>
        <span class="lead">Files are stored, get a URL, and are served from the nearest edge.</span>
      </div>
      {sitesProblem.value && <Failure problem={sitesProblem.value} retry={loadSites} />}
      {sitesKnown.value && sites.value.length === 0 && (
        <div class="note warn">
          <strong>There is no site to upload to yet.</strong> <a href="#sites?new=1">Make one</a>.
        </div>
      )}
      <DropZone take={take} unread={unread} />
      {unread.value.length > 0 && (
        <div class="note bad" role="alert">
          <strong>{plural(unread.value.length, "file")} could not be read</strong> and{" "}
          {unread.value.length === 1 ? "was" : "were"} left out: {unread.value.slice(0, 5).join(", ")}
          {unread.value.length > 5 && " …"}
        </div>
      )}
      <div class="card">
        <div class="fields">
          <SitePicker id="site" label="Site" />
          <div class="field">
            <label for="directory">Directory</label>
            <input
              id="directory"
              type="text"
              value={directory.value}
              placeholder="/"
              maxLength={2048}
              autocomplete="off"
              spellcheck={false}
              onInput={(e) => {
                directory.value = e.currentTarget.value;
              }}
            />
            <span class="hint">Where the files go. It need not exist.</span>
          </div>
        </div>
        <details class="more">
          <summary>Tags and cache rule</summary>
          <div class="fields">
            <div class="field">
              <label for="tags">Tags</label>
              <input
                id="tags"
                type="text"
                value={tags.value}
                placeholder="news, images"
                autocomplete="off"
                onInput={(e) => {
                  tags.value = e.currentTarget.value;
                }}
              />
              <span class="hint">Comma-separated. A purge can name a tag.</span>
            </div>
            <div class="field">
              <label for="cache-control">Cache rule</label>
              <input
                id="cache-control"
                type="text"
                value={cacheControl.value}
                placeholder="the site's own rule"
                maxLength={1024}
                autocomplete="off"
                spellcheck={false}
                onInput={(e) => {
                  cacheControl.value = e.currentTarget.value;
                }}
              />
              <span class="hint">
                Sent to browsers as Cache-Control, such as <code>public, max-age=600</code>.
              </span>
            </div>
          </div>
        </details>
      </div>
      <Interrupted />
      <Queue />
      <Elsewhere />
    </div>
  );
}

function DropZone({ take, unread }: { take: (c: Chosen[]) => void; unread: { value: string[] } }) {
  const over = useSignal(0);
  const folder = useRef<HTMLInputElement>(null);
  useEffect(() => {
    folder.current?.setAttribute("webkitdirectory", "");
    // A file that misses the zone would otherwise replace the page, and with it the running uploads.
    const keep = (e: DragEvent) => e.preventDefault();
    addEventListener("dragover", keep);
    addEventListener("drop", keep);
    return () => {
      removeEventListener("dragover", keep);
      removeEventListener("drop", keep);
    };
  }, []);
  const chosen = (input: HTMLInputElement) => {
    unread.value = [];
    take(fromInput(input.files ?? new DataTransfer().files));
    input.value = ""; // so that the same file can be chosen again
  };
  const dropped = async (e: DragEvent) => {
    e.preventDefault();
    over.value = 0;
    if (e.dataTransfer) {
      const { chosen, failed } = await fromDrop(e.dataTransfer);
      unread.value = failed;
      take(chosen);
    }
  };
  const disabled = !site.value;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dropping needs a pointer; the two buttons inside do the same by keyboard
    <div
      id="drop-zone"
      class={`drop ${over.value > 0 ? "over" : ""} ${items.value.length > 0 ? "compact" : ""}`}
      onDragEnter={(e) => {
        e.preventDefault();
        over.value++;
      }}
      onDragLeave={() => {
        over.value = Math.max(0, over.value - 1);
      }}
      onDragOver={(e) => e.preventDefault()}
      onDrop={dropped}
    >
      <Icon name="upload" />
      <div class="big">Drop files or folders here</div>
      <div class="row">
        <label>
          <input id="file-input" type="file" multiple disabled={disabled} onChange={(e) => chosen(e.currentTarget)} />
          <span class="btn primary">Choose files</span>
        </label>
        <label>
          <input
            id="folder-input"
            ref={folder}
            type="file"
            multiple
            disabled={disabled}
            onChange={(e) => chosen(e.currentTarget)}
          />
          <span class="btn">Choose a folder</span>
        </label>
      </div>
      <div class="small muted hint">
        A cut connection or a reload loses nothing: choose the same file again and it goes on.
      </div>
    </div>
  );
}

function Interrupted() {
  if (interrupted.value.length === 0) {
    return null;
  }
  return (
    <section class="card flush" id="interrupted" aria-labelledby="interrupted-h">
      <div class="section-head">
        <h2 id="interrupted-h">Unfinished</h2>
        <span class="muted small">
          Choose the same files again, for the same directory, and they go on where they stopped.
        </span>
      </div>
      <ul class="queue">
        {interrupted.value.slice(0, mostRows).map((u) => (
          <InterruptedRow key={u.urlStorageKey} upload={u} />
        ))}
      </ul>
    </section>
  );
}

function InterruptedRow({ upload: u }: { upload: PreviousUpload }) {
  const busy = useSignal(false);
  return (
    <li class="upload-item" data-interrupted={u.metadata.path}>
      <div>
        <div class="name">{u.metadata.path}</div>
        <div class="facts">
          <span>{u.metadata.site}</span>
          {u.size !== null && <span>{bytes(u.size)}</span>}
          <span>begun {new Date(u.creationTime).toLocaleString()}</span>
        </div>
      </div>
      <div class="controls">
        <button
          type="button"
          class="btn quiet small"
          disabled={busy.value}
          onClick={() => {
            busy.value = true;
            void forget(u);
          }}
        >
          Discard
        </button>
      </div>
    </li>
  );
}
