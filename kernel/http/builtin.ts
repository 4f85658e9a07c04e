/**
 * Node's HTTP, when it is first needed. An `import` of it reads every one of its exports, and that loads all of fetch and
 * WebSocket: a tenth of the time in which a kernel is ready.
 */
export function nodeHttp(): typeof import('node:http') {
  return process.getBuiltinModule('node:http');
}

export function nodeHttps(): typeof import('node:https') {
  return process.getBuiltinModule('node:https');
}
