// How numbers, times and paths are written. Pure functions.

const units = ["kB", "MB", "GB", "TB", "PB"];

/** A size in powers of 1,000, as the server writes it. */
export function bytes(n: number): string {
  if (n < 1000) {
    return `${Math.round(n)} B`;
  }
  let unit = "";
  for (unit of units) {
    n /= 1000;
    if (n < 999.5) {
      break;
    }
  }
  return `${n.toFixed(n < 99.95 ? 1 : 0)} ${unit}`;
}

export function count(n: number): string {
  return n.toLocaleString("en-US");
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** Time left, rounded so that it does not flicker. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds > 359_940) {
    return "a long time";
  }
  if (seconds < 1) {
    return "1 s";
  }
  if (seconds < 60) {
    return `${Math.ceil(seconds)} s`;
  }
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) {
    return `${minutes} min`;
  }
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function milliseconds(ms: number): string {
  if (ms >= 10_000) {
    return `${(ms / 1000).toFixed(1)} s`;
  }
  if (ms < 0.1) {
    return "< 0.1 ms";
  }
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** How long ago t was, in words. */
export function ago(t: number, now: number): string {
  const s = Math.max(0, (now - t) / 1000);
  if (s < 45) {
    return "just now";
  }
  if (s < 3570) {
    return `${plural(Math.max(1, Math.round(s / 60)), "minute")} ago`;
  }
  if (s < 86_400) {
    return `${plural(Math.round(s / 3600), "hour")} ago`;
  }
  return new Date(t).toISOString().slice(0, 10);
}

/** A size as people write it, such as "10 GB" or "1.5MiB", in bytes; null if it is none. */
export function parseBytes(text: string): number | null {
  const m = /^([0-9]+(?:[.,][0-9]+)?)\s*(?:([kmgtp])(i)?)?b?$/i.exec(text.trim());
  if (!m?.[1]) {
    return null;
  }
  const power = m[2] ? "kmgtp".indexOf(m[2].toLowerCase()) + 1 : 0;
  const n = Math.round(Number(m[1].replace(",", ".")) * (m[3] ? 1024 : 1000) ** power);
  return Number.isSafeInteger(n) ? n : null;
}

/** How a number of bytes is written into a field: so that parseBytes gives just that number again. */
export function bytesField(n: number): string {
  for (let i = units.length; i > 0; i--) {
    const unit = 1000 ** i;
    if (n >= unit && n % (unit / 100) === 0) {
      return `${n / unit} ${units[i - 1]}`;
    }
  }
  return String(n);
}

/** How soon t is, in words; for what is bound to happen. */
export function inTime(t: number, now: number): string {
  const s = (t - now) / 1000;
  return s < 1 ? "now" : `in ${duration(s)}`;
}

/** A length of time that was measured, in seconds. */
export function took(seconds: number): string {
  return seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds);
}

/** A moment in the reader's own time zone, to the second. */
export function moment(iso: string): string {
  const d = new Date(iso);
  const two = (n: number) => String(n).padStart(2, "0");
  return (
    `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ` +
    `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`
  );
}

export function percent(part: number, whole: number): string {
  return whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : "–";
}

/** The path of a file that is put into a directory: one '/' between them, one at the start. */
export function joinPath(directory: string, name: string): string {
  const trim = (s: string) => s.replace(/^\/+|\/+$/g, "");
  const dir = trim(directory.trim());
  return `${dir ? `/${dir}` : ""}/${name.replace(/^\/+/, "")}`;
}

/** Why the server would refuse the path, or "". The server decides; this only spares a useless transfer. */
export function pathProblem(path: string): string {
  const size = (s: string) => new TextEncoder().encode(s).length;
  if (size(path) > 2048) {
    return "The path is longer than 2,048 bytes.";
  }
  for (const seg of path.slice(1).split("/")) {
    if (seg === "" || seg === "." || seg === "..") {
      return `The path has ${seg === "" ? "an empty part (“//”)" : `the part “${seg}”`}.`;
    }
    if (size(seg) > 255) {
      return "A part of the path is longer than 255 bytes.";
    }
    if (/[\p{Cc}\\\u2028\u2029]/u.test(seg)) {
      return "The path has a control character or a backslash.";
    }
  }
  return path === "/_perigee" || path.startsWith("/_perigee/") ? "Paths below /_perigee/ are reserved." : "";
}

/** The path attribute of a line through values, in a box of the given size; the newest value is at the right edge. */
export function sparkline(values: readonly number[], width: number, height: number, slots: number): string {
  const top = Math.max(1, ...values);
  const step = width / Math.max(1, slots - 1);
  return values
    .map((v, i) => {
      const x = width - (values.length - 1 - i) * step;
      return `${i === 0 ? "M" : "L"}${x.toFixed(1)} ${(height - (v / top) * height).toFixed(1)}`;
    })
    .join("");
}

/** What a set of proofs says in one line. */
export function proofLine(p: { applied: number; total: number; effective: boolean; edges: { ms: number | null }[] }) {
  if (p.total === 0) {
    return "no edge is known yet, so nothing is proved";
  }
  const times = p.edges.flatMap((e) => (e.ms === null ? [] : [e.ms]));
  const after = times.length > 0 ? ` after ${milliseconds(Math.max(...times))}` : "";
  return p.effective
    ? `effective on ${p.applied} of ${p.total} edges${after}`
    : `effective on ${p.applied} of ${p.total} edges so far`;
}
