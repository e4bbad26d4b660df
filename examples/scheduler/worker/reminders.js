import { transaction } from '../lib/db.js';
import { schedule } from '../lib/queue.js';
import { reason } from '../lib/retry.js';

export const MAX_ATTEMPTS = 5;

/**
 * Handles one job. The row in Postgres decides: a job whose reminder is gone, sent or moved
 * does no harm. Returns what to do with it: `{ done: 'sent' | 'dropped' | 'failed' }` or
 * `{ again: Date }`. It throws only if Postgres cannot be asked.
 */
export async function processReminder(pool, job, { deliver, log, now = () => new Date() }) {
  const started = performance.now();
  const id = Number(job);
  const result = await transaction(pool, async (client) => {
    const { rows } = await client.query(
      `SELECT r.status, r.remind_at AS "remindAt", r.attempts,
              s.title, s.starts_at AS "startsAt", p.name AS person
       FROM reminders r JOIN shifts s ON s.id = r.shift_id LEFT JOIN people p ON p.id = s.person_id
       WHERE r.id = $1 FOR UPDATE OF r`,
      [Number.isInteger(id) ? id : 0],
    );
    const reminder = rows[0];
    if (!reminder) return { done: 'dropped', why: 'the shift or its reminder is gone' };
    if (reminder.status !== 'pending') return { done: 'dropped', why: `already ${reminder.status}` };
    if (reminder.remindAt > now()) return { again: reminder.remindAt, why: 'moved to a later time' };
    try {
      await deliver({ id, title: reminder.title, startsAt: reminder.startsAt, person: reminder.person });
    } catch (error) {
      const attempts = reminder.attempts + 1;
      const failed = attempts >= MAX_ATTEMPTS;
      const again = new Date(now().getTime() + 1000 * 2 ** attempts);
      await client.query(
        `UPDATE reminders SET attempts = $2, last_error = $3, status = $4, remind_at = $5 WHERE id = $1`,
        [id, attempts, reason(error), failed ? 'failed' : 'pending', failed ? reminder.remindAt : again],
      );
      return failed ? { done: 'failed', why: reason(error) } : { again, why: reason(error) };
    }
    await client.query(
      `UPDATE reminders SET status = 'sent', sent_at = now(), attempts = attempts + 1, last_error = NULL WHERE id = $1`,
      [id],
    );
    return { done: 'sent', title: reminder.title, person: reminder.person ?? 'everyone' };
  });

  const ms = Math.round(performance.now() - started);
  const { done, again, why, title, person } = result;
  if (done === 'sent') log.info('reminder sent', { job, title, to: person, ms });
  else if (done === 'failed') log.error('reminder failed for good', { job, why, ms });
  else if (done) log.info('reminder dropped', { job, why, ms });
  else log.warn('reminder again later', { job, at: again.toISOString(), why, ms });
  return result;
}

/**
 * Puts reminders on the queue that Postgres has and the queue may not: those saved while
 * Redis was away, those of a Redis that lost its data, those another program inserted.
 * A reminder that is in the queue already only gets the time it has.
 */
export async function sweep(pool, redis, { horizonMs = 24 * 3_600_000 } = {}) {
  const { rows } = await pool.query(
    `SELECT id, remind_at AS "remindAt" FROM reminders
     WHERE status = 'pending' AND remind_at < $1 ORDER BY remind_at LIMIT 1000`,
    [new Date(Date.now() + horizonMs)],
  );
  for (const { id, remindAt } of rows) await schedule(redis, id, remindAt);
  return rows.length;
}
