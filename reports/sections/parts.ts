import type { TrialStatus } from '../../bench/types.ts';
import { type Html, type HtmlValue, html } from '../text/html.ts';

export interface Column {
  readonly title: HtmlValue;
  readonly numeric?: boolean;
  /** Set apart from the others (the leading runtime). */
  readonly lead?: boolean;
}

/** A table with caption and scopes, in a frame that scrolls sideways by itself and can be reached by keyboard. */
export function dataTable(
  caption: HtmlValue,
  columns: readonly Column[],
  rows: readonly (readonly HtmlValue[])[],
  name: string,
  style: '' | 'dense' | 'dense loose' | 'narrow' = '',
): Html {
  return html`<div class="scroll" role="region" tabindex="0" aria-label="${name}"><table class="${style}"><caption>${caption}</caption><thead><tr>${columns.map(
    (column) => html`<th scope="col" class="${classOf(column)}">${column.title}</th>`,
  )}</tr></thead><tbody>${rows.map((row) => tableRow(columns, row))}</tbody></table></div>
`;
}

export function tableRow(columns: readonly Column[], cells: readonly HtmlValue[]): Html {
  return html`<tr>${cells.map((cell, index) => {
    const name = classOf(columns[index] ?? { title: '' });
    return index === 0
      ? html`<th scope="row" class="${name}">${cell}</th>`
      : html`<td class="${name}">${cell}</td>`;
  })}</tr>`;
}

function classOf(column: Column): string {
  return [column.numeric ? 'num' : '', column.lead ? 'lead' : ''].filter(Boolean).join(' ');
}

/** Two columns: name and value. */
export function factsTable(caption: string, facts: readonly (readonly [string, HtmlValue])[]): Html {
  return html`<table class="facts"><caption>${caption}</caption><tbody>${facts.map(
    ([name, value]) => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>`,
  )}</tbody></table>
`;
}

export interface Section {
  readonly id: string;
  readonly title: string;
  /** Short name in the navigation. */
  readonly short: string;
  readonly body: Html;
}

export function renderSection(section: Section): Html {
  return html`<section id="${section.id}" aria-labelledby="${section.id}-title"><h2 id="${section.id}-title">${section.title}</h2>
${section.body}</section>
`;
}

const STATUS_CLASS: Readonly<Record<TrialStatus, string>> = {
  passed: 'pass',
  failed: 'fail',
  not_measured: 'none',
};
const STATUS_TEXT: Readonly<Record<TrialStatus, string>> = {
  passed: '✓ passed',
  failed: '✗ failed',
  not_measured: '○ not measured',
};

export function statusBadge(status: TrialStatus, text = STATUS_TEXT[status]): Html {
  return html`<span class="badge ${STATUS_CLASS[status]}">${text}</span>`;
}
