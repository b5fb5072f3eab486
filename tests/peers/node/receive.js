// What web processes in Node share: takes webhooks and verifies the raw body; the peer keeps the event.
import { createHmac, timingSafeEqual } from 'node:crypto';
import Fastify from 'fastify';

const { PORT, SECRET } = process.env;

const verified = (body, header) => {
  const given = Buffer.from(header ?? '', 'hex');
  const wanted = createHmac('sha1', SECRET).update(body).digest();
  return given.length === wanted.length && timingSafeEqual(given, wanted);
};

// `keep` is given the event and its bytes, and says the status once it is durable.
export const receive = async (keep, close = async () => {}) => {
  const app = Fastify({ logger: { level: 'error' } });

  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

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
    return reply.code(await keep(event, request.body)).send();
  });

  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, async () => {
      await app.close();
      await close();
      process.exit(0);
    });
  }
  await app.listen({ host: '127.0.0.1', port: Number(PORT) });
};
