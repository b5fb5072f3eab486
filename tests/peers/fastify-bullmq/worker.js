// Maps queued events to actions and delivers them; BullMQ tries again what failed.
import { Worker } from 'bullmq';
import { action, deliverer } from './deliver.js';
import { NAME, backoffStrategy, connect } from './queue.js';

const CONCURRENCY = 100;
const deliver = deliverer(CONCURRENCY);

const run = async (job) => {
  const mapped = action(job.data);
  if (mapped) await deliver(mapped);
};

const worker = new Worker(NAME, run, {
  connection: connect({ maxRetriesPerRequest: null }),
  concurrency: CONCURRENCY,
  settings: { backoffStrategy },
});
worker.on('error', (error) => console.error(error));

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    await worker.close();
    process.exit(0);
  });
}
