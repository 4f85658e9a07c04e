import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapeLabel, gauge, renderPrometheus } from './prometheus.ts';
import { parsePrometheus } from './prometheus-testing.ts';

const withLabel = (value: string) =>
  renderPrometheus([
    {
      name: 'x_total',
      type: 'counter',
      help: 'h',
      samples: [{ labels: { agent: value, b: '1' }, value: 1 }],
    },
  ]);

describe('the Prometheus text format', () => {
  it('is written as the format says', () => {
    const page = renderPrometheus([
      gauge('a_bytes', 'One\nline \\ two', 1.5),
      { name: 'nothing', type: 'gauge', help: 'left out', samples: [] },
      {
        name: 'b_seconds',
        type: 'histogram',
        help: 'h',
        samples: [
          { suffix: '_bucket', labels: { le: '0.1' }, value: 1 },
          { suffix: '_bucket', labels: { le: '+Inf' }, value: 2 },
          { suffix: '_sum', value: 3e-7 },
          { suffix: '_count', value: 2 },
        ],
      },
      gauge('c', 'h', Number.POSITIVE_INFINITY),
      gauge('d', 'h', Number.NaN),
    ]);
    expect(page).toBe(
      `# HELP a_bytes One\\nline \\\\ two
# TYPE a_bytes gauge
a_bytes 1.5
# HELP b_seconds h
# TYPE b_seconds histogram
b_seconds_bucket{le="0.1"} 1
b_seconds_bucket{le="+Inf"} 2
b_seconds_sum 3e-7
b_seconds_count 2
# HELP c h
# TYPE c gauge
c +Inf
# HELP d h
# TYPE d gauge
d NaN
`,
    );
    expect([...parsePrometheus(page).keys()]).toEqual(['a_bytes', 'b_seconds', 'c', 'd']);
  });

  it.each([
    ['a quote that would end the label', 'x"} 1\nevil_total{a="', 'x"} 1\nevil_total{a="'],
    ['a backslash at the end', 'x\\', 'x\\'],
    ['a backslash before n', '\\n', '\\n'],
    ['what moves a terminal', '\u001b[2J\r\u0007\u009b\u2028', '\uFFFD[2J\uFFFD\uFFFD\uFFFD\uFFFD'],
    ['half a character', 'a\ud800b', 'a\uFFFDb'],
  ])('keeps %s inside of the label', (_what, value, read) => {
    const family = parsePrometheus(withLabel(value)).get('x_total');
    expect(family?.samples).toEqual([{ name: 'x_total', labels: { agent: read, b: '1' }, value: 1 }]);
  });

  it('whatever a label holds, the page stays one sample of that label', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const samples = parsePrometheus(withLabel(value)).get('x_total')?.samples;
        expect(samples).toHaveLength(1);
        expect(samples?.[0]?.labels.agent).toBe(
          value.toWellFormed().replace(/(?!\n)[\p{Cc}\p{Zl}\p{Zp}]/gu, '\uFFFD'),
        );
        expect(escapeLabel(value)).not.toContain('\n');
      }),
      { numRuns: 200 },
    );
  });
});
