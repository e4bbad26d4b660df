import { useState, type FormEvent } from 'react';
import { ApiError, api, messageOf, type Person, type Shift } from './api';
import { addDays, dateValue, fromValues, timeValue } from './week';

type Props = {
  people: Person[];
  /** The shift to edit; without one the form adds. */
  shift: Shift | null;
  day: string;
  onDayChange: (day: string) => void;
  onDone: (message: string, shift: Shift) => void;
  onCancel: () => void;
};

const REMINDERS = [
  ['', 'No reminder'],
  ['0', 'At the start'],
  ['15', '15 minutes before'],
  ['60', '1 hour before'],
  ['1440', '1 day before'],
];

export function ShiftForm({ people, shift, day, onDayChange, onDone, onCancel }: Props) {
  const [title, setTitle] = useState(shift?.title ?? '');
  const [date, setDate] = useState(shift ? dateValue(new Date(shift.startsAt)) : null);
  const [from, setFrom] = useState(shift ? timeValue(new Date(shift.startsAt)) : '09:00');
  const [to, setTo] = useState(shift ? timeValue(new Date(shift.endsAt)) : '17:00');
  const [person, setPerson] = useState(String(shift?.personId ?? ''));
  const [remind, setRemind] = useState(shift ? String(shift.remindMinutes ?? '') : '60');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const shownDate = date ?? day;
  const overnight = from !== '' && to !== '' && to <= from;
  const fields = error instanceof ApiError ? error.fields : {};
  const conflict = error instanceof ApiError && error.code === 'conflict';

  const edit = <T,>(set: (value: T) => void) => (value: T) => {
    set(value);
    setError(null);
  };

  async function save(allowConflict: boolean) {
    if (!shownDate || !from || !to) {
      setError(new Error('Day, start and end are required.'));
      return;
    }
    setBusy(true);
    setError(null);
    const start = fromValues(shownDate, from);
    const end = fromValues(overnight ? dateValue(addDays(start, 1)) : shownDate, to);
    const input = {
      title,
      startsAt: start.toISOString(),
      endsAt: end.toISOString(),
      personId: person === '' ? null : Number(person),
      remindMinutes: remind === '' ? null : Number(remind),
      allowConflict,
    };
    try {
      const saved = shift ? await api.changeShift(shift.id, input) : await api.addShift(input);
      if (!shift) setTitle('');
      onDone(shift ? `Saved “${saved.title}”.` : `Added “${saved.title}”.`, saved);
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  }

  function submit(event: FormEvent) {
    event.preventDefault();
    void save(false);
  }

  return (
    <form className="panel" onSubmit={submit} aria-labelledby="form-title" noValidate>
      <h2 id="form-title">{shift ? 'Edit shift' : 'New shift'}</h2>

      <label>
        Title
        <input value={title} onChange={(event) => edit(setTitle)(event.target.value)} maxLength={120} required
          placeholder="Front desk" aria-invalid={Boolean(fields.title)} aria-describedby={fields.title ? 'form-error' : undefined} />
      </label>
      <label>
        Day
        <input type="date" value={shownDate} required
          onChange={(event) => (shift ? edit<string | null>(setDate)(event.target.value) : onDayChange(event.target.value))} />
      </label>
      <div className="pair">
        <label>
          From
          <input type="time" value={from} required onChange={(event) => edit(setFrom)(event.target.value)} />
        </label>
        <label>
          To {overnight && <small>(next day)</small>}
          <input type="time" value={to} required onChange={(event) => edit(setTo)(event.target.value)}
            aria-invalid={Boolean(fields.endsAt)} />
        </label>
      </div>
      <label>
        Who
        <select value={person} onChange={(event) => edit(setPerson)(event.target.value)} aria-invalid={conflict || Boolean(fields.personId)}>
          <option value="">Nobody yet</option>
          {people.map((one) => (
            <option key={one.id} value={one.id}>{one.name}</option>
          ))}
        </select>
      </label>
      <label>
        Reminder
        <select value={remind} onChange={(event) => edit(setRemind)(event.target.value)}>
          {REMINDERS.map(([value, label]) => (
            <option key={value} value={value}>{label}</option>
          ))}
          {!REMINDERS.some(([value]) => value === remind) && <option value={remind}>{remind} minutes before</option>}
        </select>
      </label>

      {error !== null && (
        <p id="form-error" role="alert" className={conflict ? 'note warning' : 'note error'}>{messageOf(error)}</p>
      )}
      <div className="buttons">
        {conflict ? (
          <button type="button" className="primary" disabled={busy} onClick={() => void save(true)}>Save anyway</button>
        ) : (
          <button type="submit" className="primary" disabled={busy}>{shift ? 'Save' : 'Add shift'}</button>
        )}
        {shift && <button type="button" onClick={onCancel}>Cancel</button>}
      </div>
    </form>
  );
}
