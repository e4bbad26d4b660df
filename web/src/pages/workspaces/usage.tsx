// proves COST-2b: state, size and awake minutes, trigger, cap posture, what a provider bills separately, and receipts.

import { useUsage } from "../../api/queries";
import type { Cap, CapPosture, Receipt, Workspace, WorkspaceUsage } from "../../api/types";
import { awakeMinutes, count, duration, money, sentence } from "../../format";
import { Badge } from "../../ui/badge";
import { Button } from "../../ui/button";
import { Card, Fact, Facts } from "../../ui/card";
import { Meter } from "../../ui/meter";
import { Loading, RefusalNotice } from "../../ui/notice";
import { Time, useNow } from "../../ui/time";
import { publicWord } from "./runtime";

/** Receipts shown at once; older ones unfold. */
const RECENT = 3;

export function UsageCard({ workspace }: { workspace: Workspace }) {
  const usage = useUsage(workspace);
  const { runtime } = workspace;
  return (
    <Card title="Usage" aside={<Badge state={runtime.readiness} label={publicWord(runtime.state)} />}>
      {usage.isError && (
        <RefusalNotice error={usage.error}>
          <Button small onClick={() => void usage.refetch()}>
            Try again
          </Button>
        </RefusalNotice>
      )}
      {usage.isPending && <Loading what="the usage" />}
      {usage.data && <Panel usage={usage.data} readAt={usage.dataUpdatedAt} />}
    </Card>
  );
}

function Panel({ usage, readAt }: { usage: WorkspaceUsage; readAt: number }) {
  const { billed_separately: separate, receipts } = usage;
  return (
    <>
      <p className="text-sm text-quiet">Awake this month</p>
      <p className="text-2xl font-semibold tabular-nums">
        <AwakeClock usage={usage} readAt={readAt} />
      </p>
      <Posture cap={usage.cap} posture={usage.cap_posture} currency={usage.currency} />
      <OtherCaps usage={usage} />
      <div className="mt-4">
        <Facts>
          <Fact name="Estimate">{money(usage.estimate_micros, usage.currency)} this month</Fact>
          <Fact name="Size">{sentence(usage.size)}</Fact>
          <Fact name="Trigger">{usage.wake_cause ?? "none now"}</Fact>
          {usage.awake_since && (
            <Fact name="Metered since">
              <Time at={usage.awake_since} />
            </Fact>
          )}
          <Fact name="Billed apart">
            {separate.length === 0 ? "nothing" : `${separate.join(", ")}, by their provider`}
          </Fact>
        </Facts>
      </div>
      <section aria-label="Receipts" className="mt-5">
        <h3 className="text-sm font-medium text-quiet">Receipts</h3>
        {receipts.length === 0 ? (
          <p className="mt-1 text-quiet">None yet. Every session leaves one, kept after sleep.</p>
        ) : (
          <>
            <Receipts receipts={receipts.slice(0, RECENT)} />
            {receipts.length > RECENT && (
              <details>
                <summary className="text-link inline-block py-1 text-sm">{count(receipts.length - RECENT)} older</summary>
                <Receipts receipts={receipts.slice(RECENT)} />
              </details>
            )}
            <p className="mt-1 text-sm text-quiet">Kept after sleep.</p>
          </>
        )}
      </section>
    </>
  );
}

/** The meter runs only while a window is open; between two readings the page counts on, by its own clock's difference. */
function AwakeClock({ usage, readAt }: { usage: WorkspaceUsage; readAt: number }) {
  const now = useNow(1_000);
  const since = usage.awake_since ? Math.max(0, now - readAt) / 1000 : 0;
  return awakeMinutes(usage.awake_seconds_this_month + since);
}

/** A cap in words. */
export function capInWords({ mode, minutes = 0, micros, warn_at = 80 }: Cap, currency: string): string {
  const amount = micros == null ? `${count(minutes)} min` : money(micros, currency);
  switch (mode) {
    case "none":
      return "No cap";
    case "warn":
      return `Warns from ${warn_at} % of ${amount} a month, never stops`;
    case "stop":
      return `Warns from ${warn_at} %, stops at ${amount} a month`;
  }
}

/** What else the runtime counts against, and what lifts a stop. */
function OtherCaps({ usage }: { usage: WorkspaceUsage }) {
  return (
    <>
      {(usage.caps ?? []).map(({ level, name, cap, posture, overridden }) => (
        <div key={`${level} ${name}`}>
          {level !== "workspace" && (
            <>
              <p className="mt-3 text-sm font-medium text-quiet">{sentence(`${level} ${name}`)}</p>
              {posture ? (
                <Posture cap={cap} posture={posture} currency={usage.currency} />
              ) : (
                <p className="mt-1 text-quiet">{capInWords(cap, usage.currency)}</p>
              )}
            </>
          )}
          {overridden && (
            <p className="text-sm">
              Overridden by {overridden.by} until <Time at={overridden.until} />: {overridden.reason}
            </p>
          )}
        </div>
      ))}
      {usage.cap_grace_until && (
        <p className="mt-1 text-waking">
          Jobs that run may end until <Time at={usage.cap_grace_until} />
        </p>
      )}
    </>
  );
}

function Posture({ cap, posture, currency }: { cap: Cap; posture: CapPosture; currency: string }) {
  if (posture.posture === "none") return <p className="mt-1 text-quiet">{capInWords(cap, currency)}</p>;
  const { percent } = posture;
  const tone = { within: "text-quiet", warning: "text-waking font-medium", stopped: "text-blocked font-medium" };
  const look = ({ within: "good", warning: "warning", stopped: "bad" } as const)[posture.posture];
  const words = {
    within: `${percent} % of the cap used`,
    warning: `Warning: ${percent} % of the cap used`,
    stopped: `Stopped: ${percent} % of the cap used`,
  };
  return (
    <div className="mt-2">
      <Meter label="Share of the cap used" percent={percent} look={look} />
      <p className={`mt-1 ${tone[posture.posture]}`}>{words[posture.posture]}</p>
      <p className="text-sm text-quiet">{capInWords(cap, currency)}</p>
    </div>
  );
}

function Receipts({ receipts }: { receipts: Receipt[] }) {
  return (
    <ul className="divide-y divide-line">
      {receipts.map((receipt) => {
        const first = receipt.windows[0];
        const last = receipt.windows.at(-1);
        return (
          <li key={receipt.session} className="py-2">
            <div className="flex items-baseline justify-between gap-3">
              <span>
                {first ? <Time at={first.opened_at} /> : "no window"}
                {!receipt.is_final && <span className="text-sm text-quiet"> · still growing</span>}
              </span>
              <span className="whitespace-nowrap tabular-nums">
                {duration(receipt.awake_seconds)} · {money(receipt.cost_micros, receipt.currency)}
              </span>
            </div>
            {first && (
              <p className="text-sm wrap-anywhere text-quiet">
                {sentence(first.wake_cause)}
                {last?.end_cause && ` → ${last.end_cause}`}
              </p>
            )}
            {receipt.unproven_seconds > 0 && (
              <p className="text-sm text-quiet">{duration(receipt.unproven_seconds)} could not be proven and is not billed</p>
            )}
          </li>
        );
      })}
    </ul>
  );
}
