import type { Person, Shift } from './api';
import { icons } from './icons';
import { sameDay, timeValue, weekday } from './week';

type Props = {
  shift: Shift;
  person: Person | undefined;
  /** Titles of the shifts this one overlaps with. */
  conflicts: string[];
  selected: boolean;
  flash: boolean;
  onEdit: () => void;
  onDelete: () => void;
  onRemind: () => void;
};

export function ShiftCard({ shift, person, conflicts, selected, flash, onEdit, onDelete, onRemind }: Props) {
  const start = new Date(shift.startsAt);
  const end = new Date(shift.endsAt);
  const classes = ['card', selected && 'selected', flash && 'flash', shift.conflictsWith.length > 0 && 'conflict'];
  return (
    <li className={classes.filter(Boolean).join(' ')} data-color={person?.color ?? 'none'}>
      <p className="time">
        {timeValue(start)}–{timeValue(end)}
        {!sameDay(start, end) && <span className="next-day"> {weekday(end)}</span>}
      </p>
      <h3>{shift.title}</h3>
      <p className={person ? 'who' : 'who nobody'}>{person?.name ?? 'Nobody yet'}</p>
      {shift.conflictsWith.length > 0 && (
        <p className="overlap" title={`Overlaps with ${conflicts.join(', ') || 'another shift'}`}>
          {icons.warning} Overlaps
          <span className="sr-only"> with {conflicts.join(', ') || 'another shift'}</span>
        </p>
      )}
      {shift.reminder && <ReminderNote shift={shift} />}
      <div className="actions">
        <button type="button" className="icon" onClick={onRemind} disabled={shift.reminder?.status === 'pending' && isDue(shift)}
          aria-label={`Remind now of ${shift.title}`} title="Remind now">{icons.bell}</button>
        <button type="button" className="icon" onClick={onEdit} aria-label={`Edit ${shift.title}`} title="Edit">{icons.pencil}</button>
        <button type="button" className="icon" onClick={onDelete} aria-label={`Delete ${shift.title}`} title="Delete">{icons.bin}</button>
      </div>
    </li>
  );
}

const isDue = (shift: Shift) => new Date(shift.reminder!.remindAt).getTime() <= Date.now();

function ReminderNote({ shift }: { shift: Shift }) {
  const { status, sentAt, remindAt } = shift.reminder!;
  if (status === 'sent') return <p className="reminder sent">Reminded {sentAt && timeValue(new Date(sentAt))}</p>;
  if (status === 'failed') return <p className="reminder failed">Reminder failed</p>;
  if (isDue(shift)) return <p className="reminder">Reminding…</p>;
  return <p className="reminder">Reminder {timeValue(new Date(remindAt))}</p>;
}
