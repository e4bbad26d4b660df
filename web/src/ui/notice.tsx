import type { ReactNode } from "react";
import { asRefused } from "../api/refusal";
import { Words } from "./words";

const LOOKS = {
  plain: "border-line bg-sunken",
  good: "border-ready/40 bg-ready-soft",
  warning: "border-waking/40 bg-waking-soft",
  bad: "border-blocked/40 bg-blocked-soft",
};

export function Notice({ look = "plain", children }: { look?: keyof typeof LOOKS; children: ReactNode }) {
  return <div className={`rounded-lg border px-4 py-3 wrap-anywhere ${LOOKS[look]}`}>{children}</div>;
}

/** An error as every surface shows it: what is wrong, what helps, and the code to search for. */
export function RefusalNotice({ error, children }: { error: unknown; children?: ReactNode }) {
  const { refusal } = asRefused(error);
  return (
    <div role="alert">
      <Notice look="bad">
        <p className="font-medium text-blocked"><Words>{refusal.message}</Words></p>
        {refusal.hint && <p className="mt-0.5"><Words>{refusal.hint}</Words></p>}
        <p className="mt-1 font-mono text-xs text-quiet">{refusal.code}</p>
        {children && <div className="mt-3">{children}</div>}
      </Notice>
    </div>
  );
}

/** Words in place of a list that has nothing yet. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="rounded-xl border border-dashed border-edge/60 px-6 py-10 text-center">
      <p className="font-medium">{title}</p>
      {children && <div className="mx-auto mt-2 max-w-md text-quiet">{children}</div>}
    </div>
  );
}

/** Says that something is on its way, to eyes and to screen readers. */
export function Loading({ what }: { what: string }) {
  return (
    <p role="status" className="py-6 text-quiet motion-safe:animate-pulse">
      Reading {what} …
    </p>
  );
}
