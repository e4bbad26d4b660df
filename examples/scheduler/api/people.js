import { transaction } from '../lib/db.js';
import { ApiError, notFound, parseId, parsePerson } from './validate.js';

const COLUMNS = 'id, name, color';

const nameTaken = (error, name) =>
  error.code === '23505'
    ? new ApiError(409, 'name_taken', `There is already somebody called ${name}.`, {
        fields: { name: 'This name is taken.' },
      })
    : error;

export function peopleRoutes(app, { pool }) {
  app.get('/api/people', async () => {
    const { rows } = await pool.query(`SELECT ${COLUMNS} FROM people ORDER BY lower(name)`);
    return rows;
  });

  app.post('/api/people', async (request, reply) => {
    const { name, color } = parsePerson(request.body);
    try {
      const { rows } = await pool.query(
        `INSERT INTO people (name, color) VALUES ($1, $2) RETURNING ${COLUMNS}`,
        [name, color],
      );
      reply.code(201).header('location', `/api/people/${rows[0].id}`);
      return rows[0];
    } catch (error) {
      throw nameTaken(error, name);
    }
  });

  app.get('/api/people/:id', async (request) => find(pool, parseId(request.params.id, 'person')));

  app.patch('/api/people/:id', async (request) => {
    const id = parseId(request.params.id, 'person');
    const { name, color } = parsePerson(request.body, await find(pool, id));
    try {
      const { rows } = await pool.query(
        `UPDATE people SET name = $2, color = $3 WHERE id = $1 RETURNING ${COLUMNS}`,
        [id, name, color],
      );
      if (!rows[0]) throw notFound('person');
      return rows[0];
    } catch (error) {
      throw nameTaken(error, name);
    }
  });

  // Their shifts stay, with nobody assigned.
  app.delete('/api/people/:id', async (request, reply) => {
    const id = parseId(request.params.id, 'person');
    await transaction(pool, async (client) => {
      // Shifts first, then the person: the order in which a change of a shift locks them.
      await client.query('SELECT FROM shifts WHERE person_id = $1 ORDER BY id FOR UPDATE', [id]);
      const { rowCount } = await client.query('DELETE FROM people WHERE id = $1', [id]);
      if (rowCount === 0) throw notFound('person');
    });
    reply.code(204);
  });
}

async function find(pool, id) {
  const { rows } = await pool.query(`SELECT ${COLUMNS} FROM people WHERE id = $1`, [id]);
  if (!rows[0]) throw notFound('person');
  return rows[0];
}
