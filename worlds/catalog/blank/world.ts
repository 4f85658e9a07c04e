import { defineWorld } from '../../definition.ts';

export default defineWorld({
  name: 'blank',
  description: 'Empty files, a network where nothing answers, a clock that skips what nobody does.',
  files: { initial: { '/work': { folder: true }, '/tmp': { folder: true } } },
});
