// The view of the nodes.

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { asProblem, call, type FleetNode, type Problem } from "./api";
import { bytes, count, percent, plural, sparkline } from "./format";
import { fleet, fleetAt, fleetProblem, history, historyLength, liveState } from "./live";
import { announce, confirm, Failure } from "./parts";

/** Ticks while the view is open, so that ages grow between two reports. */
const now = signal(performance.now());
const problem = signal<Problem | null>(null);
/** Orders just given, as "drain fra": their buttons rest, so that nobody gives them twice before a report answers. */
const ordered = signal<ReadonlySet<string>>(new Set());

export function FleetView() {
  useEffect(() => {
    const t = setInterval(() => {
      now.value = performance.now();
    }, 250);
    return () => clearInterval(t);
  }, []);
  const view = fleet.value;
  return (
    <div class="stack">
      <div class="head">
        <h1 tabIndex={-1}>Fleet</h1>
        {liveState.value === "polling" && (
          <span class="lead">Live events do not arrive; asking every two seconds.</span>
        )}
      </div>
      {fleetProblem.value && liveState.value !== "live" && <Failure problem={fleetProblem.value} />}
      {problem.value && <Failure problem={problem.value} />}
      {!view && !fleetProblem.value && <p class="card empty">Loading…</p>}
      {view && <Figures nodes={view.nodes} />}
      {view && (
        <div class="card flush">
          {view.nodes.length > 0 ? (
            <NodeTable nodes={view.nodes} serverNow={Date.parse(view.now)} />
          ) : (
            <p class="empty">
              <strong>No node has reported yet</strong>Edges and DNS servers report within a second of their start.
            </p>
          )}
        </div>
      )}
    </div>
  );
}

function Figures({ nodes }: { nodes: readonly FleetNode[] }) {
  const edges = nodes.filter((n) => n.role === "edge");
  const ready = edges.filter((n) => !n.down && n.state === "ready").length;
  const alive = edges.filter((n) => !n.down);
  const sum = (f: (n: FleetNode) => number) => alive.reduce((s, n) => s + f(n), 0);
  const hits = sum((n) => n.cache?.hits ?? 0);
  const asked = hits + sum((n) => n.cache?.misses ?? 0);
  const late = edges.filter((n) => n.down || n.behind !== 0).length;
  const figures: [string, string][] = [
    ["Edges ready", `${ready} of ${edges.length}`],
    ["Requests per second", sum((n) => n.load.rps).toFixed(1)],
    ["Sent per second", bytes(sum((n) => n.load.sent_bps))],
    ["Hits since start", percent(hits, asked)],
    ["Edges behind the log", edges.length === 0 ? "–" : count(late)],
  ];
  return (
    <div class="figures">
      {figures.map(([label, value]) => (
        <div class="card figure" key={label}>
          <div class="label">{label}</div>
          <div class="value">{value}</div>
        </div>
      ))}
    </div>
  );
}

