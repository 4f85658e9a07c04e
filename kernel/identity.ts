/**
 * Who is calling. Decided by which socket the connection came in on and by its peer credentials; the agent id in a frame's
 * header is only ever written by the kernel, never read.
 *
 * One number space: agents count from 1 and keep their id across restarts; clients of the shared socket are known by
 * their connection id, which starts at 2³⁰. A mailbox, a name, a subscription and a state scope belong to such an id.
 */
export interface Caller {
  /** Agent id, or connection id of an operator's client. */
  readonly id: number;
  readonly kind: 'operator' | 'agent';
  /** The wire connection this request came by; an agent may have several. */
  readonly connection: number;
  readonly peer: { readonly pid: number; readonly uid: number; readonly gid: number };
}

/** First id of the clients of the shared socket; agents stay below. */
export const FIRST_CLIENT_ID = 2 ** 30;
