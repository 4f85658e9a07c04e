export * from './clock/index.ts';
export { Luck, type RandomStream } from './luck/streams.ts';
