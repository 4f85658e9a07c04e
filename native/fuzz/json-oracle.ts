const MAX_DEPTH = 64;
const MAX_NODES = 100_000;

/** What the guard refuses of the JSON that JSON.parse takes; found in a way of its own, for the comparison. */
function extraRuleBroken(json: string): boolean {
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g) ?? [];
  const open: (Set<string> | null)[] = [];
  let nodes = 0;
  for (const [i, token] of tokens.entries()) {
    const first = token[0] as string;
    if (first === '"' && tokens[i + 1] === ':') {
      const key: string = JSON.parse(token);
      const keys = open.at(-1) as Set<string>;
      if (keys.has(key) || ['__proto__', 'constructor', 'prototype'].includes(key)) return true;
      if (!key.isWellFormed()) return true;
      keys.add(key);
      continue;
    }
    if (first === '}' || first === ']') open.pop();
    if ('}],:'.includes(first)) continue;
    nodes += 1;
    if (first === '{') open.push(new Set());
    else if (first === '[') open.push(null);
    else if (first === '"' && !JSON.parse(token).isWellFormed()) return true;
    else if (/[-\d]/.test(first) && !Number.isFinite(Number(token))) return true;
    if (open.length > MAX_DEPTH) return true;
  }
  return nodes > MAX_NODES;
}

/** Whether the guard is to accept these bytes: what JSON.parse accepts, less what the guard's own rules exclude. */
export function shouldPass(bytes: Uint8Array): boolean {
  if (bytes.length === 0) return true;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    JSON.parse(text);
    return !extraRuleBroken(text);
  } catch {
    return false;
  }
}
