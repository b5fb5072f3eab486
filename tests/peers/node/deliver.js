// What delivering processes in Node share: maps an event to its action, and posts one.
import { Agent, request } from 'undici';

// Of an event that nothing is mapped to: undefined.
export const action = ({ type, event, messageId, userId, traits, properties }) => {
  if (type === 'identify') {
    return { kind: 'identify', id: userId, email: traits?.email, name: traits?.name, messageId };
  }
  if (type === 'track' && event === 'Order Completed') {
    return { kind: 'trigger', workflow: 'order-completed', recipient: userId, data: properties, messageId };
  }
  return undefined;
};

// Posts over so many connections; throws when it is not answered 2xx.
export const deliverer = (connections) => {
  const dispatcher = new Agent({ connections });
  return async (action) => {
    const { statusCode, body } = await request(process.env.SINK, {
      dispatcher,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(action),
    });
    await body.dump();
    if (statusCode < 200 || statusCode > 299) throw new Error(`the sink answered ${statusCode}`);
  };
};
