/** Hands out jobs to the workers in turn. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'clove/sdk';

const clove = await connect();
const pauseMs = 1000 / Number(process.env.JOBS_PER_SECOND ?? 1);
for (let number = 1; ; number += 1) {
  await clove.send(`worker-${1 + (number % 2)}`, { type: 'job', number });
  await sleep(pauseMs);
}
