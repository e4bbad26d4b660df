import { useCallback, useEffect, useRef, useState } from 'react';
import { api, messageOf, type Person, type Shift } from './api';
import { icons } from './icons';
import { useLive, type Change, type LiveState } from './live';
import { People } from './People';
import { ShiftCard } from './ShiftCard';
import { ShiftForm } from './ShiftForm';
import { addDays, dateValue, dayAndMonth, longDay, mondayOf, sameDay, weekTitle, weekday } from './week';

type Data = { monday: Date; shifts: Shift[]; people: Person[] };
type Toast = { text: string; undo?: () => void };

export function App() {
  const [monday, setMonday] = useState(() => mondayOf(new Date()));
  const [day, setDay] = useState(() => dateValue(new Date()));
  const [data, setData] = useState<Data | null>(null);
  const [problem, setProblem] = useState('');
  const [editing, setEditing] = useState<Shift | null>(null);
  const [toast, setToast] = useState<Toast | null>(null);
  const [flash, setFlash] = useState<ReadonlySet<number>>(new Set());
  const request = useRef<AbortController>(null);
  const aside = useRef<HTMLElement>(null);

  const load = useCallback(async () => {
    request.current?.abort();
    const mine = new AbortController();
    request.current = mine;
    try {
      const [shifts, people] = await Promise.all([
        api.shifts(monday, addDays(monday, 7), mine.signal),
        api.people(mine.signal),
      ]);
      if (mine.signal.aborted) return;
      setData({ monday, shifts, people });
      setProblem('');
    } catch (error) {
      if (!mine.signal.aborted) setProblem(messageOf(error));
    }
  }, [monday]);

  useEffect(() => {
    void load();
    return () => request.current?.abort();
  }, [load]);

  // While something is wrong, keep trying.
  useEffect(() => {
    if (!problem) return;
    const timer = setInterval(() => void load(), 3000);
    return () => clearInterval(timer);
  }, [problem, load]);

  // Changes often come in groups (a shift and its reminder): load once for all of them.
  const pending = useRef(new Set<number>());
  const timer = useRef<number>(undefined);
  const onChange = useCallback(
    (change: Change) => {
      if (change.type === 'change' && change.entity === 'shift') pending.current.add(change.id);
      window.clearTimeout(timer.current);
      timer.current = window.setTimeout(() => {
        setFlash(new Set(pending.current));
        pending.current.clear();
        void load();
      }, 60);
    },
    [load],
  );
  const live = useLive(onChange);

  useEffect(() => {
    if (flash.size === 0) return;
    const clear = setTimeout(() => setFlash(new Set()), 1600);
    return () => clearTimeout(clear);
  }, [flash]);

  useEffect(() => {
    if (!toast) return;
    const clear = setTimeout(() => setToast(null), 6000);
    return () => clearTimeout(clear);
  }, [toast]);

  async function run(work: () => Promise<Toast>) {
    try {
      setToast(await work());
    } catch (error) {
      setToast({ text: messageOf(error) });
    }
    void load();
  }

  const remove = (shift: Shift) =>
    run(async () => {
      await api.deleteShift(shift.id);
      if (editing?.id === shift.id) setEditing(null);
      const { title, startsAt, endsAt, personId, remindMinutes } = shift;
      const again = { title, startsAt, endsAt, personId, remindMinutes, allowConflict: true };
      return {
        text: `Deleted “${title}”.`,
        undo: () => void run(async () => ({ text: `“${(await api.addShift(again)).title}” is back.` })),
      };
    });

  const remind = (shift: Shift) =>
    run(async () => {
      await api.remindNow(shift.id);
      return { text: `The reminder of “${shift.title}” is on its way.` };
    });

  function edit(shift: Shift) {
    setEditing(shift);
    requestAnimationFrame(() => aside.current?.querySelector('input')?.focus());
  }

  function add(date: Date) {
    setEditing(null);
    setDay(dateValue(date));
    requestAnimationFrame(() => aside.current?.querySelector('input')?.focus());
  }

  const today = new Date();
  const current = data?.monday.getTime() === monday.getTime() ? data : null;
  const people = data?.people ?? [];
  const shifts = current?.shifts ?? [];
  const titles = new Map(shifts.map((shift) => [shift.id, shift.title]));
  const conflicts = shifts.filter((shift) => shift.conflictsWith.length > 0).length;

  return (
    <>
      <header>
        <h1><img src="/favicon.svg" alt="" width="28" height="28" /> Scheduler</h1>
        <nav aria-label="Week">
          <button type="button" className="icon" aria-label="Week before" onClick={() => setMonday(addDays(monday, -7))}>{icons.left}</button>
          <button type="button" onClick={() => setMonday(mondayOf(new Date()))}>Today</button>
          <button type="button" className="icon" aria-label="Week after" onClick={() => setMonday(addDays(monday, 7))}>{icons.right}</button>
        </nav>
        <LiveBadge state={live} />
      </header>

      {problem && (
        <div className="banner" role="alert">
          <span><strong>{data ? 'What you see may be out of date.' : 'The plan cannot be loaded.'}</strong> {problem}</span>
          <button type="button" onClick={() => void load()}>Try again</button>
        </div>
      )}

      <main>
        <section className="plan" aria-labelledby="week-title" aria-busy={!current && !problem}>
          <div className="plan-head">
            <h2 id="week-title">{weekTitle(monday)}</h2>
            {current && (
              <p className="summary">
                {shifts.length === 1 ? '1 shift' : `${shifts.length} shifts`}
                {conflicts > 0 && <span className="overlap"> {icons.warning} {conflicts} overlapping</span>}
              </p>
            )}
          </div>

          {current && shifts.length === 0 && (
            <div className="empty">
              <p><strong>Nothing is planned this week.</strong></p>
              <p>{people.length === 0 ? 'Add the people of the team, then their first shift.' : 'Add the first shift with the form, or pick a day.'}</p>
            </div>
          )}

          <div className="week">
            {Array.from({ length: 7 }, (_, index) => {
              const date = addDays(monday, index);
              const onDay = shifts.filter((shift) => {
                const start = new Date(shift.startsAt);
                return sameDay(start, date) || (index === 0 && start < date);
              });
              return (
                <section key={index} className={sameDay(date, today) ? 'day today' : 'day'} aria-label={longDay(date)}>
                  <div className="day-head">
                    <span className="weekday">{weekday(date)}</span>
                    <span className="date">{dayAndMonth(date)}</span>
                    <button type="button" className="icon add" aria-label={`Add a shift on ${longDay(date)}`} title="Add a shift" onClick={() => add(date)}>+</button>
                  </div>
                  <ul>
                    {onDay.map((shift) => (
                      <ShiftCard key={shift.id} shift={shift}
                        person={people.find((person) => person.id === shift.personId)}
                        conflicts={shift.conflictsWith.map((id) => titles.get(id)).filter((title) => title !== undefined)}
                        selected={editing?.id === shift.id} flash={flash.has(shift.id)}
                        onEdit={() => edit(shift)} onDelete={() => void remove(shift)} onRemind={() => void remind(shift)} />
                    ))}
                    {!current && !problem && <li className="card skeleton" aria-hidden="true" />}
                  </ul>
                </section>
              );
            })}
          </div>
        </section>

        <aside ref={aside}>
          <ShiftForm key={editing?.id ?? 'new'} people={people} shift={editing} day={day} onDayChange={setDay}
            onCancel={() => setEditing(null)}
            onDone={(text, shift) => {
              setEditing(null);
              setToast({ text });
              const week = mondayOf(new Date(shift.startsAt));
              if (week.getTime() === monday.getTime()) void load();
              else setMonday(week);
            }} />
          <People people={people} onDone={(text) => { setToast({ text }); void load(); }} />
        </aside>
      </main>

      <div className="toasts" role="status">
        {toast && (
          <p className="toast">
            {toast.text}
            {toast.undo && <button type="button" onClick={toast.undo}>Undo</button>}
          </p>
        )}
      </div>
    </>
  );
}

const LIVE_TEXT: Record<LiveState, string> = {
  connecting: 'Connecting…',
  live: 'Live',
  offline: 'Reconnecting…',
};

function LiveBadge({ state }: { state: LiveState }) {
  return (
    <p className={`live ${state}`} role="status" title="Changes of others appear by themselves while this says Live">
      <span className="pulse" aria-hidden="true" /> {LIVE_TEXT[state]}
    </p>
  );
}
