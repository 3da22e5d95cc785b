// The small parts that every view uses: icons, copying, messages, the confirmation dialog, spoken announcements.

import { type Signal, signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Problem } from "./api";

const shapes = {
  copy: "M6 6h8v8H6zM4 10H2V2h8v2",
  check: "M3 8.5l3.2 3.2L13 4.8",
  upload: "M8 10.5V2.5M4.8 5.4L8 2.2l3.2 3.2M2.5 10v3.5h11V10",
};

export function Icon({ name }: { name: keyof typeof shapes }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={shapes[name]} />
    </svg>
  );
}

/** What a screen reader says next. */
export const announcement = signal("");

export function announce(text: string): void {
  announcement.value = "";
  // Two identical texts in a row are spoken twice only if the region was empty in between.
  setTimeout(() => {
    announcement.value = text;
  }, 50);
}

async function toClipboard(text: string): Promise<void> {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Plain http beyond this machine has no clipboard object; the old way still works there.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr";
  document.body.append(area);
  area.select();
  const ok = document.execCommand("copy");
  area.remove();
  if (!ok) {
    throw new Error("the browser refused");
  }
}

/** A button that copies text and says so. what names the thing, such as "URL". */
export function Copy({ text, what, label }: { text: string; what: string; label?: ComponentChildren }) {
  const state = useSignal<"" | "done" | "failed">("");
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    try {
      await toClipboard(text);
      state.value = "done";
      announce(`${what} copied`);
    } catch {
      state.value = "failed";
      announce(`${what} could not be copied`);
    }
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      state.value = "";
    }, 1600);
  };
  return (
    <button
      type="button"
      class={`copy ${state.value}`}
      title={`Copy ${what}: ${text}`}
      aria-label={`Copy ${what}`}
      data-copy={what}
      data-text={text}
      onClick={copy}
    >
      <Icon name={state.value === "done" ? "check" : "copy"} />
      {state.value === "done" ? "Copied" : state.value === "failed" ? "Not copied" : label}
    </button>
  );
}

/** An error, with everything needed to act on it or to report it. */
export function Failure({ problem, retry }: { problem: Problem; retry?: () => void }) {
  if (problem.status === 401) {
    return null; // the frame says that the session is over, and what to do
  }
  return (
    <div class="note bad" role="alert">
      <p>
        <strong>{problem.title}.</strong> {problem.detail}
        {problem.requestId && (
          <span class="small muted">
            {" "}
            Request <code>{problem.requestId}</code>
          </span>
        )}
      </p>
      {retry && (
        <div class="row">
          <button type="button" class="btn small" onClick={retry}>
            Try again
          </button>
        </div>
      )}
    </div>
  );
}

interface Question {
  title: string;
  text: ComponentChildren;
  yes: string;
  danger: boolean;
  answer: (yes: boolean) => void;
}

const question = signal<Question | null>(null);

/** Asks in a dialog; false when it was dismissed. */
export function confirm(q: Omit<Question, "answer">): Promise<boolean> {
  question.value?.answer(false);
  return new Promise((resolve) => {
    question.value = {
      ...q,
      answer: (yes) => {
        question.value = null;
        resolve(yes);
      },
    };
  });
}

/** The one dialog of the page. */
export function Dialog() {
  const ref = useRef<HTMLDialogElement>(null);
  const q = question.value;
  useEffect(() => {
    if (q && ref.current && !ref.current.open) {
      ref.current.showModal();
    }
  }, [q]);
  if (!q) {
    return null;
  }
  return (
    <dialog ref={ref} id="confirm" aria-labelledby="confirm-title" onClose={() => q.answer(false)}>
      <h2 id="confirm-title">{q.title}</h2>
      <div>{q.text}</div>
      <div class="row end">
        <button type="button" class="btn" onClick={() => q.answer(false)}>
          Cancel
        </button>
        <button
          type="button"
          id="confirm-yes"
          class={`btn primary ${q.danger ? "danger" : ""}`}
          onClick={() => q.answer(true)}
        >
          {q.yes}
        </button>
      </div>
    </dialog>
  );
}

/** Buttons between the pages of a list. cursors are those of the pages before this one and, last, its own; next is that of the page after. */
export function Pager({
  cursors,
  next,
  load,
}: {
  cursors: Signal<readonly string[]>;
  next: Signal<string>;
  load: () => Promise<void>;
}) {
  const before = cursors.value.length > 1;
  if (!before && !next.value) {
    return null;
  }
  const go = (to: readonly string[]) => {
    cursors.value = to;
    void load();
  };
  return (
    <nav class="row end" aria-label="Pages">
      <span class="muted small">Page {cursors.value.length}</span>
      <button type="button" class="btn" disabled={!before} onClick={() => go(cursors.value.slice(0, -1))}>
        Previous
      </button>
      <button type="button" class="btn" disabled={!next.value} onClick={() => go([...cursors.value, next.value])}>
        Next
      </button>
    </nav>
  );
}

/** Says that something is under way, once it has taken long enough for somebody to wonder. */
export function Busy({ text }: { text: string }) {
  const shown = useSignal(false);
  useEffect(() => {
    const t = setTimeout(() => {
      shown.value = true;
    }, 600);
    return () => clearTimeout(t);
  }, []);
  return (
    <div class="busy" role="status">
      {shown.value && (
        <>
          <progress class="bar" aria-label={text} />
          <span class="small muted">{text}</span>
        </>
      )}
    </div>
  );
}

/** A labelled field of a form, bound to a signal. */
export function TextField({
  id,
  label,
  value,
  hint,
  placeholder,
  required,
  problem,
}: {
  id: string;
  label: string;
  value: Signal<string>;
  hint?: ComponentChildren;
  placeholder?: string;
  required?: boolean;
  /** Why the value cannot be sent; empty if it can. */
  problem?: string;
}) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="text"
        value={value.value}
        placeholder={placeholder ?? ""}
        required={required ?? false}
        autocomplete="off"
        spellcheck={false}
        aria-invalid={problem ? "true" : undefined}
        aria-describedby={hint || problem ? `${id}-hint` : undefined}
        onInput={(e) => {
          value.value = e.currentTarget.value;
        }}
      />
      {(problem || hint) && (
        <span class={problem ? "hint bad-text" : "hint"} id={`${id}-hint`}>
          {problem || hint}
        </span>
      )}
    </div>
  );
}
