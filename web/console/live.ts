// What happens, as it happens: server-sent events, and polling while they do not come.

import { signal } from "@preact/signals";
import { asProblem, type Change, call, type FleetView, type Problem, type Proof, signedOut } from "./api";

export type LiveState = "connecting" | "live" | "polling" | "offline";

export const liveState = signal<LiveState>("connecting");
export const fleet = signal<FleetView | null>(null);
/** When fleet arrived, by performance.now(): ages of reports go on growing from there. */
export const fleetAt = signal(0);
export const fleetProblem = signal<Problem | null>(null);

/** How many past figures are kept for each node's little chart, one a second. */
export const historyLength = 60;
export const history = new Map<string, number[]>();

/** A transfer that takes more than a second, whoever sends it. */
export interface Uploading {
  id: string;
  site?: string;
  path?: string;
  received: number;
  size: number;
}

/** What the server is receiving now. */
export const uploading = signal<readonly Uploading[]>([]);

type Listener = (event: "publish" | "delete" | "purge" | "site" | "resync", change: Change | null) => void;
const listeners = new Set<Listener>();

/** Calls f for each change; "resync" means that changes may have been missed. Returns how to stop. */
export function onChange(f: Listener): () => void {
  listeners.add(f);
  return () => listeners.delete(f);
}

/** The newest proofs by the id of their change, and that id by the version a publication made. */
export const proofs = signal<ReadonlyMap<string, Proof>>(new Map());
const changeOfVersion = new Map<string, string>();
const keptProofs = 500;

export function proofOfVersion(version: string): Proof | undefined {
  const known = proofs.value; // read first: whoever asks too early is asked again when a proof comes
  const id = changeOfVersion.get(version);
  return id === undefined ? undefined : known.get(id);
}

function bounded<K, V>(m: Map<K, V>, most: number): void {
  for (const k of m.keys()) {
    if (m.size <= most) {
      return;
    }
    m.delete(k);
  }
}

function setFleet(v: FleetView): void {
  fleet.value = v;
  fleetAt.value = performance.now();
  fleetProblem.value = null;
  const second = Math.floor(performance.now() / 1000);
  if (second === lastSecond) {
    return; // a change of state between two seconds must not squeeze the chart
  }
  lastSecond = second;
  for (const n of v.nodes) {
    const h = history.get(n.node) ?? [];
    h.push(n.down ? 0 : n.load.rps);
    history.set(n.node, h.slice(-historyLength));
  }
}
let lastSecond = -1;

const pollEvery = 2000;
const reopenAfter = 10_000;
/** While polling nobody tells us of changes, so lists are fetched again this often. */
const pollListsEvery = 5;

/** Starts listening, for as long as the page lives. */
export function startLive(): void {
  let polls = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const poll = async () => {
    try {
      setFleet(await call<FleetView>("GET", "/api/v1/fleet"));
      if (liveState.value !== "live") {
        liveState.value = "polling";
        if (++polls % pollListsEvery === 0) {
          emit("resync", null);
        }
      }
    } catch (e) {
      fleetProblem.value = asProblem(e);
      if (liveState.value !== "live") {
        liveState.value = "offline";
      }
    }
    if (liveState.value !== "live" && !signedOut.value) {
      timer = setTimeout(poll, pollEvery);
    }
  };
  const open = () => {
    const source = new EventSource("/api/v1/events");
    source.addEventListener("hello", () => {
      clearTimeout(timer);
      // Whatever happened since the page last listened is not known.
      const again = liveState.value !== "connecting";
      liveState.value = "live";
      if (again) {
        emit("resync", null);
      }
    });
    source.addEventListener("fleet", (e) => setFleet(JSON.parse(e.data)));
    source.addEventListener("uploads", (e) => {
      uploading.value = JSON.parse(e.data).uploads;
    });
    source.addEventListener("proof", (e) => keepProof(JSON.parse(e.data)));
    source.addEventListener("resync", () => emit("resync", null));
    for (const name of ["publish", "delete", "purge", "site"] as const) {
      source.addEventListener(name, (e) => emit(name, JSON.parse(e.data)));
    }
    source.onerror = () => {
      const wasPolling = liveState.value === "polling" || liveState.value === "offline";
      if (!wasPolling) {
        liveState.value = "offline";
        void poll();
      }
      // The browser reconnects by itself after a cut, but not after an answer that was an error.
      if (source.readyState === EventSource.CLOSED && !signedOut.value) {
        setTimeout(open, reopenAfter);
      }
    };
  };
  open();
}

function emit(event: Parameters<Listener>[0], change: Change | null): void {
  if (event === "publish" && change?.version) {
    changeOfVersion.set(change.version, change.id);
    bounded(changeOfVersion, keptProofs);
  }
  for (const f of listeners) {
    f(event, change);
  }
}

function keepProof(p: Proof): void {
  const next = new Map(proofs.value);
  next.delete(p.id); // so that it moves to the end, away from being dropped
  next.set(p.id, p);
  bounded(next, keptProofs);
  proofs.value = next;
}
