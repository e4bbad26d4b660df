import type { ButtonHTMLAttributes } from "react";

const LOOKS = {
  primary: "bg-fill text-on-fill hover:bg-fill-strong border-transparent",
  plain: "bg-surface text-text border-edge hover:bg-sunken",
  danger: "bg-surface text-blocked border-blocked hover:bg-blocked-soft",
};

interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  look?: keyof typeof LOOKS;
  small?: boolean;
  /** While true it stays focusable, says it is busy and does nothing. */
  pending?: boolean;
}

export function Button({ look = "plain", small = false, pending = false, className = "", onClick, ...rest }: Props) {
  const size = small ? "h-8 px-3 text-sm" : "h-10 px-4";
  return (
    <button
      type="button"
      aria-busy={pending || undefined}
      aria-disabled={pending || undefined}
      onClick={pending ? (event) => event.preventDefault() : onClick}
      className={`inline-flex shrink-0 items-center justify-center gap-2 rounded-lg border font-medium whitespace-nowrap disabled:opacity-50 aria-disabled:opacity-60 ${size} ${LOOKS[look]} ${className}`}
      {...rest}
    />
  );
}
