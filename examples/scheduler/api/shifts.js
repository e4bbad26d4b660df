import { transaction } from '../lib/db.js';
import { schedule, unschedule } from '../lib/queue.js';
import { reason } from '../lib/retry.js';
import { ApiError, notFound, parseId, parseRange, parseShift } from './validate.js';

// Two shifts conflict when the same person has both and they overlap; one may start when the other ends.
const SELECT = `
  SELECT s.id, s.title, s.starts_at AS "startsAt", s.ends_at AS "endsAt", s.person_id AS "personId",
         r.minutes_before AS "remindMinutes",
         r.id AS "reminderId", r.status AS "reminderStatus", r.remind_at AS "remindAt", r.sent_at AS "sentAt",
         ARRAY(
           SELECT o.id FROM shifts o
           WHERE o.person_id = s.person_id AND o.id <> s.id
             AND o.starts_at < s.ends_at AND o.ends_at > s.starts_at
           ORDER BY o.starts_at
         ) AS "conflictsWith"
  FROM shifts s LEFT JOIN reminders r ON r.shift_id = s.id`;

const present = ({ reminderId, reminderStatus, remindAt, sentAt, ...shift }) => ({
  ...shift,
  reminder: reminderId === null ? null : { id: reminderId, status: reminderStatus, remindAt, sentAt },
});

export function shiftRoutes(app, { pool, redis, log }) {
  app.get('/api/shifts', async (request) => {
    const { from, to } = parseRange(request.query);
    const { rows } = await pool.query(
      `${SELECT}
       WHERE ($1::timestamptz IS NULL OR s.ends_at > $1) AND ($2::timestamptz IS NULL OR s.starts_at < $2)
       ORDER BY s.starts_at, s.id LIMIT 1000`,
      [from, to],
    );
    return rows.map(present);
  });

  app.get('/api/shifts/:id', async (request) => find(pool, parseId(request.params.id, 'shift')));

  app.post('/api/shifts', async (request, reply) => {
    const input = parseShift(request.body);
    const { id, reminder } = await transaction(pool, async (client) => {
      await check(client, null, input);
      const { rows } = await client.query(
        'INSERT INTO shifts (title, starts_at, ends_at, person_id) VALUES ($1, $2, $3, $4) RETURNING id',
        [input.title, input.startsAt, input.endsAt, input.personId],
      );
      return { id: rows[0].id, reminder: await planReminder(client, rows[0].id, input) };
    });
    await enqueue(reminder);
    reply.code(201).header('location', `/api/shifts/${id}`);
    return find(pool, id);
  });

  app.patch('/api/shifts/:id', async (request) => {
    const id = parseId(request.params.id, 'shift');
    const reminder = await transaction(pool, async (client) => {
      const { rows: locked } = await client.query('SELECT id FROM shifts WHERE id = $1 FOR UPDATE', [id]);
      if (!locked[0]) throw notFound('shift');
      const before = await find(client, id);
      const input = parseShift(request.body, {
        title: before.title,
        startsAt: before.startsAt.toISOString(),
        endsAt: before.endsAt.toISOString(),
        personId: before.personId,
        remindMinutes: before.remindMinutes,
      });
      const moved =
        input.startsAt.getTime() !== before.startsAt.getTime() || input.endsAt.getTime() !== before.endsAt.getTime();
      if (moved || input.personId !== before.personId) await check(client, id, input);
      await client.query(
        `UPDATE shifts SET title = $2, starts_at = $3, ends_at = $4, person_id = $5, updated_at = now() WHERE id = $1`,
        [id, input.title, input.startsAt, input.endsAt, input.personId],
      );
      // A reminder that went out stays "sent" unless the plan it was for has changed.
      if (moved || input.remindMinutes !== before.remindMinutes) return planReminder(client, id, input);
      return null;
    });
    await enqueue(reminder);
    return find(pool, id);
  });

  app.delete('/api/shifts/:id', async (request, reply) => {
    const id = parseId(request.params.id, 'shift');
    const { rows } = await pool.query(
      `WITH reminder AS (SELECT id FROM reminders WHERE shift_id = $1)
       DELETE FROM shifts WHERE id = $1 RETURNING (SELECT id FROM reminder) AS "reminderId"`,
      [id],
    );
    if (!rows[0]) throw notFound('shift');
    if (rows[0].reminderId) await enqueue({ id: rows[0].reminderId, remindAt: null });
    reply.code(204);
  });

  // "Remind now": the worker sends it right away.
  app.post('/api/shifts/:id/remind', async (request, reply) => {
    const id = parseId(request.params.id, 'shift');
    await find(pool, id);
    const { rows } = await pool.query(
      `INSERT INTO reminders (shift_id, remind_at) VALUES ($1, now())
       ON CONFLICT (shift_id) DO UPDATE
         SET remind_at = now(), status = 'pending', attempts = 0, last_error = NULL, sent_at = NULL
       RETURNING id, remind_at AS "remindAt"`,
      [id],
    );
    await enqueue(rows[0]);
    reply.code(202);
    return find(pool, id);
  });

  /**
   * Tells the queue. Postgres already has the reminder, and the worker looks there for
   * reminders the queue does not know, so a Redis that is away delays one but loses none.
   */
  async function enqueue(reminder) {
    if (!reminder) return;
    try {
      if (reminder.remindAt) await schedule(redis, reminder.id, reminder.remindAt);
      else await unschedule(redis, reminder.id);
    } catch (error) {
      log.warn('reminder not queued yet', { reminder: reminder.id, reason: reason(error) });
    }
  }
}

