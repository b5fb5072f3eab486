// The service that Restate calls once for each event: maps it and delivers the action.
import * as restate from '@restatedev/restate-sdk';
import { Agent, request } from 'undici';

const dispatcher = new Agent({ connections: 256 });

const action = ({ type, event, messageId, userId, traits, properties }) => {
  if (type === 'identify') {
    return { kind: 'identify', id: userId, email: traits?.email, name: traits?.name, messageId };
  }
  if (type === 'track' && event === 'Order Completed') {
    return { kind: 'trigger', workflow: 'order-completed', recipient: userId, data: properties, messageId };
  }
  return undefined;
};

const deliver = async (action) => {
  const { statusCode, body } = await request(process.env.SINK, {
    dispatcher,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(action),
  });
  await body.dump();
  if (statusCode < 200 || statusCode > 299) throw new Error(`the sink answered ${statusCode}`);
};

const segment = restate.service({
  name: 'segment',
  handlers: {
    handle: async (context, event) => {
      const mapped = action(event);
      if (mapped) {
        await context.run('deliver', () => deliver(mapped), {
          initialRetryInterval: { milliseconds: 100 },
          maxRetryInterval: { seconds: 30 },
        });
      }
    },
  },
  options: {
    idempotencyRetention: { hours: 24 },
    // What ran is not looked at afterwards.
    journalRetention: 0,
    retryPolicy: { initialInterval: { milliseconds: 100 }, maxInterval: { seconds: 30 }, maxAttempts: Infinity },
  },
});

// Each failed attempt would be a warning with its stack.
const logger = ({ level }, ...message) => level === 'error' && console.error(...message);
await restate.serve({ services: [segment], port: Number(process.env.SERVICE_PORT), logger });
