import stringWidth from 'string-width';

export interface Column<Row> {
  readonly title: string;
  readonly align?: 'left' | 'right';
  value(row: Row): string;
}

/** Plain columns, two blanks apart, widths measured as the terminal shows them. Cells must be escaped already. */
export function renderTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = rows.map((row) => columns.map((column) => column.value(row)));
  const widths = columns.map((column, index) =>
    Math.max(stringWidth(column.title), ...cells.map((row) => stringWidth(row[index] ?? ''))),
  );
  const line = (values: readonly string[]) =>
    values
      .map((value, index) => {
        const padding = ' '.repeat(Math.max(0, (widths[index] ?? 0) - stringWidth(value)));
        return columns[index]?.align === 'right' ? padding + value : value + padding;
      })
      .join('  ')
      .trimEnd();
  return [line(columns.map((column) => column.title)), ...cells.map(line)].join('\n');
}
