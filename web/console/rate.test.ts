import assert from "node:assert/strict";
import { test } from "node:test";
import { RateMeter } from "./rate";

test("a steady stream has its rate", () => {
  const m = new RateMeter();
  for (let t = 0; t <= 10_000; t += 100) {
    m.note(t, t * 50);
  }
  assert.equal(Math.round(m.rate()), 50_000);
});

test("nothing is claimed from one sample or an instant", () => {
  const m = new RateMeter();
  assert.equal(m.rate(), 0);
  m.note(0, 0);
  m.note(100, 1e9);
  assert.equal(m.rate(), 0);
});

test("the rate follows a change within its window", () => {
  const m = new RateMeter(1000);
  for (let t = 0; t <= 5000; t += 100) {
    m.note(t, t * 1000);
  }
  for (let t = 5100; t <= 7000; t += 100) {
    m.note(t, 5_000_000 + (t - 5000) * 10);
  }
  assert.equal(Math.round(m.rate()), 10_000);
});

test("a transfer that goes on further back starts anew", () => {
  const m = new RateMeter();
  m.note(0, 0);
  m.note(1000, 1_000_000);
  m.note(2000, 500_000);
  m.note(3000, 600_000);
  assert.equal(m.rate(), 100_000);
});
