"""On call for a shop in the world `sre-outage`: what has failed, where, and what mends it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, MultiDiscrete, Space
from numpy.typing import NDArray

from ..task import Role, WorldOrder, WorldTask
from ..view import WorldView

#: As the world has them: who depends on others comes after them.
COMPONENTS = (
    "resolver",
    "database",
    "cache",
    "queue",
    "acquirer",
    "fulfilment",
    "payments",
    "orders",
    "catalogue",
    "checkout",
    "edge",
)
#: What the cluster does to a component when it is asked.
CLUSTER_ACTIONS = (
    "restart",
    "rollback",
    "scale-out",
    "resize-pool",
    "failover",
    "renew-certificate",
    "sync-clock",
    "reroute",
    "flush",
    "warm",
    "dead-letter",
    "purge",
    "switch-provider",
    "shed-load",
)
#: The first choice of an action; the second is the component. The last three are done to files.
VERBS = ("wait", *CLUSTER_ACTIONS, "mend configuration", "renew password", "remove debug log")

#: By name, with what makes it about 1: the largest that is seen.
FIGURES = {
    "rps": 1000.0,
    "error_rate": 1.0,
    "p95_ms": 5000.0,
    "cpu": 100.0,
    "memory": 100.0,
    "disk": 100.0,
    "connections": 100.0,
    "queue_depth": 2000.0,
    "hit_rate": 1.0,
    "retry_rate": 1.0,
}
CHANGES = ("deploy", "config", "secret")
FEATURES = (*FIGURES, "clock_offset", *CHANGES)
CLOCK_OFFSET_MS = 600_000.0
#: A change that is older is no news.
RECENT_MS = 20 * 60_000
P95_MS = 5000.0

GOOD_CONFIGURATION = "upstream_timeout_ms: 2000\nworkers: 16\n"
ACTION_COST = 0.05
#: For a minute in which the shop did not keep what it promises.
BROKEN_PROMISE = 0.5


class SreTask(WorldTask):
    """One responder: in every step it may do one thing to one component, or wait.

    The seed of the world says what fails, where and when: one outage in every forty minutes, each of another kind. Seen
    are the figures of the last minute, clocks, and what was changed of late. What customers did not get costs, so does
    every minute in which the shop's promise was not kept, and a little every action.
    """

    name = "gym-sre"

    def __init__(self, *, step_s: float = 60, horizon_s: float = 80 * 60) -> None:
        self.step_ms = round(step_s * 1000)
        self.horizon_ms = round(horizon_s * 1000)
        seen: dict[str, Space[Any]] = {
            "components": Box(0, 1, (len(COMPONENTS), len(FEATURES)), np.float32),
            "service": Box(0, 1, (3,), np.float32),
            "time": Box(0, 1, (1,), np.float32),
        }
        self.roles = {"responder": Role(Dict(seen), MultiDiscrete([len(VERBS), len(COMPONENTS)]))}

    def world(self, seed: int) -> WorldOrder:
        return WorldOrder(template="sre-outage")

    def begin(self, view: WorldView, seed: int) -> None:
        answer = view.http("POST", "http://pager.sre/on-call")
        if not answer.ok:
            raise RuntimeError(f"the shift does not begin: {answer.error or answer.status}")
        view.memory.update(began_ms=view.now_ms, spent=0.0, did="wait", actions=0, broken=0)

    def act(self, role: str, view: WorldView, action: Any) -> None:
        verb, component = VERBS[int(action[0])], COMPONENTS[int(action[1])]
        view.memory["did"] = verb if verb == "wait" else f"{verb} {component}"
        view.memory["spent"] = 0.0 if verb == "wait" else ACTION_COST
        if verb == "wait":
            return
        view.memory["actions"] += 1
        if verb in CLUSTER_ACTIONS:
            answer = view.http("POST", f"http://cluster.sre/components/{component}/{verb}")
            if not answer.ok:
                view.failures.append(f"{verb} {component}: {answer.error or answer.status}")
        elif verb == "mend configuration":
            view.write(f"/etc/shop/{component}.yaml", GOOD_CONFIGURATION)
        elif verb == "renew password":
            password = view.read("/etc/vault/database")
            if password is not None:
                view.write(f"/etc/shop/{component}.secret", password)
        else:
            view.run(f"rm -f /var/log/shop/{component}/debug.log")

    def look(self, view: WorldView) -> None:
        memory = view.memory
        table = np.zeros((len(COMPONENTS), len(FEATURES)), dtype=np.float32)
        components = view.get("http://metrics.sre/components")
        for row in components["components"] if components else ():
            at = COMPONENTS.index(row["name"])
            for column, (figure, most) in enumerate(FIGURES.items()):
                table[at, column] = (row[figure] or 0) / most
        clocks = view.get("http://cluster.sre/clocks")
        for row in clocks["clocks"] if clocks else ():
            table[COMPONENTS.index(row["name"]), len(FIGURES)] = abs(row["offset_ms"]) / CLOCK_OFFSET_MS
        shift_ms = view.now_ms - memory["began_ms"]
        changes = view.get(f"http://cluster.sre/changes?since_ms={round(shift_ms) - RECENT_MS}")
        for row in changes["changes"] if changes else ():
            table[COMPONENTS.index(row["component"]), len(FIGURES) + 1 + CHANGES.index(row["what"])] = 1
        service = view.get("http://metrics.sre/slo")
        availability, p95_ms, promised = 0.0, 0.0, False
        if service:
            # Before the first minute is over nothing has been measured, and nothing is wrong.
            availability = 1.0 if service["availability"] is None else service["availability"]
            p95_ms = service["p95_ms"] or 0.0
            promised = bool(service["promised"])
            memory["broken"] += not promised
        memory["components"] = np.clip(table, 0, 1)
        memory["service"] = np.clip(
            np.array([availability, p95_ms / P95_MS, promised], dtype=np.float32), 0, 1
        )
        memory["worth"] = (
            0.0 - (1 - availability) - BROKEN_PROMISE * (not promised) - memory["spent"] if service else 0.0
        )

    def observe(self, role: str, view: WorldView) -> dict[str, NDArray[np.float32]]:
        return {
            "components": view.memory["components"].copy(),
            "service": view.memory["service"].copy(),
            "time": np.array([min(1.0, view.now_ms / view.horizon_ms)], dtype=np.float32),
        }

    def reward(self, role: str, view: WorldView) -> float:
        return float(view.memory["worth"])

    def info(self, role: str, view: WorldView) -> dict[str, Any]:
        memory = view.memory
        return {"did": memory["did"], "actions": memory["actions"], "steps_broken": memory["broken"]}
