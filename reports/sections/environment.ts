import type { RunResults } from '../../bench/types.ts';
import { parameterLabel } from '../summary.ts';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatPercent,
  formatTime,
  plural,
} from '../text/format.ts';
import { type Html, html, multiline } from '../text/html.ts';
import { dataTable, factsTable, type Section } from './parts.ts';

export function noticesSection(results: RunResults): Section {
  return {
    id: 'notices',
    title: 'Notices',
    short: 'Notices',
    body:
      results.notices.length === 0
        ? html`<p>Nothing was degraded, skipped or noisy.</p>`
        : html`<ul class="plain">${results.notices.map((notice) => html`<li>${notice}</li>`)}</ul>`,
  };
}

const STATE_CLASS = { on: 'pass', off: 'plain', degraded: 'none', 'n/a': 'plain' } as const;

export function isolationSection(results: RunResults): Section {
  const layers = results.isolation;
  const wanted = layers.filter((layer) => layer.requested);
  const on = wanted.filter((layer) => layer.state === 'on').length;
  return {
    id: 'isolation',
    title: 'Isolation',
    short: 'Isolation',
    body:
      layers.length === 0
        ? html`<p>No sandbox took part in this run.</p>`
        : html`<p>${on === wanted.length ? `All ${plural(on, 'layer')} asked for were on.` : `${formatCount(on)} of ${plural(wanted.length, 'layer')} asked for were fully on.`} These hold for experiments under clove; the other runtimes have none of them.</p>
${dataTable(
  'Every layer of the sandbox, as read back from a running one',
  [{ title: 'Layer' }, { title: 'Asked for' }, { title: 'State' }, { title: 'How' }, { title: 'Hint' }],
  // What is not as asked for comes first.
  [...layers]
    .sort((a, b) => Number(b.requested && b.state !== 'on') - Number(a.requested && a.state !== 'on'))
    .map((layer) => [
      html`<code>${layer.layer}</code>`,
      layer.requested ? 'yes' : 'no',
      html`<span class="badge ${layer.requested && layer.state === 'off' ? 'fail' : STATE_CLASS[layer.state]}">${layer.state}</span>${layer.errno === null ? null : html` <code>${layer.errno}</code>`}`,
      layer.how,
      layer.hint ?? '',
    ]),
  'Isolation layers',
  'dense loose',
)}`,
  };
}

export function preparationsSection(results: RunResults): Section | null {
  const { preparations } = results;
  if (preparations.length === 0) return null;
  return {
    id: 'preparations',
    title: 'Preparations',
    short: 'Inputs',
    body: html`<p>Computed once and shared by every experiment and runtime; not part of any experiment's time.</p>${dataTable(
      'Inputs prepared before the experiments',
      [
        { title: 'Name' },
        { title: 'From' },
        { title: 'Time', numeric: true },
        { title: 'Facts' },
        { title: 'Key' },
      ],
      preparations.map((preparation) => [
        preparation.name,
        preparation.from === 'cache' ? 'cache' : 'computed in this run',
        formatDuration(preparation.wallMs),
        Object.entries(preparation.facts)
          .filter(([, value]) => value !== null && value !== '')
          .map(([name, value]) => `${words(name)} ${listed(String(value))}`)
          .join(' · '),
        html`<code>${preparation.key.slice(0, 16)}</code>`,
      ]),
      'Preparations',
    )}`,
  };
}

/** "droppedWhy" → "dropped why". */
function words(name: string): string {
  return name.replace(
    /([a-z])([A-Z])/g,
    (_, before: string, letter: string) => `${before} ${letter.toLowerCase()}`,
  );
}

/** "a,b" → "a, b": a list that breaks between its members, not in one. */
function listed(text: string): string {
  return text.replace(/,(?=\S)/g, ', ');
}

/** "crash 5 %, hang 2 %" or "none". */
export function faultText(results: RunResults): string {
  const faults = Object.entries(results.faults).filter(([, p]) => p !== undefined && p > 0);
  return faults.length === 0 ? 'none' : faults.map(([kind, p]) => `${kind} ${formatPercent(p)}`).join(', ');
}

export function gitText(results: RunResults): string {
  const { gitCommit, gitDirty } = results.machine;
  if (gitCommit === null) return 'not from a git checkout';
  return `${gitCommit}${gitDirty === true ? ' with local changes' : ''}`;
}

