// Takes webhooks, queues the event, and answers when Redis has it.
import { Queue } from 'bullmq';
import { NAME, connect, defaultJobOptions, jobOptions } from './queue.js';
import { receive } from './receive.js';

const queue = new Queue(NAME, { connection: connect({ enableAutoPipelining: true }), defaultJobOptions });

const keep = async (event) => {
  await queue.add(event.type, event, jobOptions(event.messageId));
  return 202;
};

await queue.waitUntilReady();
await receive(keep, () => queue.close());
