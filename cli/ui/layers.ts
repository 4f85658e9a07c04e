import type { LayerReport } from '../../native/types.ts';
import { escapeLine } from './escape.ts';
import { renderTable } from './table.ts';
import type { Terminal } from './terminal.ts';

/** Every layer of a sandbox: state, evidence and, where something is missing, what to do. */
export function layerTable(terminal: Terminal, layers: readonly LayerReport[]): string {
  const colours = { on: 'green', off: 'red', degraded: 'yellow', 'n/a': 'dim' } as const;
  return renderTable<LayerReport>(
    [
      { title: 'layer', value: ({ layer }) => layer },
      {
        title: 'state',
        value: ({ state, requested }) =>
          // Off is bad news only where it was asked for.
          terminal.style(state === 'off' && !requested ? 'dim' : colours[state], state),
      },
      {
        title: 'how',
        value: ({ how, errno, hint }) =>
          escapeLine(
            [how, errno ? `(${errno})` : '', hint ? `→ ${hint}` : ''].filter((part) => part !== '').join(' '),
          ),
      },
    ],
    layers,
  );
}
