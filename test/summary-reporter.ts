import type { Reporter, TestCase, TestModule } from 'vitest/node';

/** Closes a run with every skip and its reason, every test that needed a second try and why, and one line that a machine can read. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandledErrors.length;
    const skipped: string[] = [];
    const flaky: string[] = [];
    for (const module of modules) {
      // A file that cannot be loaded has no tests to count, but it has failed.
      if (module.errors().length > 0) failed += 1;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        const diagnostic = test.diagnostic();
        if (diagnostic?.flaky === true)
          flaky.push(`flaky: ${test.fullName}: passed only at a second try: ${firstError(test)}`);
        if (state === 'passed') passed += 1;
        else if (state === 'failed') failed += 1;
        else skipped.push(`skipped: ${test.fullName}: ${skipReason(test)}`);
      }
    }
    for (const line of [...flaky, ...skipped]) console.log(line);
    console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  }
}

/** Of a message: its beginning says what it is, its end often why. */
const MOST_CHARS = 1000;

function firstError(test: TestCase): string {
  const message = test.result().errors?.[0]?.message.replaceAll('\n', ' ↵ ') ?? 'no error kept';
  return message.length <= MOST_CHARS
    ? message
    : `${message.slice(0, 200)} … ${message.slice(200 - MOST_CHARS)}`;
}

function skipReason(test: TestCase): string {
  const result = test.result();
  return result.state === 'skipped' && result.note ? result.note : 'no reason given';
}
