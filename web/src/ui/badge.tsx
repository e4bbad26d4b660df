import type { ReadinessState } from "../api/types";

const LOOKS: Record<ReadinessState, string> = {
  ready: "bg-ready-soft text-ready",
  waking: "bg-waking-soft text-waking",
  blocked: "bg-blocked-soft text-blocked",
  asleep: "bg-asleep-soft text-asleep",
};

/** A state as a word and a shape; color only repeats them. */
export function Badge({ state, label = state }: { state: ReadinessState; label?: string }) {
  return (
    <span className={`inline-flex items-center gap-1.5 rounded-full px-2.5 py-0.5 text-sm font-medium whitespace-nowrap ${LOOKS[state]}`}>
      <svg aria-hidden="true" viewBox="0 0 12 12" className={`size-3 ${state === "waking" ? "motion-safe:animate-pulse" : ""}`}>
        <Shape state={state} />
      </svg>
      {label}
    </span>
  );
}

function Shape({ state }: { state: ReadinessState }) {
  const line = { fill: "none", stroke: "currentColor", strokeWidth: 1.8, strokeLinecap: "round", strokeLinejoin: "round" } as const;
  switch (state) {
    case "ready":
      return <path d="M2 6.5 4.8 9.2 10 3.2" {...line} />;
    case "waking":
      return <path d="M6 1.5a4.5 4.5 0 1 1-4.2 2.9" {...line} />;
    case "blocked":
      return <path d="M3 3l6 6M9 3l-6 6" {...line} />;
    case "asleep":
      return <path d="M9.8 7.6A4.4 4.4 0 0 1 4.4 2.2a4.4 4.4 0 1 0 5.4 5.4Z" fill="currentColor" />;
  }
}