function NodeTable({ nodes, serverNow }: { nodes: readonly FleetNode[]; serverNow: number }) {
  return (
    <div class="scroll">
      <table id="fleet-table" class="cards">
        <thead>
          <tr>
            <th scope="col">Node</th>
            <th scope="col">Place</th>
            <th scope="col">State</th>
            <th scope="col" class="r">
              Last report
            </th>
            <th scope="col" class="r">
              Requests/s
            </th>
            <th scope="col">Last minute</th>
            <th scope="col" class="r">
              Hits
            </th>
            <th scope="col">Cache</th>
            <th scope="col">Log</th>
            <th scope="col">
              <span class="sr">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {edgesFirst(nodes).map((n) => (
            <Row key={n.node} n={n} serverNow={serverNow} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function edgesFirst(nodes: readonly FleetNode[]): FleetNode[] {
  return [...nodes].sort((a, b) => Number(b.role === "edge") - Number(a.role === "edge"));
}

/** The state as a word, and the class that colours it. */
export function stateOf(n: { down: boolean; state: string }): [word: string, look: string] {
  if (n.down) {
    return n.state === "stopping" ? ["stopped", "idle"] : ["down", "bad"];
  }
  return [n.state, n.state === "ready" ? "ok" : "warn"];
}

function Row({ n, serverNow }: { n: FleetNode; serverNow: number }) {
  const [word, look] = stateOf(n);
  const age = Math.max(0, (serverNow - Date.parse(n.heard) + Math.max(0, now.value - fleetAt.value)) / 1000);
  return (
    <tr data-node={n.node} data-state={word}>
      <td class="full">
        <strong>{n.node}</strong> <span class="muted">{n.role}</span>
      </td>
      <td data-label="Place">
        {n.place.name || "–"}
        {n.place.country && <span class="muted"> {n.place.country}</span>}
      </td>
      <td data-label="State">
        <span class={`state ${look}`}>{word}</span>
      </td>
      <td class="r" data-label="Last report">
        {age < 100 ? `${age.toFixed(1)} s ago` : `${count(Math.round(age / 60))} min ago`}
      </td>
      <td class="r" data-label="Requests/s">
        {n.down ? "–" : n.load.rps.toFixed(1)}
      </td>
      <td data-label="Last minute">
        <Spark node={n.node} />
      </td>
      <td class="r" data-label="Hits">
        {n.cache ? percent(n.cache.hits, n.cache.hits + n.cache.misses) : "–"}
      </td>
      <td data-label="Cache">
        <CacheFill n={n} />
      </td>
      <td data-label="Log">
        <Lag n={n} />
      </td>
      <td class="full">
        <Orders n={n} />
      </td>
    </tr>
  );
}

function Spark({ node }: { node: string }) {
  const values = history.get(node) ?? [];
  const newest = values.at(-1) ?? 0;
  return (
    <svg
      class="spark"
      viewBox="0 0 92 22"
      role="img"
      aria-label={`Requests per second over the last minute, now ${newest.toFixed(1)}`}
    >
      <path d={sparkline(values, 92, 22, historyLength)} />
    </svg>
  );
}

function CacheFill({ n }: { n: FleetNode }) {
  if (!n.cache) {
    return <>–</>;
  }
  const { bytes: used, limit, objects } = n.cache;
  return (
    <span title={plural(objects, "object")}>
      <span class="num nowrap">
        {bytes(used)}
        {limit > 0 && <span class="muted"> of {bytes(limit)}</span>}
      </span>
      {limit > 0 && <progress class="bar meter" max={limit} value={used} aria-label={`Cache of ${n.node}`} />}
    </span>
  );
}

function Lag({ n }: { n: FleetNode }) {
  if (n.role !== "edge") {
    return <>–</>;
  }
  if (n.behind === null) {
    return <span class="warn-text">not known</span>;
  }
  return n.behind === 0 ? (
    <span class="nowrap">up to date</span>
  ) : (
    <span class="warn-text nowrap">{plural(n.behind, "entry", "entries")} behind</span>
  );
}

const orderRest = 1500;

async function order(node: string, what: "drain" | "undrain" | "forget"): Promise<void> {
  const given = `${what} ${node}`;
  ordered.value = new Set(ordered.value).add(given);
  problem.value = null;
  try {
    const path = `/api/v1/fleet/${encodeURIComponent(node)}`;
    await (what === "forget" ? call("DELETE", path) : call("POST", `${path}/${what}`));
    announce(`${what} of ${node} ordered`);
    await new Promise((r) => setTimeout(r, orderRest));
  } catch (e) {
    problem.value = asProblem(e);
  }
  const rest = new Set(ordered.value);
  rest.delete(given);
  ordered.value = rest;
}

async function drain(n: FleetNode): Promise<void> {
  const yes = await confirm({
    title: `Drain ${n.node}?`,
    text: <p>DNS stops giving its address within a second. It goes on serving whoever still comes.</p>,
    yes: "Drain",
    danger: false,
  });
  if (yes) {
    await order(n.node, "drain");
  }
}

async function forget(n: FleetNode): Promise<void> {
  const yes = await confirm({
    title: `Forget ${n.node}?`,
    text: <p>It leaves the list, and proofs of purge no longer wait for it. If it comes back it reports again.</p>,
    yes: "Forget",
    danger: true,
  });
  if (yes) {
    await order(n.node, "forget");
  }
}

function Orders({ n }: { n: FleetNode }) {
  const button = (what: "drain" | "undrain" | "forget", word: string, act: () => void) => (
    <button
      type="button"
      class={`btn quiet small ${what === "forget" ? "danger" : ""}`}
      data-do={what}
      aria-label={`${word} ${n.node}`}
      disabled={ordered.value.has(`${what} ${n.node}`)}
      onClick={act}
    >
      {word}
    </button>
  );
  const edge = n.role === "edge" && !n.down;
  return (
    <div class="actions">
      {edge && n.state === "ready" && button("drain", "Drain", () => drain(n))}
      {edge && n.state === "draining" && button("undrain", "Undrain", () => order(n.node, "undrain"))}
      {n.down && button("forget", "Forget", () => forget(n))}
    </div>
  );
}
