export { Luck, type RandomStream } from './luck/streams.ts';
