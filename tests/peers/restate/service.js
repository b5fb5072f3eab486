// The service that Restate calls once for each event: maps it and delivers the action.
import * as restate from '@restatedev/restate-sdk';
import { action, deliverer } from './deliver.js';

const deliver = deliverer(256);

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
