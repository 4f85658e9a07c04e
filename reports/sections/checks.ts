import type { CheckResult, CheckStatus, EvidenceSource, RunResults } from '../../bench/types.ts';
import { type CheckGroup, checkGroups, type FleetTrial, fleetName, fleetsOf } from '../fleets.ts';
import { formatCount, plural } from '../text/format.ts';
import { type Html, html } from '../text/html.ts';
import { type Section, statusBadge } from './parts.ts';

/** With more trials than this, only those where a check does not hold are written out. */
const WRITTEN_OUT = 6;
const STATUS_TEXT: Readonly<Record<CheckStatus, string>> = {
  passed: '✓ holds',
  failed: '✗ does not hold',
  not_measured: '○ not measured',
};
const SOURCE_TEXT: Readonly<Record<EvidenceSource, string>> = {
  event: 'event of the kernel',
  exit: 'exit report',
  cgroup: 'cgroup counter',
  audit: 'audit log',
  message: 'message',
  process: '/proc on the host',
  network: 'the other end of the line',
  file: 'files on the host',
  isolation: 'isolation report',
};

const LIMITS = ['mem', 'swap', 'cpu', 'pids', 'disk', 'inodes', 'fsize', 'nofile'];

/** What was asserted, what was seen, and by what: one part per check, all trials and runtimes in it. */
export function checksSection(results: RunResults): Section | null {
  const groups = checkGroups(fleetsOf(results));
  if (groups.length === 0) return null;
  const all = groups.flatMap(({ seen }) => seen);
  const held = all.filter(({ check }) => check.status === 'passed').length;
  return {
    id: 'checks',
    title: 'Checks',
    short: `Checks (${formatCount(groups.length)})`,
    body: html`<p>${plural(groups.length, 'assertion')}, made from outside the sandboxes; ${formatCount(held)} of ${formatCount(all.length)} hold.</p>
${groups.map((group) => checkPart(results, group))}`,
  };
}

function checkPart(results: RunResults, { id, asserted, seen }: CheckGroup): Html {
  const isLong = seen.length > WRITTEN_OUT;
  const shown = isLong ? seen.filter(({ check }) => check.status !== 'passed').slice(0, WRITTEN_OUT) : seen;
  const held = seen.filter(({ check }) => check.status === 'passed').length;
  return html`<article class="check" id="check-${id.replace(/[^\w-]/g, '_')}"><h3>${asserted}</h3>
${isLong ? html`<p>${formatCount(held)} of ${formatCount(seen.length)} trials.</p>` : null}
<div class="columns">${shown.map(({ of, check }) => observation(check, seen.length > 1 ? fleetName(of) : null, results))}</div></article>
`;
}

function observation(check: CheckResult, where: string | null, results: RunResults): Html {
  const layer = results.isolation.find(
    // The report is that of one agent: what it says of limits need not hold for the others.
    (report) => report.layer === check.layer && !LIMITS.includes(report.layer),
  );
  return html`<div class="seen"><p>${statusBadge(check.status, STATUS_TEXT[check.status])}${
    where === null ? null : html` <span class="muted">${where}</span>`
  }${check.layer === null ? null : html` <span class="badge plain">by ${check.layer}</span>`}</p>
<p>${check.observed}</p>
${
  check.evidence.length === 0
    ? null
    : html`<ul class="plain evidence">${check.evidence.map(
        ({ source, text }) => html`<li><span class="muted">${SOURCE_TEXT[source]}:</span> ${text}</li>`,
      )}${layer === undefined ? null : html`<li><span class="muted">isolation report:</span> ${layer.layer} ${layer.state}, ${layer.how}</li>`}</ul>`
}</div>
`;
}

/** For report.md: id, what was asserted, then one column per trial. */
export function checkRows(fleets: readonly FleetTrial[]): readonly (readonly string[])[] {
  return checkGroups(fleets).flatMap(({ asserted, seen }) =>
    seen.map(({ of, check }, index) => [
      index === 0 ? asserted : '',
      seen.length > 1 ? fleetName(of) : '',
      STATUS_TEXT[check.status],
      check.layer ?? '',
      check.observed,
    ]),
  );
}
