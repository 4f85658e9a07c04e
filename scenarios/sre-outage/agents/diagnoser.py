"""
Asks why before it acts: weighs what could be the cause by figures, logs and changes, tells the likely ones apart by
probes that change nothing, mends one cause, and looks whether that was it. What was not is ruled out.
"""

import json
import os
import re

import evidence
from on_call import serve

#: Below this nothing is done but looking again.
SURE = 3
#: More candidates than this are not probed at a time.
CANDIDATES = 4
EFFECT_S = 120
SURE_S = 120
LOOK_AGAIN_S = 20


def handle(on_call, incident, opened_ms):
    ruled_out = set()
    while on_call.is_open(incident):
        seen = evidence.gather(on_call, opened_ms)
        ranked = [each for each in evidence.hypotheses(seen) if each[1:] not in ruled_out]
        ranked = [evidence.probed(on_call, seen, each) for each in ranked[:CANDIDATES]]
        opinion = ask_model(on_call.clove, seen, ranked)
        ranked = [(score + (2 if (cause, component) == opinion else 0), cause, component) for score, cause, component in ranked]
        ranked.sort(reverse=True)
        if not ranked or ranked[0][0] < SURE:
            on_call.sleep(LOOK_AGAIN_S)
            continue
        _, cause, component = ranked[0]
        on_call.say(incident, cause=cause, component=component, note=f"{ranked[:3]}")
        mend(on_call, cause, component)
        on_call.sleep(EFFECT_S)
        if on_call.stays_well(SURE_S):
            on_call.say(incident, status="resolved")
            return
        ruled_out.add((cause, component))


ACTIONS = {
    "database_down": ("database", "failover"),
    "pool_exhausted": (None, "resize-pool"),
    "memory_leak": (None, "rollback"),
    "bad_deploy": (None, "rollback"),
    "expired_certificate": (None, "renew-certificate"),
    "dns_failure": ("resolver", "flush"),
    "network_partition": (None, "reroute"),
    "cache_stampede": ("cache", "warm"),
    "queue_backlog": ("queue", "dead-letter"),
    "dependency_errors": ("payments", "switch-provider"),
    "clock_skew": (None, "sync-clock"),
    "retry_storm": ("edge", "shed-load"),
    "traffic_surge": (None, "scale-out"),
}


def mend(on_call, cause, component):
    clove = on_call.clove
    if cause == "disk_full":
        clove.exec(f"rm -f /var/log/shop/{component}/debug.log")
    elif cause == "bad_config":
        path = f"/etc/shop/{component}.yaml"
        text = clove.read_file(path).content
        clove.write_file(path, re.sub(r"upstream_timeout_ms: \d+", "upstream_timeout_ms: 2000", text))
    elif cause == "credentials_rotated":
        clove.write_file(f"/etc/shop/{component}.secret", clove.read_file("/etc/vault/database").content)
    else:
        where, action = ACTIONS[cause]
        on_call.act(where or component, action)


def ask_model(clove, seen, ranked):
    """A second opinion on the candidates, where the fleet has a model; (cause, component) or None."""
    if os.environ.get("SRE_MODEL") != "on" or len(ranked) < 2:
        return None
    prompt = (
        "An online shop has an outage. Which of the candidates is the root cause? Answer with one JSON object "
        '{"cause": ..., "component": ...} and nothing else.\n'
        f"candidates: {json.dumps([{'cause': cause, 'component': component} for _, cause, component in ranked])}\n"
        f"figures: {json.dumps(seen.components)}\nlogs: {json.dumps(seen.logs)}\nchanges: {json.dumps(seen.changes)}"
    )
    answer = clove.think(prompt, temperature=0, max_tokens=100, timeout=60)
    found = re.search(r"\{[^{}]*\}", answer.get("content") or "") if answer.get("success") else None
    try:
        said = json.loads(found[0]) if found else {}
    except ValueError:
        return None
    return said.get("cause"), said.get("component")


serve("diagnoser", handle)
