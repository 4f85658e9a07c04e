// docs/design/attacks.md and faults.md say which test tries what: each that they name has to be there.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const root = path.dirname(import.meta.dirname);
const table = ['attacks', 'faults']
  .flatMap((page) => readFileSync(path.join(root, `docs/design/${page}.md`), 'utf8').split('\n'))
  .filter((line) => /^\| (?!attack |fault )/.test(line));

/** As the page shortens them: one word for native/sandbox-word.test.ts, no folder for kernel/syscalls/. */
function fileOf(name: string): string | undefined {
  const candidates = [`native/sandbox-${name}.test.ts`, `kernel/syscalls/${name}`, `kernel/${name}`, name];
  return candidates.find((candidate) => {
    const folder = path.join(root, path.dirname(candidate));
    try {
      return readdirSync(folder).includes(path.basename(candidate)) && candidate.endsWith('.test.ts');
    } catch {
      return false;
    }
  });
}

/** Each `name: "title …", "title …"` of a row. */
function named(row: string): { file: string; title: string }[] {
  const [, , tests = ''] = row.split(/ ?\| ?/);
  return tests.split('; ').flatMap((part) => {
    const [, name = '', rest = ''] = /^`?([\w./-]+)`?: (.*)$/.exec(part) ?? [];
    return [...rest.matchAll(/"([^"…]+?) ?…?"/g)].map(([, title = '']) => ({ file: name, title }));
  });
}

it('has the tests that it names', () => {
  const wrong: string[] = [];
  let count = 0;
  for (const row of table) {
    for (const file of row.matchAll(/`([\w./-]+\.test\.ts)`/g))
      if (fileOf(file[1] as string) === undefined) wrong.push(`no file ${file[1]}`);
    for (const { file, title } of named(row)) {
      const found = fileOf(file);
      count += 1;
      // Programs write the typographic apostrophe in titles.
      if (
        found === undefined ||
        !readFileSync(path.join(root, found), 'utf8').replaceAll('’', "'").includes(title)
      )
        wrong.push(`${file}: ${title}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(count).toBeGreaterThan(40);
});
