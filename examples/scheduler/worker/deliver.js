/**
 * Sends one reminder. This team reads its reminders in the app, so "sending" is a line in
 * the log; an e-mail or chat message would go here. What it throws is retried.
 */
export function createDeliver(log) {
  return async function deliver({ title, startsAt, person }) {
    log.info('reminder', {
      text: `${person ?? 'Everyone'}: “${title}” starts ${startsAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    });
  };
}
