/**
 * Who is calling. Decided by which socket the connection came in on and by its peer credentials; the agent id in a frame's
 * header is only ever written by the kernel, never read.
 *
 * One number space: agents count from 1 and keep their id across restarts; agents behind a relay have one from 2²⁹ on for as
 * long as they are connected; clients of the shared socket are known by their connection id, which starts at 2³⁰. A mailbox, a name, a subscription and a state scope belong to such an id.
 */
export interface Caller {
  /** Agent id, id of a remote agent, or connection id of an operator's client. */
  readonly id: number;
  /** remote: an agent behind a relay. It holds what it was given, and has no process here. */
  readonly kind: 'operator' | 'agent' | 'remote';
  /** The wire connection this request came by; an agent may have several. */
  readonly connection: number;
  readonly peer: { readonly pid: number; readonly uid: number; readonly gid: number };
}

/** First id of the agents behind a relay; agents of this machine stay below. */
export const FIRST_REMOTE_ID = 2 ** 29;

/** First id of the clients of the shared socket; agents stay below. */
export const FIRST_CLIENT_ID = 2 ** 30;
