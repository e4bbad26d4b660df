// Fills an empty database with a team and a week of shifts, for a first look at the app.
import { readConfig } from '../lib/config.js';
import { createPool, transaction } from '../lib/db.js';
import { log } from '../lib/log.js';
import { migrate } from '../lib/migrate.js';
import { reason } from '../lib/retry.js';

const PEOPLE = [
  ['Ada Okafor', 'blue'],
  ['Bruno Lindt', 'green'],
  ['Chiara Moss', 'amber'],
  ['Dev Patel', 'violet'],
];
// day of the week (0 = Monday), start hour, end hour, title, person
const SHIFTS = [
  [0, 8, 12, 'Front desk', 0], [0, 12, 17, 'Front desk', 1], [0, 9, 10, 'Weekly planning', 2],
  [1, 8, 14, 'Workshop', 2], [1, 13, 16, 'Customer visit', 2], [1, 9, 17, 'On call', 3],
  [2, 8, 12, 'Front desk', 1], [2, 12, 17, 'Front desk', 0], [2, 15, 16, 'Interview', 3],
  [3, 8, 16, 'Workshop', 3], [3, 10, 11, 'Training', 0], [3, 18, 26, 'Night shift', 1],
  [4, 8, 12, 'Front desk', 0], [4, 12, 17, 'Front desk', null], [4, 16, 17, 'Team review', 2],
  [5, 10, 14, 'Weekend cover', 3],
];

const config = readConfig({ needs: ['DATABASE_URL'] });
const pool = createPool(config.databaseUrl, { max: 1, log });
try {
  await migrate(pool, { log });
  const monday = new Date();
  monday.setHours(0, 0, 0, 0);
  monday.setDate(monday.getDate() - ((monday.getDay() + 6) % 7));
  const at = (day, hour) =>
    new Date(monday.getFullYear(), monday.getMonth(), monday.getDate() + day, hour);

  const added = await transaction(pool, async (client) => {
    const { rows } = await client.query('SELECT count(*)::int AS count FROM people');
    if (rows[0].count > 0) return 0;
    const ids = [];
    for (const person of PEOPLE) {
      const result = await client.query('INSERT INTO people (name, color) VALUES ($1, $2) RETURNING id', person);
      ids.push(result.rows[0].id);
    }
    for (const [day, from, to, title, person] of SHIFTS) {
      const start = at(day, from);
      const { rows: [shift] } = await client.query(
        'INSERT INTO shifts (title, starts_at, ends_at, person_id) VALUES ($1, $2, $3, $4) RETURNING id',
        [title, start, at(day, to), person === null ? null : ids[person]],
      );
      if (start.getTime() > Date.now()) {
        // The worker finds these rows by itself and plans them.
        await client.query(
          'INSERT INTO reminders (shift_id, minutes_before, remind_at) VALUES ($1, 60, $2)',
          [shift.id, new Date(start.getTime() - 3_600_000)],
        );
      }
    }
    return SHIFTS.length;
  });
  log.info(added ? 'sample week added' : 'there are people already: nothing added', { shifts: added });
} catch (error) {
  log.error('seed failed', { reason: reason(error) });
  process.exitCode = 1;
} finally {
  await pool.end();
}
