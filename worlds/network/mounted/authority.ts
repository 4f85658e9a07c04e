import 'reflect-metadata';
import { createHash, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const YEAR_MS = 365.25 * 86_400_000;
/** What UTCTime can say; beyond it some clients read dates wrongly. */
const LATEST_MS = Date.UTC(2049, 11, 31);
/** Names come from clients: the cache does not grow without bound. */
const MOST_CONTEXTS = 2000;

x509.cryptoProvider.set(webcrypto as unknown as Crypto);

export interface Authority {
  /** Certificate of the authority, PEM. */
  readonly pem: string;
  /** Name of its link in a folder of trusted certificates, as OpenSSL looks for it. */
  readonly linkName: string;
  /** Keys and certificate for a name, made when first asked for; expired ones for a fault. */
  contextFor(name: string, expired: boolean): Promise<SecureContext>;
}

/**
 * An authority for one world. Its certificates hold at every time that the world or its host may come to, so that neither
 * jumps of the clock nor checks on the host's time fail.
 */
export async function createAuthority(worldName: string, worldNowMs: () => number): Promise<Authority> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const from = new Date(Math.max(0, Math.min(Date.now(), worldNowMs()) - 5 * YEAR_MS));
  const until = new Date(Math.min(LATEST_MS, Math.max(Date.now(), worldNowMs()) + 20 * YEAR_MS));
  const commonName = `Clove world ${worldName.replace(/[^A-Za-z0-9 ._-]/g, '').slice(0, 40)}`;
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: [{ CN: [commonName] }],
    notBefore: from,
    notAfter: until,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as CryptoKey),
    ],
  });
  const makeLeaf = async (name: string, expired: boolean): Promise<SecureContext> => {
    const { publicKey, pem } = await keyOfServers();
    const dayMs = 86_400_000;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject: [{ CN: [name.slice(0, 64)] }],
      issuer: authority.subject,
      notBefore: from,
      notAfter: expired ? new Date(Math.min(Date.now(), worldNowMs()) - dayMs) : until,
      signingAlgorithm: ALGORITHM,
      publicKey: publicKey as CryptoKey,
      signingKey: keys.privateKey as CryptoKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: isIP(name) === 0 ? 'dns' : 'ip', value: name }]),
        await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey as CryptoKey),
      ],
    });
    return createSecureContext({ key: pem, cert: `${certificate.toString('pem')}\n` });
  };

  const contexts = new Map<string, Promise<SecureContext>>();
  return {
    pem: `${authority.toString('pem')}\n`,
    linkName: `${subjectHash(commonName)}.0`,
    contextFor(name, expired) {
      const key = `${expired ? '!' : ''}${name}`;
      const known = contexts.get(key);
      if (known !== undefined) return known;
      if (contexts.size >= MOST_CONTEXTS) contexts.delete(contexts.keys().next().value as string);
      const made = makeLeaf(name, expired);
      contexts.set(key, made);
      made.catch(() => contexts.delete(key));
      return made;
    },
  };
}

let serversKey: Promise<{ readonly publicKey: webcrypto.CryptoKey; readonly pem: string }> | null = null;

/** One key for all names of all worlds: making one costs more than signing, and it never leaves this process. */
function keyOfServers() {
  serversKey ??= (async () => {
    const { publicKey, privateKey } = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
    const exported = await webcrypto.subtle.exportKey('pkcs8', privateKey);
    return { publicKey, pem: x509.PemConverter.encode(exported, 'PRIVATE KEY') };
  })();
  return serversKey;
}

function serial(): string {
  return Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)))
    .toString('hex')
    .replace(/^[89a-f]/, '7');
}

/** What OpenSSL calls a certificate of this subject by: SHA-1 of the name in its canonical form (lower case, UTF-8, no outer frame). */
function subjectHash(commonName: string): string {
  const value = Buffer.from(commonName.toLowerCase().replace(/ +/g, ' ').trim());
  const frame = (tag: number, content: Buffer) =>
    Buffer.concat([Buffer.from([tag, content.length]), content]);
  const type = Buffer.from([0x06, 0x03, 0x55, 0x04, 0x03]);
  const name = frame(0x31, frame(0x30, Buffer.concat([type, frame(0x0c, value)])));
  return createHash('sha1').update(name).digest().readUInt32LE(0).toString(16).padStart(8, '0');
}
