/** Midnight, local time, on the Monday of the week of `date`. */
export function mondayOf(date: Date): Date {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() - ((date.getDay() + 6) % 7));
}

export function addDays(date: Date, days: number): Date {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + days);
}

export const sameDay = (a: Date, b: Date) => a.toDateString() === b.toDateString();

const pad = (value: number) => String(value).padStart(2, '0');

/** The values of `<input type="date">` and `<input type="time">`. */
export const dateValue = (date: Date) => `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
export const timeValue = (date: Date) => `${pad(date.getHours())}:${pad(date.getMinutes())}`;

export function fromValues(date: string, time: string): Date {
  const [year, month, day] = date.split('-').map(Number);
  const [hour, minute] = time.split(':').map(Number);
  return new Date(year, month - 1, day, hour, minute);
}

const format = (options: Intl.DateTimeFormatOptions) => {
  const formatter = new Intl.DateTimeFormat(undefined, options);
  return (date: Date) => formatter.format(date);
};

export const weekday = format({ weekday: 'short' });
export const dayAndMonth = format({ day: 'numeric', month: 'short' });
export const longDay = format({ weekday: 'long', day: 'numeric', month: 'long' });

export function weekTitle(monday: Date): string {
  const sunday = addDays(monday, 6);
  return new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' }).formatRange(monday, sunday);
}
