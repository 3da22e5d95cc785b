import assert from "node:assert/strict";
import { test } from "node:test";
import { Seen, seenHeaders } from "./consistency";

function store(kept = ""): { kept: string; getItem(): string; setItem(key: string, v: string): void } {
  return {
    kept,
    getItem() {
      return this.kept;
    },
    setItem(_, v) {
      this.kept = v;
    },
  };
}

test("what an answer told takes the place of what its request had sent", () => {
  const s = new Seen();
  assert.deepEqual(seenHeaders(s.tell()), {});
  s.learn([], "a");
  s.learn([], "b"); // of a call that was under way at the same time
  assert.deepEqual(seenHeaders(s.tell()), { "Perigee-Consistency": "a, b" });
  s.learn(s.tell(), "c");
  s.learn(s.tell(), null);
  assert.deepEqual(s.tell(), ["c"]);
});

test("a reload knows what the page knew", () => {
  const tab = store();
  const s = new Seen(tab);
  s.learn([], "a");
  s.learn([], "b-_1");
  assert.deepEqual(new Seen(tab).tell(), ["a", "b-_1"]);
});

test("what is no token is not sent", () => {
  assert.deepEqual(new Seen(store("a,b c,\r\n,d")).tell(), ["a", "d"]);
});

test("a storage that throws is as none", () => {
  const broken = {
    getItem(): string {
      throw new Error("forbidden");
    },
    setItem() {
      throw new Error("full");
    },
  };
  const s = new Seen(broken);
  s.learn([], "a");
  assert.deepEqual(s.tell(), ["a"]);
});

test("tokens are bounded", () => {
  const s = new Seen();
  for (let i = 0; i < 100; i++) {
    s.learn([], `t${i}`);
  }
  assert.equal(s.tell().length, 32);
  assert.equal(s.tell().at(-1), "t99");
});
