// The view that shows why a client at some address gets what it gets.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { asProblem, call, type Explanation, type Problem } from "./api";
import { stateOf } from "./fleet";
import { bytes, count, moment } from "./format";
import { Copy, Failure } from "./parts";
import { SitePicker } from "./sitepicker";
import { site, sites } from "./sites";

const path = signal("");
const ip = signal("");
const result = signal<Explanation | null>(null);
const problem = signal<Problem | null>(null);
const busy = signal(false);

async function ask(): Promise<void> {
  busy.value = true;
  try {
    const q = new URLSearchParams({ site: site.value, path: path.value });
    if (ip.value.trim()) {
      q.set("ip", ip.value.trim());
    }
    result.value = await call<Explanation>("GET", `/api/v1/explain?${q}`);
    problem.value = null;
  } catch (e) {
    problem.value = asProblem(e);
    result.value = null;
  } finally {
    busy.value = false;
  }
}

export function ExplainView({ query }: { query: URLSearchParams }) {
  useEffect(() => {
    const asked = query.get("path");
    if (asked !== null && asked !== path.value) {
      path.value = asked;
      result.value = null;
    }
  }, [query]);
  return (
    <div class="stack">
      <div class="head">
        <h1 tabIndex={-1}>Explain</h1>
        <span class="lead">Which edge a client is sent to, why, and what that edge will do.</span>
      </div>
      <form
        id="explain-form"
        class="card"
        onSubmit={(e) => {
          e.preventDefault();
          void ask();
        }}
      >
        <div class="fields">
          {sites.value.length > 1 && <SitePicker id="explain-site" label="Site" />}
          <div class="field">
            <label for="explain-path">Path</label>
            <input
              id="explain-path"
              type="text"
              required
              value={path.value}
              placeholder="/hello.txt"
              autocomplete="off"
              spellcheck={false}
              onInput={(e) => {
                path.value = e.currentTarget.value;
              }}
            />
          </div>
          <div class="field">
            <label for="explain-ip">Client address</label>
            <input
              id="explain-ip"
              type="text"
              value={ip.value}
              placeholder="81.2.69.160"
              autocomplete="off"
              spellcheck={false}
              onInput={(e) => {
                ip.value = e.currentTarget.value;
              }}
            />
            <span class="hint">IPv4 or IPv6. Empty: your own.</span>
          </div>
        </div>
        <div class="row">
          <button type="submit" class="btn primary" disabled={busy.value || !site.value}>
            {busy.value ? "Asking…" : "Explain"}
          </button>
        </div>
      </form>
      {problem.value && <Failure problem={problem.value} />}
      {result.value && <Answer e={result.value} />}
    </div>
  );
}

function Answer({ e }: { e: Explanation }) {
  return (
    <div class="card" id="explain-result" data-chosen={e.chosen}>
      <ol class="steps">
        <li>
          <h2>{where(e)}</h2>
          <span class="muted small">
            {e.geo.source}
            {e.geo.built && `, built ${e.geo.built}`}
            {e.place.known && `; ${e.place.lat.toFixed(2)}, ${e.place.lon.toFixed(2)}`}
          </span>
        </li>
        <li>
          <h2>{e.chosen ? `${e.chosen} is chosen` : "No edge is fit to serve"}</h2>
          <Candidates e={e} />
        </li>
        <li>
          <h2>{e.answer.addr ? `DNS answers ${e.answer.type} ${e.answer.addr}` : "DNS has no address to give"}</h2>
          {e.answer.addr && (
            <span class="muted small">
              for {e.answer.ttl} s{e.answer.scope && `, to every client in ${e.answer.scope}`}
            </span>
          )}
        </li>
        <li>
          <h2>{e.edge.outcome ? `The next request is a ${e.edge.outcome}` : "The edge could not be asked"}</h2>
          <span class="muted small">
            {e.edge.reason}
            {e.edge.blob && `; content: ${blobs[e.edge.blob] ?? e.edge.blob}`}
          </span>
          <PointerFacts p={e.edge.pointer} path={e.path} />
        </li>
      </ol>
    </div>
  );
}

const blobs: Record<string, string> = { ram: "in RAM", disk: "on disk", absent: "not in its cache" };

function where(e: Explanation): string {
  if (!e.place.known) {
    return `Nobody knows where ${e.ip} is`;
  }
  const place = [e.place.city, e.place.country].filter(Boolean).join(", ");
  return `${e.ip} is in ${place || "a known place without a name"}`;
}

function Candidates({ e }: { e: Explanation }) {
  if (e.candidates.length === 0) {
    return <span class="muted small">No edge has reported.</span>;
  }
  return (
    <div class="scroll">
      <table id="candidates" class="cards">
        <thead>
          <tr>
            <th scope="col">Edge</th>
            <th scope="col" class="r">
              Distance
            </th>
            <th scope="col">State</th>
            <th scope="col">Why</th>
            <th scope="col">Addresses</th>
          </tr>
        </thead>
        <tbody>
          {e.candidates.map((c) => {
            const [word, look] = stateOf(c);
            const chosen = c.node === e.chosen;
            return (
              <tr key={c.node} class={chosen ? "chosen" : ""} data-node={c.node}>
                <td class="full">
                  <strong>{c.node}</strong>
                  {chosen && <span class="muted"> chosen</span>}
                </td>
                <td class="r" data-label="Distance">
                  {e.place.known ? `${count(Math.round(c.km))} km` : "–"}
                </td>
                <td data-label="State">
                  <span class={`state ${look}`}>{word}</span>
                </td>
                <td data-label="Why">{c.reason}</td>
                <td data-label="Addresses" class="mono">
                  {(c.addrs ?? []).join(", ")}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function PointerFacts({ p, path }: { p: Explanation["edge"]["pointer"]; path: string }) {
  if (!p) {
    return <p class="small muted">{path} is not known: it was never published here.</p>;
  }
  const facts: [string, ComponentChildren][] = [
    ["Version", <code key="v">{p.version}</code>],
    ["Changed", moment(p.modified)],
  ];
  if (p.state === "gone") {
    facts.unshift(["State", "deleted"]);
  } else {
    facts.push(["Size", bytes(p.size)], ["Type", p.content_type || "–"]);
    if (p.sha256) {
      facts.push([
        "SHA-256",
        <Copy key="h" text={p.sha256} what="SHA-256" label={<code>{p.sha256.slice(0, 16)}…</code>} />,
      ]);
    }
  }
  return (
    <dl class="facts-list small">
      {facts.map(([k, v]) => (
        <>
          <dt key={`${k}-t`}>{k}</dt>
          <dd key={`${k}-d`}>{v}</dd>
        </>
      ))}
    </dl>
  );
}