async function find(db, id) {
  const { rows } = await db.query(`${SELECT} WHERE s.id = $1`, [id]);
  if (!rows[0]) throw notFound('shift');
  return present(rows[0]);
}

/** The person must exist and, unless the client insists, be free. */
async function check(client, id, { personId, startsAt, endsAt, allowConflict }) {
  if (personId === null) return;
  // Locking the person makes two requests for the same person take turns.
  const { rows: people } = await client.query('SELECT name FROM people WHERE id = $1 FOR UPDATE', [personId]);
  if (!people[0]) {
    throw new ApiError(400, 'invalid', 'There is no such person.', { fields: { personId: 'There is no such person.' } });
  }
  if (allowConflict) return;
  const { rows: conflicts } = await client.query(
    `SELECT id, title, starts_at AS "startsAt", ends_at AS "endsAt" FROM shifts
     WHERE person_id = $1 AND starts_at < $3 AND ends_at > $2 AND id IS DISTINCT FROM $4::int
     ORDER BY starts_at LIMIT 10`,
    [personId, startsAt, endsAt, id],
  );
  if (conflicts.length > 0) {
    const titles = conflicts.map((shift) => `“${shift.title}”`).join(', ');
    throw new ApiError(409, 'conflict', `${people[0].name} already has ${titles} at that time.`, { conflicts });
  }
}

/** Makes the shift's reminder row what the shift asks for. Returns what to tell the queue. */
async function planReminder(client, shiftId, { startsAt, remindMinutes }) {
  if (remindMinutes === null || startsAt.getTime() <= Date.now()) {
    const { rows } = await client.query('DELETE FROM reminders WHERE shift_id = $1 RETURNING id', [shiftId]);
    return rows[0] ? { id: rows[0].id, remindAt: null } : null;
  }
  const { rows } = await client.query(
    `INSERT INTO reminders (shift_id, minutes_before, remind_at) VALUES ($1, $2, $3)
     ON CONFLICT (shift_id) DO UPDATE
       SET minutes_before = $2, remind_at = $3, status = 'pending', attempts = 0, last_error = NULL, sent_at = NULL
     RETURNING id, remind_at AS "remindAt"`,
    [shiftId, remindMinutes, new Date(startsAt.getTime() - remindMinutes * 60_000)],
  );
  return rows[0];
}
