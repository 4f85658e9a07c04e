import { CommanderError } from 'commander';
import { isCloveError } from '../errors/index.ts';
import { EXIT } from './exit-codes.ts';
import { escapeLine, escapeText } from './ui/escape.ts';

/** What a user sees of an error: one clear line and a hint; with --verbose the rest. */
export function presentError(error: unknown, verbose: boolean): { text: string; exitCode: number } {
  if (error instanceof CommanderError)
    return { text: '', exitCode: error.exitCode === 0 ? EXIT.ok : EXIT.usage };
  if (isCloveError(error)) {
    const lines = [`clove: ${escapeLine(error.message)} [${error.code}]`];
    if (error.hint) lines.push(`  hint: ${escapeLine(error.hint)}`);
    if (verbose) {
      if (error.details) lines.push(`  details: ${escapeText(JSON.stringify(error.details))}`);
      if (error.cause) lines.push(`  cause: ${escapeText(describeCause(error.cause))}`);
      if (error.stack) lines.push(escapeText(error.stack));
      lines.push(`  more: clove explain ${error.code}`);
    }
    return { text: lines.join('\n'), exitCode: exitCodeOf(error.code) };
  }
  const message = error instanceof Error ? error.message : String(error);
  const lines = [`clove: internal error: ${escapeLine(message)} [INTERNAL]`];
  if (verbose && error instanceof Error && error.stack) lines.push(escapeText(error.stack));
  else lines.push('  hint: this is a bug; --verbose shows where');
  return { text: lines.join('\n'), exitCode: EXIT.failed };
}

/** Of a command that ends with this error. */
export function exitCodeOf(code: string): number {
  if (code === 'USAGE') return EXIT.usage;
  if (code === 'CANCELLED') return EXIT.interrupted;
  if (code === 'SANDBOX_UNAVAILABLE') return EXIT.sandbox;
  return EXIT.failed;
}

function describeCause(cause: unknown): string {
  return cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
}
