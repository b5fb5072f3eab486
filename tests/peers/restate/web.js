// Takes webhooks and hands them to Restate, whose ingress answers when it is durable.
import { Pool } from 'undici';
import { receive } from './receive.js';

const ingress = new Pool(process.env.INGRESS, { connections: 256 });

await receive(async ({ messageId }, bytes) => {
  const { statusCode, body } = await ingress.request({
    path: '/segment/handle/send',
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': messageId },
    body: bytes,
  });
  await body.dump();
  return statusCode < 300 ? 202 : 503;
});
