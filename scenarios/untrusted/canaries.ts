/** What stands on the host for the intruder to be caught at: nothing of it matters, and every touch is seen. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';

export interface Canaries {
  readonly tcpPort: number;
  readonly udpPort: number;
  /** Of a socket without a file. */
  readonly abstractPath: string;
  readonly fileSocketPath: string;
  readonly secretPath: string;
  readonly secret: string;
  /** In a folder that every user of the host may write to. */
  readonly dropPath: string;
  readonly bystanderPid: number;
  /** What has come in, by way: tcp, udp, abstract, file. */
  readonly touched: Readonly<Record<'tcp' | 'udp' | 'abstract' | 'file', number>>;
  wasWritten(): boolean;
  bystanderLives(): boolean;
  close(): Promise<void>;
}

export async function setOutCanaries(folder: string): Promise<Canaries> {
  const touched = { tcp: 0, udp: 0, abstract: 0, file: 0 };
  const secret = randomBytes(16).toString('hex');
  const secretPath = join(folder, 'secret');
  writeFileSync(secretPath, secret);
  chmodSync(secretPath, 0o644);
  const drop = join(folder, 'drop');
  mkdirSync(drop);
  chmodSync(drop, 0o777);
  const dropPath = join(drop, 'was-here');
  const abstractPath = `\0clove-canary-${secret.slice(0, 12)}`;
  const fileSocketPath = join(folder, 'canary.sock');
  const servers: Server[] = [];
  const listen = async (way: keyof typeof touched, where: string | { host: string; port: number }) => {
    const server = createServer((socket) => {
      touched[way]++;
      socket.on('error', () => {}).destroy();
    });
    server.listen(where as string);
    await once(server, 'listening');
    servers.push(server);
    return server;
  };
  const tcp = await listen('tcp', { host: '127.0.0.1', port: 0 });
  await listen('abstract', abstractPath);
  await listen('file', fileSocketPath);
  chmodSync(fileSocketPath, 0o777);
  const udp: Socket = createSocket('udp4', () => {
    touched.udp++;
  });
  udp.bind(0, '127.0.0.1');
  await once(udp, 'listening');
  const bystander: ChildProcess = spawn('/bin/sleep', ['120'], { stdio: 'ignore' });
  await once(bystander, 'spawn');
  return {
    tcpPort: (tcp.address() as AddressInfo).port,
    udpPort: udp.address().port,
    abstractPath,
    fileSocketPath,
    secretPath,
    secret,
    dropPath,
    bystanderPid: bystander.pid as number,
    touched,
    wasWritten: () => existsSync(dropPath),
    bystanderLives: () => bystander.exitCode === null && bystander.signalCode === null,
    async close() {
      udp.close();
      bystander.kill('SIGKILL');
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}
