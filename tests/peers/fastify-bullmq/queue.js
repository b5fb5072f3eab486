// The queue between the web process and the worker: its name, its Redis, and how jobs are kept.
import { Redis } from 'ioredis';

export const NAME = 'segment';

export const connect = (options) =>
  new Redis({ host: '127.0.0.1', port: Number(process.env.REDIS_PORT), ...options });

// BullMQ's "throttle mode": a repeat within the time adds no job, decided by the script that adds.
export const jobOptions = (messageId) => ({
  deduplication: { id: messageId, ttl: 24 * 60 * 60 * 1000 },
});

export const defaultJobOptions = {
  attempts: Number.MAX_SAFE_INTEGER,
  backoff: { type: 'custom' },
  removeOnComplete: true,
};

// 100 ms, 200 ms, ... 30 s.
export const backoffStrategy = (attempts) => Math.min(100 * 2 ** (attempts - 1), 30_000);
