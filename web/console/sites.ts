// The sites, and the one that the views work on.

import { effect, signal } from "@preact/signals";
import { asProblem, call, type Problem, type SiteRecord } from "./api";
import { onChange } from "./live";

/** All sites, and those of them that files can be uploaded to. */
export const allSites = signal<readonly SiteRecord[]>([]);
export const sites = signal<readonly SiteRecord[]>([]);
export const site = signal("");
export const sitesProblem = signal<Problem | null>(null);
/** False until the first answer, so that no view says "no site" too early. */
export const sitesKnown = signal(false);

const remembered = "perigee.site";

export async function loadSites(): Promise<void> {
  try {
    const { sites: all } = await call<{ sites: SiteRecord[] }>("GET", "/api/v1/sites");
    allSites.value = all;
    sites.value = all.filter((s) => s.kind === "published");
    sitesProblem.value = null;
    sitesKnown.value = true;
    const names = sites.value.map((s) => s.site);
    if (!names.includes(site.value)) {
      const asked = new URLSearchParams(location.search).get("site") ?? localStorage.getItem(remembered) ?? "";
      site.value = names.includes(asked) ? asked : (names[0] ?? "");
    }
  } catch (e) {
    sitesProblem.value = asProblem(e);
  }
}

export function startSites(): void {
  void loadSites();
  onChange((event) => {
    if (event === "site" || (event === "resync" && !sitesKnown.value)) {
      void loadSites();
    }
  });
  effect(() => {
    if (site.value) {
      localStorage.setItem(remembered, site.value);
    }
  });
}
