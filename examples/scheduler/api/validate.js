export const COLORS = ['blue', 'green', 'amber', 'violet', 'rose', 'teal'];

const MAX_SHIFT_MS = 7 * 24 * 3_600_000;
const MAX_INT = 2_147_483_647;
const ISO_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})$/;

/** An error the client is told about: `{ error, message, ... }` with the status. */
export class ApiError extends Error {
  constructor(status, error, message, details = {}) {
    super(message);
    this.status = status;
    this.body = { error, message, ...details };
  }
}

export const notFound = (what) => new ApiError(404, 'not_found', `There is no such ${what}.`);

function invalid(fields) {
  return new ApiError(400, 'invalid', Object.values(fields).join(' '), { fields });
}

function object(body) {
  if (body === null || typeof body !== 'object' || Array.isArray(body)) {
    throw new ApiError(400, 'invalid', 'The body must be a JSON object.', { fields: {} });
  }
  return body;
}

function text(value, label, max) {
  if (typeof value !== 'string' || value.trim() === '') return { problem: `${label} is required.` };
  const trimmed = value.trim();
  if (trimmed.length > max) return { problem: `${label} can have at most ${max} characters.` };
  if (trimmed.includes('\0')) return { problem: `${label} has a character that is not allowed.` };
  return { value: trimmed };
}

export function parseTime(value) {
  if (typeof value !== 'string' || !ISO_TIME.test(value)) return null;
  const time = new Date(value);
  return Number.isNaN(time.getTime()) ? null : time;
}

/** The id in a path; what is not an id is not found. */
export function parseId(value, what) {
  const id = /^\d{1,10}$/.test(value) ? Number(value) : 0;
  if (id < 1 || id > MAX_INT) throw notFound(what);
  return id;
}

/** @param {any} body @param {{ name?: string, color?: string }} [current] what a field that is not sent keeps */
export function parsePerson(body, current = {}) {
  const input = { ...current, ...object(body) };
  const fields = {};
  const name = text(input.name, 'Name', 80);
  if (name.problem) fields.name = name.problem;
  const color = input.color ?? 'blue';
  if (!COLORS.includes(color)) fields.color = `Color must be one of ${COLORS.join(', ')}.`;
  if (Object.keys(fields).length > 0) throw invalid(fields);
  return { name: name.value, color };
}

/** @param {any} body @param {Record<string, any>} [current] what a field that is not sent keeps */
export function parseShift(body, current = {}) {
  const input = { ...current, ...object(body) };
  const fields = {};

  const title = text(input.title, 'Title', 120);
  if (title.problem) fields.title = title.problem;

  const startsAt = parseTime(input.startsAt);
  const endsAt = parseTime(input.endsAt);
  const example = 'must be a time with a zone, like 2030-05-01T09:00:00Z.';
  if (!startsAt) fields.startsAt = input.startsAt ? `Start ${example}` : 'Start is required.';
  if (!endsAt) fields.endsAt = input.endsAt ? `End ${example}` : 'End is required.';
  if (startsAt && endsAt) {
    if (endsAt <= startsAt) fields.endsAt = 'End must be after the start.';
    else if (endsAt.getTime() - startsAt.getTime() > MAX_SHIFT_MS) fields.endsAt = 'A shift can last at most 7 days.';
  }

  const personId = input.personId ?? null;
  if (personId !== null && !(Number.isInteger(personId) && personId > 0 && personId <= MAX_INT)) {
    fields.personId = 'Person must be the id of a person, or null.';
  }
  const remindMinutes = input.remindMinutes ?? null;
  if (remindMinutes !== null && !(Number.isInteger(remindMinutes) && remindMinutes >= 0 && remindMinutes <= 10080)) {
    fields.remindMinutes = 'Reminder must be a number of minutes from 0 to 10080, or null.';
  }
  const allowConflict = input.allowConflict ?? false;
  if (typeof allowConflict !== 'boolean') fields.allowConflict = 'allowConflict must be true or false.';

  if (Object.keys(fields).length > 0) throw invalid(fields);
  return { title: title.value, startsAt, endsAt, personId, remindMinutes, allowConflict };
}

/** `?from=&to=` of a list; both may be left out. */
export function parseRange(query) {
  const range = {};
  const fields = {};
  for (const name of ['from', 'to']) {
    if (query[name] === undefined) continue;
    range[name] = parseTime(query[name]);
    if (!range[name]) fields[name] = `${name} must be a time with a zone, like 2030-05-01T00:00:00Z.`;
  }
  if (Object.keys(fields).length > 0) throw invalid(fields);
  return { from: range.from ?? null, to: range.to ?? null };
}
