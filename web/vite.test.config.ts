import { readdirSync } from "node:fs";
import { defineConfig } from "vite";

// Compiles the unit tests so that `node --test` runs them without another test runner.
const tests = readdirSync("console").filter((f) => f.endsWith(".test.ts"));

export default defineConfig({
  root: "console",
  publicDir: false,
  build: {
    ssr: true,
    outDir: "../.test-build",
    emptyOutDir: true,
    target: "node20",
    rolldownOptions: { input: tests.map((f) => `console/${f}`) },
  },
});
