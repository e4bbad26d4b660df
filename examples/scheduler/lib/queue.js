import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { reason } from './retry.js';

/*
 * The reminder queue. A job is the id of a row in the reminders table.
 *
 *   reminders:delayed           sorted set: jobs by the time they are due (ms)
 *   reminders:queue             list: jobs that are due
 *   reminders:processing:<w>    list: the jobs worker w has taken and not finished
 *   reminders:workers           set: workers that may have a processing list
 *   reminders:alive:<w>         key that expires unless worker w keeps it
 */
const DELAYED = 'reminders:delayed';
const QUEUE = 'reminders:queue';
const WORKERS = 'reminders:workers';
const processing = (worker) => `reminders:processing:${worker}`;
const alive = (worker) => `reminders:alive:${worker}`;

const ALIVE_SECONDS = 30;

// Moves due jobs from the sorted set to the list, in one step so that none is lost or doubled.
const PROMOTE = `
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 100)
for _, job in ipairs(due) do
  redis.call('ZREM', KEYS[1], job)
  redis.call('LPUSH', KEYS[2], job)
end
return #due`;

/** @param {string} url @param {{ prefix?: string, blocking?: boolean, log?: any }} [options] */
export function createRedis(url, { prefix = 'scheduler:', blocking = false, log } = {}) {
  const redis = new Redis(url, {
    keyPrefix: prefix,
    connectTimeout: 3000,
    maxRetriesPerRequest: blocking ? null : 1,
    ...(blocking ? {} : { commandTimeout: 3000 }),
    retryStrategy: (times) => Math.min(100 * 2 ** Math.min(times, 6), 5000),
  });
  let last;
  redis.on('error', (error) => {
    if (reason(error) !== last) log?.warn('redis connection', { reason: reason(error) });
    last = reason(error);
  });
  redis.on('ready', () => {
    last = undefined;
  });
  return redis;
}

/** Puts a job on the queue, or gives a job that is waiting there a new time. */
export async function schedule(redis, reminderId, dueAt) {
  await redis.zadd(DELAYED, dueAt.getTime(), String(reminderId));
}

export async function unschedule(redis, reminderId) {
  await redis.zrem(DELAYED, String(reminderId));
}

/** The taking side of the queue: one per worker process. */
export class Consumer {
  /** @param {{ redis: Redis, blocking: Redis, name?: string, log: any }} options */
  constructor({ redis, blocking, name = randomUUID().slice(0, 8), log }) {
    this.redis = redis;
    this.blocking = blocking;
    this.name = name;
    this.log = log;
  }

  /** Says "this worker lives". Must be called more often than every 30 seconds. */
  async heartbeat() {
    await this.redis.sadd(WORKERS, this.name);
    await this.redis.set(alive(this.name), '1', 'EX', ALIVE_SECONDS);
  }

  async promoteDue(now = Date.now()) {
    return Number(await this.redis.eval(PROMOTE, 2, DELAYED, QUEUE, String(now)));
  }

  /** The next job, now in this worker's processing list; null when none came in time. */
  async take(timeoutSeconds = 5) {
    return this.blocking.blmove(QUEUE, processing(this.name), 'RIGHT', 'LEFT', timeoutSeconds);
  }

  async finish(job) {
    await this.redis.lrem(processing(this.name), 1, job);
  }

  /** Takes a job out of the processing list and plans it for later, in one step. */
  async postpone(job, dueAt) {
    const results = await this.redis
      .multi()
      .lrem(processing(this.name), 1, job)
      .zadd(DELAYED, dueAt.getTime(), job)
      .exec();
    for (const [error] of results ?? []) if (error) throw error;
  }

  /** Puts back what workers that are gone had taken. */
  async recoverLost() {
    let count = 0;
    for (const worker of await this.redis.smembers(WORKERS)) {
      if (worker === this.name || (await this.redis.exists(alive(worker)))) continue;
      count += await this.giveBack(worker);
    }
    return count;
  }

  async giveBack(worker = this.name) {
    let count = 0;
    while (await this.redis.lmove(processing(worker), QUEUE, 'LEFT', 'RIGHT')) count += 1;
    await this.redis.del(alive(worker));
    await this.redis.srem(WORKERS, worker);
    if (count > 0) this.log.info('jobs put back', { worker, count });
    return count;
  }
}
