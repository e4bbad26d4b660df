import { useEffect, useState } from "react";
import { moment, relative } from "../format";

/** The present, looked at again every `everyMs`. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** A moment relative to now; the exact one is its tooltip. */
export function Time({ at }: { at: string }) {
  const now = useNow(5_000);
  return (
    <time dateTime={at} title={moment(at)}>
      {relative(at, now)}
    </time>
  );
}
