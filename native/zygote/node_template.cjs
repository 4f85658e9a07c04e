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
/** Until V8 has compiled for good what draws: it would do it anew in each agent. */
const LUCK_ROUNDS = 32;

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

/**
 * The status is decided when 'exit' has been told to everybody; Node's own way from there ends in threads that are not there.
 * Set up in the template, where it does nothing yet: new functions on process or Math would make V8 drop code that looks there.
 */
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

/** V8's own generator cannot be seeded anew, and all agents of a template would draw the same: sfc32 in its place. */
const state = new Uint32Array(4);

function seed() {
  crypto.randomFillSync(state);
}

function draw() {
  const sum = (state[0] + state[1] + state[3]) | 0;
  state[3] += 1;
  state[0] = state[1] ^ (state[1] >>> 9);
  state[1] = state[2] + (state[2] << 3);
  state[2] = ((state[2] << 21) | (state[2] >>> 11)) + sum;
  return sum >>> 0;
}

function replaceRandom() {
  seed();
  const random = () => ((draw() >>> 5) * 0x4000000 + (draw() >>> 6)) / 0x20000000000000;
  Object.defineProperty(random, 'name', { value: 'random' });
  Object.defineProperty(Math, 'random', {
    value: random,
    writable: true,
    enumerable: false,
    configurable: true,
  });
}

/** The numbers that crypto.randomInt has drawn ahead, as long as Node keeps them in a Buffer that it reads six bytes at a time. */
function findIntsAhead() {
  const { readUIntBE } = Buffer.prototype;
  let found = null;
  Buffer.prototype.readUIntBE = function (...range) {
    found = this;
    return Reflect.apply(readUIntBE, this, range);
  };
  crypto.randomInt(2);
  Buffer.prototype.readUIntBE = readUIntBE;
  return found;
}

/** Uses them up, so that whoever draws next draws anew. False when they could not be watched: then each agent draws past them. */
function useUpInts() {
  if (intsAhead === null) return false;
  let left = null;
  intsAhead.readUIntBE = (offset, bytes) => {
    left = intsAhead.length - offset - bytes;
    return Buffer.prototype.readUIntBE.call(intsAhead, offset, bytes);
  };
  for (let i = 0; i < INT_BATCH && left !== 0; i++) crypto.randomInt(2);
  delete intsAhead.readUIntBE;
  return left === 0;
}

const intsAhead = findIntsAhead();
let intsAreUsedUp = false;

/** Otherwise the same in all agents of a template: Math.random, and what crypto has drawn ahead. */
function drawNewLuck() {
  seed();
  for (let i = 0; i < UUID_BATCH; i++) crypto.randomUUID();
  if (!intsAreUsedUp) for (let i = 0; i < INT_BATCH; i++) crypto.randomInt(2);
}

function specifier(name) {
  return name.startsWith('/') ? pathToFileURL(name).href : name;
}

async function prepare() {
  // Every agent draws anew before anything else: with code that is there.
  for (let i = 0; i < LUCK_ROUNDS; i++) drawNewLuck();
  for (const name of preload) await import(specifier(name));
  for (const name of warmUp) await (await import(specifier(name))).warmUp();
  // What is young and dead would be copied into every agent. Only that: a full collection takes optimised code along, whose object
  // shapes have no objects at the moment.
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  for (let i = 0; i < 2; i++) {
    collect({ type: 'minor' });
    await new Promise((resolve) => setImmediate(resolve));
  }
  intsAreUsedUp = useUpInts();
}

function fail(error) {
  fs.writeSync(2, `${error?.stack ?? error}\n`);
  process.exit(1);
}

const refused = native.open();
if (refused !== 0) fail(new Error(`no channel to the kernel: errno ${refused}`));
replaceRandom();
followExit();
prepare().then(() => {
  native.settle();
  fs.writeSync(1, 'clove template ready\n');
  const agent = native.serve();
  // Only in an agent from here on.
  const script = become(agent);
  drawNewLuck();
  // Out of this promise: what the agent throws is its own.
  setImmediate(() => Module.runMain(script));
}, fail);
