// A template for Node agents: imports what they need, then every return from serve() is one of them.
// Started with --single-threaded: threads do not survive a fork, so there must be none that anything waits for.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const v8 = require('node:v8');
const vm = require('node:vm');

const native = require('./clove_zygote.node');
const { preload, warmUp } = JSON.parse(process.env.CLOVE_TEMPLATE ?? '{"preload":[],"warmUp":[]}');

/** As many as Node draws ahead and keeps. */
const UUID_BATCH = 128;
const INT_BATCH = 1024;

/** What a program finds in process is what this agent was started with. */
function become({ argv, env, cwd }) {
  for (const name of Object.keys(process.env)) delete process.env[name];
  for (const entry of env) {
    const at = entry.indexOf('=');
    process.env[entry.slice(0, at)] = entry.slice(at + 1);
  }
  process.chdir(cwd);
  const [executable, script, ...rest] = argv;
  process.argv = [executable, script, ...rest];
  process.title = path.basename(script);
  const pid = Number(fs.readlinkSync('/proc/self'));
  for (const [name, value] of Object.entries({ execArgv: [], pid }))
    Object.defineProperty(process, name, { value, enumerable: true, configurable: true });
  return script;
}

/** The status is decided when 'exit' has been told to everybody; Node's own way from there ends in threads that are not there. */
function followExit() {
  const { emit, reallyExit } = process;
  process.emit = function (event, ...values) {
    const answer = Reflect.apply(emit, this, [event, ...values]);
    if (event === 'exit') native.setExitStatus(Number(process.exitCode ?? values[0] ?? 0));
    return answer;
  };
  process.reallyExit = (status) => {
    native.setExitStatus(Number(status ?? 0));
    reallyExit.call(process, status);
  };
}

/** Math.random and what crypto has drawn ahead would be the same in all agents of a template. */
function drawNewLuck() {
  v8.setFlagsFromString(`--random-seed=${crypto.randomBytes(4).readUInt32LE() >>> 1 || 1}`);
  const random = vm.runInNewContext('Math.random');
  Object.defineProperty(Math, 'random', {
    value: random,
    writable: true,
    enumerable: false,
    configurable: true,
  });
  for (let i = 0; i < UUID_BATCH; i++) crypto.randomUUID();
  for (let i = 0; i < INT_BATCH; i++) crypto.randomInt(2);
}

function specifier(name) {
  return name.startsWith('/') ? pathToFileURL(name).href : name;
}

async function prepare() {
  for (const name of preload) await import(specifier(name));
  for (const name of warmUp) await (await import(specifier(name))).warmUp();
  // Garbage would be copied into every agent that its collector walks through.
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function fail(error) {
  fs.writeSync(2, `${error?.stack ?? error}\n`);
  process.exit(1);
}

const refused = native.open();
if (refused !== 0) fail(new Error(`no channel to the kernel: errno ${refused}`));
prepare().then(() => {
  fs.writeSync(1, 'clove template ready\n');
  const agent = native.serve();
  // Only in an agent from here on.
  const script = become(agent);
  drawNewLuck();
  followExit();
  // Out of this promise: what the agent throws is its own.
  setImmediate(() => Module.runMain(script));
}, fail);
