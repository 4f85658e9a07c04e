/**
 * How Node runs a process that is nothing but a kernel. V8 lets its young generation grow to 48 MiB under a flood of calls; with this
 * bound it stays at 12, and what is in flight (REQUEST_LIMITS) is little enough not to outlive two of its collections.
 * bin/clove gives the same to `clove kernel start --foreground`.
 */
export const KERNEL_NODE_OPTIONS: readonly string[] = ['--max-semi-space-size=4'];
