// strict-agent.mjs SOCKET NAME ROUNDS: as strict-agent.py, on an event loop, with work for the thread pool.
import { pbkdf2, randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const [path, name, rounds] = process.argv.slice(2);
while (!existsSync(path)) await sleep(100);
const board = connect(path);
const answers = createInterface({ input: board })[Symbol.asyncIterator]();
let seen = 'nothing';
for (let call = 0; call < Number(rounds); call++) {
  if (call % 3 !== 0) await sleep(Math.floor(Math.random() * 4) * 1000);
  const [own, key] = await Promise.all([
    readFile(import.meta.filename),
    promisify(pbkdf2)('pass', randomBytes(4), 10, 4, 'sha256'),
  ]);
  const at = (performance.now() % 1).toFixed(0);
  board.write(
    `${name} ${call} at ${Date.now()} ${at} saw ${seen} drew ${key.toString('hex')} ${randomUUID().slice(0, 8)} ${own.length > 0}\n`,
  );
  const { value = '' } = await answers.next();
  seen = value.split(' ')[0];
}
board.end();
