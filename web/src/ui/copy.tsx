import { useEffect, useRef, useState } from "react";
import { Button } from "./button";

type Outcome = "idle" | "copied" | "failed";

/** A value to take away: the text itself, selectable, with a button. */
export function Copy({ label, value, focus = false }: { label: string; value: string; focus?: boolean }) {
  const field = useRef<HTMLInputElement>(null);
  const [outcome, setOutcome] = useState<Outcome>("idle");

  useEffect(() => {
    if (focus) field.current?.select();
  }, [focus]);
  useEffect(() => {
    if (outcome === "idle") return;
    const timer = setTimeout(() => setOutcome("idle"), 2500);
    return () => clearTimeout(timer);
  }, [outcome]);

  const copy = async () => setOutcome((await toClipboard(value, field.current)) ? "copied" : "failed");

  return (
    <div className="flex min-w-0 gap-2">
      <input
        ref={field}
        readOnly
        aria-label={label}
        value={value}
        onFocus={(event) => event.currentTarget.select()}
        className="input h-9 flex-1 bg-sunken font-mono text-sm"
      />
      <Button small className="h-9 w-20" aria-label={`Copy: ${label}`} onClick={copy}>
        {outcome === "copied" ? "Copied" : outcome === "failed" ? "Selected" : "Copy"}
      </Button>
      <span role="status" className="sr-only">
        {outcome === "copied" && "Copied"}
        {outcome === "failed" && "The browser did not allow copying; the text is selected, copy it with the keyboard"}
      </span>
    </div>
  );
}

/** The clipboard API exists on secure pages only; on plain HTTP the old command still works. */
async function toClipboard(value: string, field: HTMLInputElement | null): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch {
    field?.select();
    return document.execCommand("copy");
  }
}
