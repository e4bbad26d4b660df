export type Person = { id: number; name: string; color: string };

export type Reminder = { id: number; status: 'pending' | 'sent' | 'failed'; remindAt: string; sentAt: string | null };

export type Shift = {
  id: number;
  title: string;
  startsAt: string;
  endsAt: string;
  personId: number | null;
  remindMinutes: number | null;
  reminder: Reminder | null;
  conflictsWith: number[];
};

export type ShiftInput = {
  title: string;
  startsAt: string;
  endsAt: string;
  personId: number | null;
  remindMinutes: number | null;
  allowConflict?: boolean;
};

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly fields: Record<string, string> = {},
  ) {
    super(message);
  }
}

const unreachable = () => new ApiError('The server cannot be reached.', 0, 'unreachable');

async function call<T>(path: string, init: RequestInit = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/api${path}`, {
      ...init,
      headers: init.body ? { 'content-type': 'application/json' } : {},
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw unreachable();
  }
  if (response.status === 204) return undefined as T;
  const body = await response.json().catch(() => null);
  // A proxy answers for an api that is not there, and not in the api's words.
  if (body === null && response.status >= 500) throw unreachable();
  if (!response.ok || body === null) {
    throw new ApiError(
      body?.message ?? `The server does not answer as it should (${response.status}).`,
      response.status,
      body?.error ?? 'unknown',
      body?.fields,
    );
  }
  return body as T;
}

const json = (method: string, body: unknown): RequestInit => ({ method, body: JSON.stringify(body) });

export const api = {
  shifts: (from: Date, to: Date, signal?: AbortSignal) =>
    call<Shift[]>(`/shifts?from=${from.toISOString()}&to=${to.toISOString()}`, { signal }),
  people: (signal?: AbortSignal) => call<Person[]>('/people', { signal }),
  addShift: (shift: ShiftInput) => call<Shift>('/shifts', json('POST', shift)),
  changeShift: (id: number, shift: ShiftInput) => call<Shift>(`/shifts/${id}`, json('PATCH', shift)),
  deleteShift: (id: number) => call<void>(`/shifts/${id}`, { method: 'DELETE' }),
  remindNow: (id: number) => call<Shift>(`/shifts/${id}/remind`, { method: 'POST' }),
  addPerson: (person: { name: string; color: string }) => call<Person>('/people', json('POST', person)),
  deletePerson: (id: number) => call<void>(`/people/${id}`, { method: 'DELETE' }),
};

export const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
