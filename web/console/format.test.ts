import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ago,
  bytes,
  bytesField,
  duration,
  inTime,
  joinPath,
  milliseconds,
  parseBytes,
  pathProblem,
  percent,
  plural,
  proofLine,
  sparkline,
  took,
} from "./format";

test("bytes", () => {
  // The same cases as TestFormatBytes: both sides of the console write sizes alike.
  const cases: [number, string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [99_949, "99.9 kB"],
    [99_950, "100 kB"],
    [999_499, "999 kB"],
    [999_500, "1.0 MB"],
    [12_345_678, "12.3 MB"],
    [5 * 2 ** 40, "5.5 TB"],
  ];
  for (const [n, want] of cases) {
    assert.equal(bytes(n), want);
  }
});

test("times", () => {
  const cases: [number, string][] = [
    [0.2, "1 s"],
    [59.1, "60 s"],
    [61, "1 min"],
    [3599, "1 h 0 min"],
    [5400, "1 h 30 min"],
    [Number.NaN, "a long time"],
    [1e9, "a long time"],
  ];
  for (const [s, want] of cases) {
    assert.equal(duration(s), want);
  }
  assert.equal(milliseconds(0.02), "< 0.1 ms");
  assert.equal(milliseconds(3.14), "3.1 ms");
  assert.equal(milliseconds(31.4), "31 ms");
  assert.equal(milliseconds(12_340), "12.3 s");
  const now = Date.parse("2026-11-20T12:00:00Z");
  assert.equal(ago(now + 5000, now), "just now"); // the clocks of browser and server differ
  assert.equal(ago(now - 50_000, now), "1 minute ago");
  assert.equal(ago(now - 7_200_000, now), "2 hours ago");
  assert.equal(ago(now - 90_000_000, now), "2026-11-19");
});

test("joinPath", () => {
  const cases: [string, string, string][] = [
    ["/", "a.txt", "/a.txt"],
    ["", "a.txt", "/a.txt"],
    ["docs", "a.txt", "/docs/a.txt"],
    [" /docs/ ", "sub/a.txt", "/docs/sub/a.txt"],
    ["//", "/a.txt", "/a.txt"],
    ["a/../b", "c", "/a/../b/c"], // not repaired: the file would land where nobody wrote
  ];
  for (const [dir, name, want] of cases) {
    assert.equal(joinPath(dir, name), want);
  }
});

test("pathProblem", () => {
  for (const good of ["/a", "/a b/ü/文档.pdf", "/..a/b..", `/${"x".repeat(255)}`, "/_perigee2/x", "/100%.txt"]) {
    assert.equal(pathProblem(good), "", good);
  }
  const bad: [string, RegExp][] = [
    ["/a//b", /empty part/],
    ["/a/../b", /“\.\.”/],
    ["/./a", /“\.”/],
    [`/${"x".repeat(256)}`, /255/],
    [`/${"ü".repeat(128)}`, /255/], // bytes, not letters
    [`/${"abc/".repeat(600)}a`, /2,048/],
    ["/a\u0000b", /control/],
    ["/a\\b", /backslash/],
    ["/_perigee/x", /reserved/],
    ["/_perigee", /reserved/],
  ];
  for (const [path, want] of bad) {
    assert.match(pathProblem(path), want, path);
  }
});

test("proofLine never claims more than was proved", () => {
  const edge = (ms: number | null) => ({ ms });
  assert.equal(
    proofLine({ applied: 2, total: 2, effective: true, edges: [edge(12), edge(31)] }),
    "effective on 2 of 2 edges after 31 ms",
  );
  assert.equal(
    proofLine({ applied: 2, total: 2, effective: true, edges: [edge(null), edge(null)] }),
    "effective on 2 of 2 edges",
  );
  assert.equal(
    proofLine({ applied: 1, total: 2, effective: false, edges: [edge(12), edge(null)] }),
    "effective on 1 of 2 edges so far",
  );
  assert.match(proofLine({ applied: 0, total: 0, effective: false, edges: [] }), /nothing is proved/);
});

test("small ones", () => {
  assert.equal(plural(1, "file"), "1 file");
  assert.equal(plural(2000, "entry", "entries"), "2,000 entries");
  assert.equal(percent(1, 3), "33.3 %");
  assert.equal(percent(0, 0), "–");
  assert.equal(sparkline([], 90, 20, 10), "");
  assert.equal(sparkline([0, 10, 5], 90, 20, 10), "M70.0 20.0L80.0 0.0L90.0 10.0");
});

test("sizes that people write", () => {
  const cases: [string, number | null][] = [
    ["0", 0],
    ["512", 512],
    [" 10 GB ", 10e9],
    ["10gb", 10e9],
    ["1.5 MB", 1_500_000],
    ["1,5 MB", 1_500_000],
    ["64kB", 64_000],
    ["1 MiB", 2 ** 20],
    ["2g", 2e9],
    ["100 B", 100],
    ["", null],
    ["-1", null],
    ["10 XB", null],
    ["1e9", null],
    ["99999999 PB", null],
  ];
  for (const [text, want] of cases) {
    assert.equal(parseBytes(text), want, text);
  }
  for (const n of [1, 999, 1000, 1500, 1501, 12_345_678, 10e9, 5 * 2 ** 30, 123_450_000_000]) {
    assert.equal(parseBytes(bytesField(n)), n, bytesField(n));
  }
  assert.equal(bytesField(10e9), "10 GB");
  assert.equal(bytesField(1_500_000), "1.5 MB");
});

test("times to come and times that were measured", () => {
  assert.equal(inTime(5000, 6000), "now");
  assert.equal(inTime(66_000, 6000), "in 1 min");
  assert.equal(took(0.04), "0.0 s");
  assert.equal(took(75), "1 min");
});
