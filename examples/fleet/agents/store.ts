/** Counts what the workers have done, and tells whoever looks at `clove status`. */
import { connect } from 'clove/sdk';

const clove = await connect();
await clove.notify({ ready: true, status: 'no results yet' });
let results = 0;
setInterval(() => clove.notify({ status: `${results} results` }), 1000);
for await (const { message } of clove.messages()) {
  const { type } = message as { type?: string };
  if (type === 'result') results += 1;
}
