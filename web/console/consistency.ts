// What this tab has seen of the catalogue (Perigee-Consistency): whoever sends it back is answered from no older state, also by a
// replica that is behind. It outlives a reload, in sessionStorage, and no more than that.

const field = "Perigee-Consistency";
const storageKey = "perigee-consistency";

/** More than calls are ever under way at a time; the server takes 64. */
const most = 32;

type Store = Pick<Storage, "getItem" | "setItem">;

export class Seen {
  private tokens: readonly string[];

  constructor(private readonly store?: Store) {
    let kept = "";
    try {
      kept = store?.getItem(storageKey) ?? "";
    } catch {
      // Storage may be forbidden; then a reload forgets.
    }
    this.tokens = kept.split(",").filter((t) => /^[\w-]{1,4096}$/.test(t));
  }

  /** What a request sends: all of it. */
  tell(): readonly string[] {
    return this.tokens;
  }

  /** Takes the token of an answer in place of those that its request had sent: it covers them. */
  learn(sent: readonly string[], token: string | null | undefined): void {
    if (!token || (this.tokens.length === 1 && this.tokens[0] === token)) {
      return;
    }
    const rest = this.tokens.filter((t) => t !== token && !sent.includes(t));
    this.tokens = [...rest, token].slice(-most);
    try {
      this.store?.setItem(storageKey, this.tokens.join(","));
    } catch {
      // Full or forbidden: until a reload we know it all the same.
    }
  }
}

function tabStorage(): Store | undefined {
  try {
    return sessionStorage;
  } catch {
    return undefined; // forbidden
  }
}

export const seen = new Seen(tabStorage());

/** The header of a request that sends those tokens. */
export function seenHeaders(tokens: readonly string[]): Record<string, string> {
  return tokens.length > 0 ? { [field]: tokens.join(", ") } : {};
}

/** Learns from an answer, whose header get reads. */
export function learnFrom(sent: readonly string[], get: (name: string) => string | null | undefined): void {
  seen.learn(sent, get(field));
}
