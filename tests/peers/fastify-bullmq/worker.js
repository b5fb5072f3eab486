// Maps queued events to actions and delivers them; BullMQ tries again what failed.
import { Worker } from 'bullmq';
import { Agent, request } from 'undici';
import { NAME, backoffStrategy, connect } from './queue.js';

const CONCURRENCY = 100;
const dispatcher = new Agent({ connections: CONCURRENCY });

const action = ({ type, event, messageId, userId, traits, properties }) => {
  if (type === 'identify') {
    return { kind: 'identify', id: userId, email: traits?.email, name: traits?.name, messageId };
  }
  if (type === 'track' && event === 'Order Completed') {
    return { kind: 'trigger', workflow: 'order-completed', recipient: userId, data: properties, messageId };
  }
  return undefined;
};

const deliver = async (job) => {
  const body = action(job.data);
  if (!body) return;
  const { statusCode, body: answer } = await request(process.env.SINK, {
    dispatcher,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  await answer.dump();
  if (statusCode < 200 || statusCode > 299) throw new Error(`the sink answered ${statusCode}`);
};

const worker = new Worker(NAME, deliver, {
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
