// Takes over the page that the server rendered. See README.md for the names that tests may rely on.

import { render } from "preact";
import { App, startRouting } from "./app";
import { startLive } from "./live";
import { retryUnreachable } from "./queue";
import { loadSession } from "./session";
import { startSites } from "./sites";

const root = document.getElementById("app");
if (root) {
  root.replaceChildren();
  void loadSession();
  startSites();
  startLive();
  startRouting();
  addEventListener("online", retryUnreachable);
  render(<App />, root);
  document.body.classList.remove("awaits-script");
  document.body.dataset.ready = "";
}
