// Takes webhooks: verifies the raw body and hands it to Restate, whose ingress answers when it is durable.
import { createHmac, timingSafeEqual } from 'node:crypto';
import Fastify from 'fastify';
import { Pool } from 'undici';

const { PORT, SECRET, INGRESS } = process.env;
const ingress = new Pool(INGRESS, { connections: 256 });
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
  const { statusCode, body } = await ingress.request({
    path: '/segment/handle/send',
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': event.messageId },
    body: request.body,
  });
  await body.dump();
  return reply.code(statusCode < 300 ? 202 : 503).send();
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    await app.close();
    process.exit(0);
  });
}
await app.listen({ host: '127.0.0.1', port: Number(PORT) });
