import { useState, type FormEvent } from 'react';
import { api, messageOf, type Person } from './api';
import { icons } from './icons';

const COLORS = ['blue', 'green', 'amber', 'violet', 'rose', 'teal'];

type Props = { people: Person[]; onDone: (message: string) => void };

export function People({ people, onDone }: Props) {
  const [name, setName] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');

  async function run(work: () => Promise<string>) {
    setBusy(true);
    setError('');
    try {
      onDone(await work());
    } catch (failure) {
      setError(messageOf(failure));
    } finally {
      setBusy(false);
    }
  }

  function add(event: FormEvent) {
    event.preventDefault();
    void run(async () => {
      const used = (color: string) => people.filter((person) => person.color === color).length;
      const color = [...COLORS].sort((a, b) => used(a) - used(b))[0];
      const person = await api.addPerson({ name, color });
      setName('');
      return `Added ${person.name}.`;
    });
  }

  return (
    <section className="panel" aria-labelledby="people-title">
      <h2 id="people-title">People</h2>
      {people.length === 0 && <p className="hint">Nobody yet. Add the first person to give out shifts.</p>}
      <ul className="people">
        {people.map((person) => (
          <li key={person.id}>
            <span className="dot" data-color={person.color} aria-hidden="true" />
            <span className="name">{person.name}</span>
            <button type="button" className="icon" disabled={busy} aria-label={`Remove ${person.name}`} title="Remove; the shifts stay"
              onClick={() => void run(async () => {
                await api.deletePerson(person.id);
                return `Removed ${person.name}. The shifts stay.`;
              })}>
              {icons.bin}
            </button>
          </li>
        ))}
      </ul>
      <form className="inline" onSubmit={add} noValidate>
        <input value={name} onChange={(event) => setName(event.target.value)} maxLength={80}
          aria-label="Name of a new person" placeholder="Name" aria-invalid={error !== ''} />
        <button type="submit" disabled={busy}>Add</button>
      </form>
      {error && <p role="alert" className="note error">{error}</p>}
    </section>
  );
}
