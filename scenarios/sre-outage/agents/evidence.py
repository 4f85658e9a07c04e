"""What speaks for and against every cause that an outage may have. Nothing here changes anything."""

import re

CALLERS = {
    "database": ["orders", "catalogue", "fulfilment"],
    "cache": ["catalogue"],
    "queue": ["orders", "fulfilment"],
    "acquirer": ["payments"],
    "payments": ["checkout"],
    "orders": ["checkout"],
    "checkout": ["edge"],
    "catalogue": ["edge"],
}
#: What each cannot do without, and could be cut off from.
NEEDS = {"orders": "database", "catalogue": "database", "payments": "acquirer"}
WITH_FILES = ["checkout", "catalogue", "orders", "payments", "fulfilment"]
POOLS = {"orders": 40, "catalogue": 40, "fulfilment": 20}


class Seen:
    def __init__(self, components, usual, logs, changes, clocks, files, opened_ms):
        self.components = components
        self.usual = usual
        self.logs = logs
        self.changes = changes
        self.clocks = clocks
        self.files = files
        self.opened_ms = opened_ms

    def says(self, name, pattern):
        return any(re.search(pattern, line) for line in self.logs.get(name, []))

    def figure(self, name, what):
        value = self.components.get(name, {}).get(what)
        return 0 if value is None else value

    def deployed_within(self, name, minutes):
        return any(
            change["component"] == name
            and change["what"] == "deploy"
            and change["atMs"] >= self.opened_ms - minutes * 60_000
            for change in self.changes
        )


def gather(on_call, opened_ms):
    components = on_call.components()
    ailing = [name for name, each in components.items() if each["error_rate"] > 0.02 or each["p95_ms"] > 400]
    around = set(ailing) | {"edge", "fulfilment"}
    logs = {}
    for name in sorted(around):
        found = on_call.get(f"http://logs.sre/logs/{name}?since_ms={opened_ms - 150_000}")
        logs[name] = [line["text"] for line in found["lines"] if line["level"] != "INFO"] if found else []
    usual = {}
    for name in ("checkout", "catalogue"):
        history = on_call.get(f"http://metrics.sre/components/{name}")
        rates = sorted(each["rps"] for each in history["minutes"] if each["rps"]) if history else []
        usual[name] = rates[len(rates) // 4] if rates else None
    changes = on_call.get("http://cluster.sre/changes") or {"changes": []}
    clocks = on_call.get("http://cluster.sre/clocks") or {"clocks": []}
    files = {}
    vault = on_call.clove.read_file("/etc/vault/database").content
    for name in WITH_FILES:
        if name not in ailing:
            continue
        config = re.search(r"upstream_timeout_ms: (\d+)", on_call.clove.read_file(f"/etc/shop/{name}.yaml").content)
        secret = on_call.clove.read_file(f"/etc/shop/{name}.secret").content
        files[name] = {"timeout_ms": int(config[1]) if config else None, "has_secret": secret == vault}
    return Seen(
        components,
        usual,
        logs,
        changes["changes"],
        {each["name"]: each["offset_ms"] for each in clocks["clocks"]},
        files,
        opened_ms,
    )


def hypotheses(seen):
    """(score, cause, component), the likeliest first; only those for which anything speaks."""
    found = []

    def weigh(cause, component, *reasons):
        score = sum(weight for holds, weight in reasons if holds)
        if score > 0:
            found.append((score, cause, component))

    for name in seen.components:
        figure = lambda what, name=name: seen.figure(name, what)  # noqa: E731
        overloaded = figure("cpu") > 90
        weigh("bad_deploy", name, (seen.says(name, "TypeError"), 3), (seen.deployed_within(name, 15), 1))
        weigh("memory_leak", name, (figure("memory") > 75, 3), (seen.says(name, "out of memory|heap is"), 2))
        weigh("disk_full", name, (figure("disk") >= 99, 3), (seen.says(name, "no space left"), 2))
        weigh(
            "pool_exhausted",
            name,
            (figure("connections") >= POOLS.get(name, 10**9), 3),
            (seen.says(name, "from the pool"), 2),
        )
        weigh("clock_skew", name, (abs(seen.clocks.get(name, 0)) > 30_000, 4))
        usual = seen.usual.get(name)
        weigh(
            "traffic_surge",
            name,
            (overloaded, 1),
            (usual is not None and figure("rps") > 1.6 * usual and figure("retry_rate") < 0.2, 3),
        )
        files = seen.files.get(name, {})
        weigh(
            "bad_config",
            name,
            (seen.says(name, "deadline of"), 2),
            (files.get("timeout_ms") is not None and files["timeout_ms"] < 100, 3),
        )
        weigh(
            "credentials_rotated",
            name,
            (seen.says(name, "password authentication"), 2),
            (files.get("has_secret") is False, 3),
        )
        complained = any(seen.says(caller, f"call to {name} failed: TLS") for caller in CALLERS.get(name, []))
        weigh("expired_certificate", name, (complained or seen.says(name, "certificate_expired"), 3))
    for name in ("database", "queue", "cache"):
        lost = any(seen.says(caller, f"ENOTFOUND {name}") for caller in CALLERS[name])
        weigh("dns_failure", name, (lost, 3))
    for name, needed in NEEDS.items():
        timed_out = seen.says(name, f"call to {needed} failed: connection timed out")
        weigh("network_partition", name, (timed_out, 2))
    unreachable = [each for each in CALLERS["database"] if seen.says(each, "call to database failed: connection timed out")]
    weigh("database_down", "database", (bool(unreachable), 2), (len(unreachable) > 1, 1))
    weigh("cache_stampede", "cache", (0 < seen.figure("cache", "hit_rate") < 0.5, 4))
    weigh("queue_backlog", "queue", (seen.figure("queue", "queue_depth") > 200, 4))
    weigh("dependency_errors", "acquirer", (seen.says("payments", "502 from the acquirer"), 4))
    weigh("retry_storm", "edge", (seen.figure("edge", "retry_rate") > 0.3, 4))
    return sorted(found, reverse=True)


def probed(on_call, seen, hypothesis):
    """The same with what one or two tries tell: what cannot be, cannot be whatever the logs look like."""
    score, cause, component = hypothesis

    def result(source, target):
        answer = on_call.ask("POST", "http://cluster.sre/probe", {"from": source, "to": target})
        return "" if answer is None else answer["result"]

    if cause == "network_partition":
        needed = NEEDS[component]
        others = [each for each in CALLERS[needed] if each != component] or ["checkout"]
        cut = result(component, needed) == "connection timed out"
        alone = result(others[0], needed) == "answered"
        score += 3 if cut and alone else -4
    elif cause == "database_down":
        score += 3 if all(result(each, "database") == "connection timed out" for each in CALLERS["database"][:2]) else -4
    elif cause == "dns_failure":
        score += 2 if result(CALLERS[component][0], component) == "name not found" else -4
    elif cause == "expired_certificate":
        score += 2 if result("checkout", component) == "certificate has expired" else -4
    elif cause == "credentials_rotated":
        score += 2 if result(component, "database") == "authentication failed" else -4
    elif cause == "clock_skew":
        score += 2 if result("checkout", component) == "token is not valid yet" else -4
    return score, cause, component
