const LOOKS = { good: "fill-fill", warning: "fill-waking", bad: "fill-blocked" };

/** A share of a whole. Drawn, because a page without inline styles can't give a bar its width otherwise. */
export function Meter({ label, percent, look }: { label: string; percent: number; look: keyof typeof LOOKS }) {
  const shown = Math.min(100, Math.max(0, percent));
  return (
    <svg
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={shown}
      aria-valuetext={`${percent} %`}
      className="h-2 w-full rounded-full bg-line"
    >
      <rect width={`${shown}%`} height="100%" className={LOOKS[look]} />
    </svg>
  );
}
