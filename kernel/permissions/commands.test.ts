import { describe, expect, it } from 'vitest';
import { BLOCKED_COMMANDS } from './catalogue.ts';
import { decideCommand, isCommandWithin } from './commands.ts';
import { commandsOfScript, splitPlainCommand } from './shell-words.ts';

const allowed = [['ls', 'git status', '/opt/tools/lint', 'false']];

const run = (
  command: string,
  rules: readonly (readonly string[])[] = allowed,
  blocked: readonly string[] = [],
) => decideCommand({ command }, rules, blocked);
const runArgv = (
  argv: string[],
  rules: readonly (readonly string[])[] = allowed,
  blocked: readonly string[] = [],
) => decideCommand({ argv }, rules, blocked);

describe('a list of granted commands', () => {
  it.each([
    ['ls', ['ls']],
    ['  ls   -la  /tmp ', ['ls', '-la', '/tmp']],
    [`ls 'a b' "c d"e`, ['ls', 'a b', 'c de']],
    ['git status --short', ['git', 'status', '--short']],
    ['/bin/ls', ['/bin/ls']],
    ['/usr/bin/git status', ['/usr/bin/git', 'status']],
    ['/opt/tools/lint x', ['/opt/tools/lint', 'x']],
  ])('runs %s without a shell', (command, argv) => {
    expect(run(command)).toEqual({ refusal: null, argv });
  });

  it.each([
    'ls; id',
    'ls;id',
    'ls && id',
    'ls | sh',
    'ls & id',
    'ls $(id)',
    'ls `id`',
    'ls\nid',
    'ls\rid',
    'ls > /etc/x',
    'ls < /etc/passwd',
    'ls $HOME',
    'ls *',
    'ls ~',
    '\\l\\s',
    'ls "$(id)"',
    'ls "`id`"',
    'ls {a,b}',
    'ls #x',
    "ls 'a",
    'LD_PRELOAD=/work/x.so ls',
    'ls !x',
  ])('refuses %j, which means something to a shell', (command) => {
    expect(run(command).refusal).toBe('command.needs-shell');
  });

  it.each([
    'id #ls',
    'id',
    'else',
    'lsof',
    'git push',
    'git',
    'git  -c x=y status',
    'env -S ls',
    'env ls',
    'busybox ls',
    'sh -c ls',
    '/work/ls',
    './ls',
    'bin/ls',
    '/usr/bin/../../work/ls',
    '/tmp/usr/bin/ls',
    '/work/opt/tools/lint',
    'lint',
    `'ls '`,
    `''`,
  ])('refuses %j, which is another program', (command) => {
    expect(run(command).refusal).toMatch(/^command\.(not-granted:|needs-shell)/);
  });

  it('takes the arguments of an argv as they are', () => {
    expect(runArgv(['ls', '; id', '$(id)'])).toEqual({ refusal: null, argv: ['ls', '; id', '$(id)'] });
    expect(runArgv(['ls; id']).refusal).toBe('command.not-granted:ls; id');
    expect(runArgv(['git', 'status']).refusal).toBeNull();
    expect(runArgv(['git', 'status ']).refusal).toBe('command.not-granted:git');
  });

  it('gives a shell only to who may run it', () => {
    expect(run('ls; id', [['sh']]).argv).toEqual(['/bin/sh', '-c', 'ls; id']);
    expect(run('ls; id', []).argv).toEqual(['/bin/sh', '-c', 'ls; id']);
    expect(run('ls', [[]]).refusal).toBe('command.not-granted:ls');
    expect(run('ls; id', [['sh'], ['ls']]).refusal).toBe('command.needs-shell');
  });
});

