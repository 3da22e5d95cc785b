import { defineConfig } from "vite";

// The server renders the page itself, so the build has no HTML: Go reads dist/.vite/manifest.json to find the entry.
export default defineConfig({
  root: "console",
  publicDir: "public", // puts .gitkeep back into dist
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    manifest: true,
    license: { fileName: ".vite/license.md" },
    target: "es2022",
    modulePreload: false,
    rolldownOptions: { input: "console/main.tsx" },
  },
});
