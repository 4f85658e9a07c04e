/** What was decided about one request, with everything a record of it needs. */
export interface Decision {
  readonly allowed: boolean;
  /** Which rule decided; stable text such as `operator`, `syscall.not-granted:SPAWN` or `path.blocked:/etc/shadow`. */
  readonly ruleId: string;
  /** Names the policy that was in force: the same text for the same grants, on any machine. */
  readonly policyDigest: string;
  /** What the request concerned: a path, command, URL, key or name; '' = nothing in particular. */
  readonly object: string;
}
