// The frame: navigation, the state of the connection, the view that is open, the footer.

import { effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { csrfHeaders, meta, signedOut } from "./api";
import { AuditView } from "./audit";
import { ExplainView } from "./explain";
import { FilesView } from "./files";
import { FleetView } from "./fleet";
import { KeysView } from "./keys";
import { type LiveState, liveState } from "./live";
import { announcement, Dialog } from "./parts";
import { active, busy } from "./queue";
import { mayAdminister, mayAudit } from "./session";
import { SitesView } from "./sitelist";
import { UploadView } from "./upload";

const views = {
  upload: "Upload",
  files: "Files",
  sites: "Sites",
  fleet: "Fleet",
  explain: "Explain",
  keys: "Keys",
  audit: "Audit",
} as const;
type View = keyof typeof views;

/** The views that this session has any use for. */
function offered(): View[] {
  return (Object.keys(views) as View[]).filter(
    (v) => (v !== "keys" || mayAdminister()) && (v !== "audit" || mayAudit()),
  );
}

/** The address after '#': the view, and a query for it. */
function readHash(): { view: View; query: URLSearchParams } {
  const [name = "", query = ""] = location.hash.slice(1).split("?");
  return { view: name in views ? (name as View) : "upload", query: new URLSearchParams(query) };
}

const route = signal(readHash());

export function startRouting(): void {
  addEventListener("hashchange", () => {
    if (location.hash === "#main") {
      return; // the skip link moves the focus, not the view
    }
    route.value = readHash();
    // Whoever navigates by keyboard or hears the page goes on at the new view's heading.
    setTimeout(() => document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true }));
    scrollTo(0, 0);
  });
  effect(() => {
    const n = active.value;
    document.title = `${n > 0 ? `(${n}) ` : ""}${views[route.value.view]} · Perigee`;
  });
}

export function App() {
  const { view, query } = route.value;
  useEffect(() => {
    // Where the tabs are wider than the window, the open one must not be out of sight.
    document.getElementById(`nav-${view}`)?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [view]);
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <div class="top-in">
          <a class="brand" href="#upload">
            <img src={meta("perigee-icon")} alt="" width="28" height="28" />
            Perigee
          </a>
          <nav class="tabs" aria-label="Sections">
            {offered().map((v) => (
              <a key={v} href={`#${v}`} id={`nav-${v}`} {...(v === view && { "aria-current": "page" as const })}>
                {views[v]}
                {v === "upload" && active.value > 0 && <span class="count">{active.value}</span>}
              </a>
            ))}
          </nav>
          <Connection />
        </div>
      </header>
      <main id="main" class="wrap stack" tabIndex={-1}>
        {signedOut.value && <SignedOut />}
        {view === "upload" && <UploadView />}
        {view === "files" && <FilesView />}
        {view === "sites" && <SitesView query={query} />}
        {view === "fleet" && <FleetView />}
        {view === "explain" && <ExplainView query={query} />}
        {view === "keys" && <KeysView />}
        {view === "audit" && <AuditView query={query} />}
      </main>
      <Footer />
      <Dialog />
      <div class="sr" role="status" aria-live="polite">
        {announcement.value}
      </div>
    </>
  );
}

const connection: Record<LiveState, [word: string, look: string, title: string]> = {
  connecting: ["Connecting", "idle", "Waiting for the first live event"],
  live: ["Live", "ok", "Changes are shown as they happen"],
  polling: ["Polling", "warn", "Live events do not arrive; the page asks every two seconds"],
  offline: ["No answer", "bad", "Perigee does not answer; the page keeps asking"],
};

const ended: (typeof connection)[LiveState] = ["Signed out", "idle", "The session has ended"];

function Connection() {
  const [word, look, title] = signedOut.value ? ended : connection[liveState.value];
  return (
    <div class="live" id="live-state" data-live={liveState.value} title={title}>
      <span class={`state ${look}`}>{word}</span>
    </div>
  );
}

function SignedOut() {
  return (
    <div class="note warn" role="alert" id="signed-out">
      <p>
        <strong>Your session has ended.</strong> Sign in again; unfinished uploads go on afterwards when you choose the
        same files.
      </p>
      <div class="row">
        <a class="btn primary small" href="/login?next=%2F">
          Sign in
        </a>
      </div>
    </div>
  );
}

function Footer() {
  const user = meta("perigee-user");
  useEffect(() => {
    const warn = (e: BeforeUnloadEvent) => {
      if (busy()) {
        e.preventDefault();
      }
    };
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, []);
  const signOut = async () => {
    await fetch("/session", { method: "DELETE", headers: csrfHeaders() }).catch(() => undefined);
    location.assign("/");
  };
  return (
    <footer class="foot">
      <div class="wrap">
        <a href="https://db-ip.com" rel="noreferrer">
          IP Geolocation by DB-IP
        </a>
        <a href="/api/v1/openapi.json">API description</a>
        <a href={meta("perigee-licences")}>Licences</a>
        <span>Perigee {meta("perigee-version")}</span>
        {user && !signedOut.value && (
          <span class="push">
            Signed in as {user}{" "}
            <button type="button" class="btn small" id="sign-out" onClick={signOut}>
              Sign out
            </button>
          </span>
        )}
      </div>
    </footer>
  );
}
