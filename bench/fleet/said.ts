import type { ReceivedMessage } from '../../sdk/typescript/index.ts';

/** For `fleet.message`: a message of that agent that has such a field, as in `{ ready: true }`. */
export const said =
  (name: string, what: string) =>
  ({ from_name, message }: Pick<ReceivedMessage, 'from_name' | 'message'>): boolean =>
    from_name === name && Object.hasOwn(Object(message), what);
