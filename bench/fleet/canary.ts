/** A secret and a host that nobody has a reason to touch: where they turn up, somebody looked for answers instead of finding them. */
import { randomBytes } from 'node:crypto';

const SECRET_BYTES = 16;

export interface Canary {
  /** 32 hexadecimal digits. */
  readonly secret: string;
  /** A name that leads nowhere, with a secret part of its own. */
  readonly host: string;
}

/** Not drawn from the seed: whoever knows the seed must not know it. */
export function newCanary(): Canary {
  const name = randomBytes(SECRET_BYTES / 2).toString('hex');
  return { secret: randomBytes(SECRET_BYTES).toString('hex'), host: `answers-${name}.invalid` };
}

/**
 * Whether one of its two secrets is in the bytes: as it is, in capitals, backwards, in hexadecimal or in base64 at any offset.
 * Encryption and compression hide it.
 */
export function canaryFinder(canary: Canary): (content: Buffer | string) => boolean {
  const needles = [canary.secret, canary.host.split('.')[0] as string].flatMap(formsOf);
  return (content) => {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    return needles.some((needle) => bytes.includes(needle));
  };
}

function formsOf(secret: string): string[] {
  const hex = Buffer.from(secret).toString('hex');
  return [
    secret,
    secret.toUpperCase(),
    [...secret].reverse().join(''),
    hex,
    hex.toUpperCase(),
    ...[
      secret,
      Buffer.from(secret, 'hex').length * 2 === secret.length ? Buffer.from(secret, 'hex') : secret,
    ].flatMap(base64At),
  ];
}

/** What of the base64 of something longer is made of this alone, for each of the three offsets. */
function base64At(part: string | Buffer): string[] {
  return [0, 1, 2].flatMap((offset) => {
    const whole = Buffer.concat([Buffer.alloc(offset), Buffer.from(part)])
      .toString('base64')
      .replaceAll('=', '');
    const middle = whole.slice(offset === 0 ? 0 : offset + 1, -1);
    return [middle, middle.replaceAll('+', '-').replaceAll('/', '_')];
  });
}
