/** A kernel of its own process, to be killed. argv[2]: its folders, as JSON. */
import { createKernel } from '../../kernel/index.ts';

const { bootId } = await createKernel({ ...JSON.parse(process.argv[2] ?? '{}'), logLevel: 'error' });
process.send?.(bootId);
