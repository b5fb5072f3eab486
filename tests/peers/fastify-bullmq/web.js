// Takes webhooks: verifies the raw body, queues the event, and answers when Redis has it.
import { createHmac, timingSafeEqual } from 'node:crypto';
import Fastify from 'fastify';
import { Queue } from 'bullmq';
import { NAME, connect, defaultJobOptions, jobOptions } from './queue.js';

const { PORT, SECRET } = process.env;
const queue = new Queue(NAME, { connection: connect({ enableAutoPipelining: true }), defaultJobOptions });
const app = Fastify({ logger: { level: 'error' } });

app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

const verified = (body, header) => {
  const given = Buffer.from(header ?? '', 'hex');
  const wanted = createHmac('sha1', SECRET).update(body).digest();
  return given.length === wanted.length && timingSafeEqual(given, wanted);
};

app.post('/webhook', async (request, reply) => {
  if (!verified(request.body, request.headers['x-signature'])) {
    return reply.code(401).send();
  }
  let event;
  try {
    event = JSON.parse(request.body);
  } catch {
    return reply.code(400).send();
  }
  if (typeof event.messageId !== 'string') {
    return reply.code(400).send();
  }
  await queue.add(event.type, event, jobOptions(event.messageId));
  return reply.code(202).send();
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    await app.close();
    await queue.close();
    process.exit(0);
  });
}
await queue.waitUntilReady();
await app.listen({ host: '127.0.0.1', port: Number(PORT) });