describe('a list of blocked commands', () => {
  const refusal = (command: string) => run(command, [], BLOCKED_COMMANDS).refusal;

  it.each([
    ['rm -rf /', 'rm -rf /'],
    ['rm  -rf   /', 'rm -rf /'],
    ['"rm" -rf /', 'rm -rf /'],
    ["r'm' -rf /", 'rm -rf /'],
    ['\\rm -rf /', 'rm -rf /'],
    ['/bin/rm -rf /', 'rm -rf /'],
    ['ls; rm -rf /', 'rm -rf /'],
    ['ls && (cd /x; rm -rf /)', 'rm -rf /'],
    ['ls\nrm -rf /*', 'rm -rf /*'],
    ['if true; then sudo id; fi', 'sudo'],
    ['X=1 sudo id', 'sudo'],
    ['env X=1 sudo id', 'sudo'],
    ['nohup su - root', 'su'],
    ['sh -c "sudo id"', 'sudo'],
    [`bash -lc 'sh -c "reboot"'`, 'reboot'],
    ['dd if=/dev/zero of=/dev/sda', 'dd if='],
    ['mkfs.ext4 /dev/sda', 'mkfs*'],
    ['echo x | sudo tee /etc/x', 'sudo'],
    ['echo x > f; shutdown now', 'shutdown'],
    ['2>/dev/null sudo id', 'sudo'],
    ['init 0', 'init 0'],
  ])('stops %j by the rule %s', (command, rule) => {
    expect(refusal(command)).toBe(`command.blocked:${rule}`);
  });

  it.each([
    'visudo',
    'echo sudo',
    'rm -rf /tmp/x',
    'grep "su " x',
    'sum a',
    'ls # sudo',
    'init 5',
    'echo "rm -rf /"',
    'echo $HOME',
    'ls 2>&1 | wc -l',
  ])('lets %j be', (command) => {
    expect(refusal(command)).toBeNull();
  });

  it.each([
    'X=rm; $X -rf /',
    '$(echo rm) -rf /',
    '`echo sudo` id',
    ':(){ :|:& };:',
    'eval "rm -rf /"',
    'cat <<E\nx\nE',
    'su?o id',
    'diff <(sudo id) x',
  ])('refuses %j, which hides what it runs', (command) => {
    expect(refusal(command)).toBe('command.unclear');
  });

  it('holds for an argv, too', () => {
    expect(runArgv(['sudo', 'id'], [], BLOCKED_COMMANDS).refusal).toBe('command.blocked:sudo');
    expect(runArgv(['/usr/bin/env', 'sudo'], [], BLOCKED_COMMANDS).refusal).toBe('command.blocked:sudo');
    expect(runArgv(['echo', 'sudo'], [], BLOCKED_COMMANDS).refusal).toBeNull();
  });
});

describe('one rule within another', () => {
  it.each([
    ['git status', 'git', true],
    ['git', 'git status', false],
    ['git', '*', true],
    ['*', 'git', false],
    ['/usr/bin/git', 'git', true],
    ['git', '/usr/bin/git', false],
    ['/work/git', 'git', false],
  ])('%s within %s: %s', (a, b, expected) => {
    expect(isCommandWithin(a, b)).toBe(expected);
  });
});

describe('words', () => {
  it('are those of a shell where it changes nothing', () => {
    expect(splitPlainCommand('a "b c" \'d$e\'')).toEqual(['a', 'b c', 'd$e']);
    expect(splitPlainCommand('')).toBeNull();
    expect(splitPlainCommand('a=b')).toBeNull();
  });

  it('of a script are those of its commands', () => {
    expect(commandsOfScript('a b; c | d && e')).toEqual([['a', 'b'], ['c'], ['d'], ['e']]);
    expect(commandsOfScript('a > f b 2>&1')).toEqual([['a', 'b']]);
    expect(commandsOfScript('while read x; do echo "$x"; done < f')).toEqual([
      ['read', 'x'],
      ['echo', '$x'],
    ]);
    expect(commandsOfScript('f() { rm; }')).toBeNull();
    expect(commandsOfScript('"a')).toBeNull();
    expect(commandsOfScript('a;'.repeat(10_000))).toBeNull();
  });
});