export function environmentSection(results: RunResults): Section {
  const { machine } = results;
  const options = Object.entries(results.options);
  return {
    id: 'environment',
    title: 'Environment and data',
    short: 'Machine',
    body: html`<div class="columns"><div>${factsTable('Machine', [
      ['Processor', `${machine.cpuModel}, ${plural(machine.cores, 'core')}`],
      ['Memory', formatBytes(machine.memoryBytes)],
      ['System', machine.os],
      ['Linux kernel', machine.kernel],
      ['Node.js', machine.node],
      ['Clove', machine.clove],
      ['Source', html`<code>${gitText(results)}</code>`],
      ['Host', html`<code>${machine.hostnameHash}</code> (hashed)`],
    ])}</div><div>${factsTable('Run', [
      ['Run', html`<code>${results.runId}</code>`],
      ['State', results.status],
      ['Started', formatTime(results.startedAt)],
      ['Finished', results.finishedAt === null ? 'not yet' : formatTime(results.finishedAt)],
      ['Wall, all runtimes', formatDuration(results.wallMs)],
      ['Seed', String(results.seed)],
      ['Faults injected', faultText(results)],
      ...options.map(([name, value]) => [`Option ${name}`, String(value ?? '–')] as const),
    ])}</div></div>
<h3>Data</h3>
${
  results.provenance.length === 0
    ? html`<p>The scenario uses no data.</p>`
    : dataTable(
        'Sources the results rest on',
        [
          { title: 'Name' },
          { title: 'Kind' },
          { title: 'Rows', numeric: true },
          { title: 'Dropped', numeric: true },
          { title: 'Source' },
          { title: 'Licence' },
          { title: 'SHA-256' },
        ],
        results.provenance.map((source) => [
          source.name,
          source.kind === 'synthetic'
            ? html`<span class="badge none">synthetic</span>`
            : html`<span class="badge plain">measured</span>`,
          formatCount(source.rows),
          formatCount(source.dropped),
          source.source,
          source.licence,
          html`<code>${source.sha256}</code>`,
        ]),
        'Data sources',
      )
}`,
  };
}

export function reproduceSection(results: RunResults, embedded: boolean): Section {
  return {
    id: 'reproduce',
    title: 'Reproduce',
    short: 'Reproduce',
    body: html`<p>The same version on the same data gives the same experiments, splits, seeds and faults; times depend on the machine.</p>
<pre id="command" tabindex="0" aria-label="Command that reproduces this run">${multiline(results.command)}</pre>
<div class="tools" id="reproduce-tools" hidden></div>
<p class="muted">${
      embedded
        ? 'The complete record, results.json, is embedded in this file and lies beside it.'
        : 'The complete record is in results.json beside this file; it is too large to embed.'
    } Its form is described in docs/results.md.</p>`,
  };
}

export function methodSection(results: RunResults): Section {
  const { primaryMetric, metrics, heatmap } = results.presentation;
  const item = (name: string, text: Html | string): Html => html`<li><strong>${name}</strong>: ${text}</li>`;
  return {
    id: 'method',
    title: 'How to read the figures',
    short: 'Method',
    body: html`<ul class="plain">
${item('Passed, failed, not measured', 'an experiment passes when an attempt returns a result; it fails when its own attempts are used up. What could not be started or was interrupted is not measured, and never counts as zero.')}
${item('Verdict', `needs ${formatPercent(results.verdict.coverageFloor)} of the experiments measured; below that there is none.`)}
${item('Leading metric', `${primaryMetric.label} (${primaryMetric.path}), ${primaryMetric.higherIsBetter ? 'higher' : 'lower'} is better. Ranked on held-out data that took no part in training or choice of parameters.`)}
${item('Metrics shown', metrics.map((metric) => `${metric.label} = ${metric.path}`).join(', ') || 'none')}
${item('Heat map', `mean over passed experiments of each cell of ${[...heatmap.rows, ...heatmap.columns].map((name) => parameterLabel(results, name)).join(' × ')}.`)}
${item('Wall time', 'of a runtime: sum of the time spans in which it worked. Of an attempt: from its start to its end, set-up and clean-up included.')}
${item('Start-up', "from the start of an attempt to the first instruction of the experiment's own code. Compute: inside that code.")}
${item('Overhead per attempt', "time of a place that no experiment's code used: start-up and ending of the attempt, plus the gap before it. Places idle because nothing is left to do do not count. The bench's own part is that gap.")}
${item('Peak memory', 'from the control group under clove, from getrusage under process; under thread and sequential only the whole process can be measured.')}
${item('CPU busy', 'mean of busy cores of the whole machine, whoever used them, while the runtime worked.')}
${item('Work lost', 'compute time of attempts that led to no result.')}
${item('Died because of another', 'the attempt was healthy, but shared a process with one that was not. Cannot happen where each experiment has its own.')}
</ul>`,
  };
}
