// Times, durations, money and counts in words. Pure: the moment "now" is a parameter.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `8 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`: at most two units, rounded down. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (large: number, largeUnit: string, small: number, smallUnit: string) =>
    small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return two(Math.floor(whole / MINUTE), "min", whole % MINUTE, "s");
  if (whole < DAY) return two(Math.floor(whole / HOUR), "h", Math.floor((whole % HOUR) / MINUTE), "min");
  return two(Math.floor(whole / DAY), "d", Math.floor((whole % DAY) / HOUR), "h");
}

/** Awake minutes as they are metered: `42 min 10 s`, and past an hour still in minutes, because caps are in minutes. */
export function awakeMinutes(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  return `${count(Math.floor(whole / MINUTE))} min ${String(whole % MINUTE).padStart(2, "0")} s`;
}

/** `in 5 min`, `3 h ago`, `now`: one unit. */
export function relative(at: string, now: number): string {
  const seconds = Math.round((Date.parse(at) - now) / 1000);
  if (Number.isNaN(seconds)) return at;
  const size = Math.abs(seconds);
  if (size < 5) return "now";
  const [unit, word] = size < MINUTE ? [1, "s"] : size < HOUR ? [MINUTE, "min"] : size < DAY ? [HOUR, "h"] : [DAY, "d"];
  const amount = `${Math.floor(size / unit)} ${word}`;
  return seconds > 0 ? `in ${amount}` : `${amount} ago`;
}

/** The exact moment, in the reader's zone. */
export function moment(at: string): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime())
    ? at
    : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** Micro-units of a currency: two decimals, and four below 1, where a short session would vanish. */
export function money(micros: number, currency: string): string {
  const amount = micros / 1_000_000;
  const digits = amount !== 0 && amount < 1 ? 4 : 2;
  const shape = { minimumFractionDigits: 2, maximumFractionDigits: digits };
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency, ...shape }).format(amount);
  } catch {
    return `${amount.toFixed(digits)} ${currency}`;
  }
}

/** A whole number with the reader's separators. */
export function count(amount: number): string {
  return new Intl.NumberFormat().format(amount);
}

/** `1 visit`, `2 visits`. */
export function plural(amount: number, noun: string): string {
  return `${count(amount)} ${noun}${amount === 1 ? "" : "s"}`;
}

/** The first letter as a sentence begins; messages of the API start small. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
