import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseId, parsePerson, parseRange, parseShift } from '../api/validate.js';

const good = { title: ' Front desk ', startsAt: '2030-05-01T09:00:00Z', endsAt: '2030-05-01T17:00:00+02:00' };
const fieldsOf = (work) => {
  try {
    work();
  } catch (error) {
    return error.body.fields;
  }
  throw new Error('it was accepted');
};

test('a shift is trimmed and its times are read with their zones', () => {
  const shift = parseShift(good);
  assert.equal(shift.title, 'Front desk');
  assert.equal(shift.endsAt.toISOString(), '2030-05-01T15:00:00.000Z');
  assert.deepEqual([shift.personId, shift.remindMinutes, shift.allowConflict], [null, null, false]);
});

test('each wrong field of a shift is named', () => {
  assert.deepEqual(Object.keys(fieldsOf(() => parseShift({}))), ['title', 'startsAt', 'endsAt']);
  assert.match(fieldsOf(() => parseShift({ ...good, startsAt: '2030-05-01T09:00' })).startsAt, /with a zone/);
  assert.match(fieldsOf(() => parseShift({ ...good, startsAt: '2030-13-01T09:00:00Z' })).startsAt, /with a zone/);
  assert.match(fieldsOf(() => parseShift({ ...good, endsAt: good.startsAt })).endsAt, /after the start/);
  assert.match(fieldsOf(() => parseShift({ ...good, endsAt: '2030-06-01T09:00:00Z' })).endsAt, /at most 7 days/);
  assert.ok(fieldsOf(() => parseShift({ ...good, personId: '1' })).personId);
  assert.ok(fieldsOf(() => parseShift({ ...good, remindMinutes: -1 })).remindMinutes);
  assert.ok(fieldsOf(() => parseShift({ ...good, allowConflict: 'yes' })).allowConflict);
  assert.ok(fieldsOf(() => parseShift({ ...good, title: 'x'.repeat(121) })).title);
});

test('a body that is not an object is refused', () => {
  for (const body of [null, undefined, [], 'x', 1]) assert.throws(() => parseShift(body), /JSON object/);
});

test('what a change leaves out keeps its value', () => {
  assert.deepEqual(parsePerson({ color: 'rose' }, { name: 'Ada', color: 'blue' }), { name: 'Ada', color: 'rose' });
  assert.ok(fieldsOf(() => parsePerson({ name: ' ', color: 'pink' })).color);
});

test('ids and ranges', () => {
  assert.equal(parseId('12', 'shift'), 12);
  for (const id of ['0', '-1', '1x', '99999999999', '4294967296', '']) assert.throws(() => parseId(id, 'shift'), /no such shift/);
  assert.deepEqual(parseRange({}), { from: null, to: null });
  assert.ok(fieldsOf(() => parseRange({ from: 'monday' })).from);
});
