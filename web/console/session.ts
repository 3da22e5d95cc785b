// Who this page is to the API, and so what it offers. The API decides; this only spares useless offers.

import { signal } from "@preact/signals";
import { call, type Session } from "./api";

/** null until it is known; then everything is offered. */
export const me = signal<Session | null>(null);

export async function loadSession(): Promise<void> {
  try {
    me.value = await call<Session>("GET", "/session");
  } catch {
    me.value = null; // what is asked for next says what is wrong
  }
}

/** Whether keys, new sites and quotas may be this page's to change. */
export function mayAdminister(): boolean {
  const s = me.value;
  return !s || (s.scopes.includes("admin") && !s.sites?.length);
}

/** Whether the audit log, or a part of it, may be read. */
export function mayAudit(): boolean {
  return !me.value || me.value.scopes.includes("admin");
}
