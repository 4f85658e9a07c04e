"""Defence of a company in the world `soc-shift`: which sources attack, and what is done about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from numpy.typing import NDArray

from ..task import Role, WorldOrder, WorldTask
from ..view import WorldView

SIEM = "http://siem.corp"
FIREWALL = "http://firewall.corp/rules"
INTELLIGENCE = "http://intel.corp/ip"

#: What an event of an attack that got through costs.
HARM: Mapping[str, float] = {"low": 0.1, "medium": 0.3, "high": 0.6, "critical": 1.0}
#: For every step in which somebody innocent is locked out.
WRONG_BLOCK = 0.3
LOOKUP = 0.02
CHANGE = 0.05

#: Networks that are known to be bad. Not every attacker comes from one, and not everybody from one attacks.
KNOWN_BAD = ("185.220.101", "45.155.205", "194.26.192", "89.248.167", "141.98.10")
#: What attacks look like, step by step: (type, system, severity), and each as often as the last number says.
ATTACKS: Mapping[str, tuple[tuple[str, str, str, int], ...]] = {
    "brute force": (
        ("FAILED_LOGIN", "auth", "medium", 6),
        ("INVALID_USER", "auth", "medium", 4),
        ("BRUTE_FORCE", "auth", "critical", 8),
    ),
    "sql injection": (
        ("HTTP_ERROR", "web", "medium", 5),
        ("SLOW_QUERY", "database", "medium", 4),
        ("SQL_INJECTION", "web", "critical", 8),
    ),
    "port scan": (
        ("CONN_TIMEOUT", "firewall", "low", 6),
        ("FW_DENY", "firewall", "medium", 6),
        ("PORT_SCAN", "firewall", "high", 6),
    ),
    "exfiltration": (
        ("UNAUTH_ACCESS", "database", "high", 3),
        ("BW_SPIKE", "firewall", "medium", 4),
        ("DATA_EXFIL", "database", "critical", 6),
    ),
}
EVERYDAY = (
    ("FAILED_LOGIN", "auth", "medium"),
    ("HTTP_ERROR", "web", "medium"),
    ("SLOW_QUERY", "database", "medium"),
    ("RATE_LIMIT", "web", "medium"),
    ("CONN_TIMEOUT", "firewall", "low"),
)
SEVERITY: Mapping[str, float] = {"low": 0.25, "medium": 0.5, "high": 0.75, "critical": 1.0}
FEATURES = ("present", "events now", "events so far", "worst", "known score", "score", "blocked")

WAIT, LOOK_UP, BLOCK, UNBLOCK = range(4)


@dataclass
class Source:
    """What has been seen of an address."""

    now: int = 0
    total: int = 0
    worst: float = 0.0
    score: float | None = None
    first_at: int = 0


class SocTask(WorldTask):
    """One defender: in every step it may look one of the `slots` sources up, block it, or take the block away.

    Sources are in the order of what they did in the last step. What attackers get through costs by its severity; so
    does every step in which somebody innocent is blocked, and a little every look-up and change.
    """

    name = "gym-soc"

    def __init__(
        self, *, step_s: float = 30, horizon_s: float = 3600, attackers: int = 4, slots: int = 8
    ) -> None:
        if slots < 1 or attackers < 0:
            raise ValueError("there must be a slot at least, and no fewer than no attackers")
        self.step_ms = round(step_s * 1000)
        self.horizon_ms = round(horizon_s * 1000)
        self.attackers = attackers
        self.slots = slots
        self.roles = {
            "defender": Role(
                Dict(
                    {
                        "sources": Box(0, 1, (slots, len(FEATURES)), np.float32),
                        "time": Box(0, 1, (1,), np.float32),
                    }
                ),
                MultiDiscrete([4, slots]),
            )
        }

    def world(self, seed: int) -> WorldOrder:
        events, _ = self._plan(seed)
        schedule = [
            {
                "name": f"{event['type']} {number}",
                "at": at_ms,
                "request": {"url": f"{SIEM}/events", "method": "POST", "json": event},
            }
            for number, (at_ms, event) in enumerate(events)
        ]
        return WorldOrder(template="soc-shift", config={"schedule": schedule})

    def begin(self, view: WorldView, seed: int) -> None:
        _, attackers = self._plan(seed)
        view.memory.update(
            attackers=attackers,
            known={},
            slots=[],
            after=0,
            rules={},
            harm=0.0,
            spent=0.0,
            totals={"harm": 0.0, "wrong_steps": 0},
        )

    def act(self, role: str, view: WorldView, action: Any) -> None:
        verb, slot = int(action[0]), int(action[1])
        view.memory["spent"] = 0.0
        self.do(role, view, verb, slot)

    def do(self, role: str, view: WorldView, verb: int, slot: int) -> None:
        memory = view.memory
        if verb == WAIT or slot >= len(memory["slots"]):
            return
        ip = memory["slots"][slot]
        if verb == LOOK_UP:
            answer = view.http("GET", f"{INTELLIGENCE}/{ip}", role=role)
            memory["spent"] += LOOKUP
            if answer.ok:
                memory["known"][ip].score = float(answer.json["score"]) / 100
            else:
                view.failures.append(f"{ip} could not be looked up: {answer.error or answer.status}")
            return
        rule = memory["rules"].get(ip)
        if (verb == BLOCK) == (rule is not None):
            return
        memory["spent"] += CHANGE
        if verb == BLOCK:
            answer = view.http("POST", FIREWALL, {"ip": ip, "action": "block"}, role=role)
        else:
            answer = view.http("DELETE", f"{FIREWALL}/{rule}", role=role)
        if not answer.ok:
            view.failures.append(f"the firewall answered {answer.error or answer.status} for {ip}")

    def look(self, view: WorldView) -> None:
        memory = view.memory
        known: dict[str, Source] = memory["known"]
        for source in known.values():
            source.now = 0
        harm = 0.0
        while True:
            page = view.get(f"{SIEM}/events?after={memory['after']}")
            if page is None:
                break
            for event in page["events"]:
                memory["after"] = event["id"]
                ip = event["source_ip"]
                source = known.setdefault(ip, Source(first_at=event["id"]))
                source.now += 1
                source.total += 1
                source.worst = max(source.worst, SEVERITY[event["severity"]])
                if ip in memory["attackers"]:
                    harm += HARM[event["severity"]]
            if not page["more"]:
                break
        rules = view.get(FIREWALL)
        if rules is not None:
            memory["rules"] = {rule["ip"]: rule["id"] for rule in rules["rules"] if rule["action"] == "block"}
        wrong = sum(ip not in memory["attackers"] for ip in memory["rules"])
        memory["harm"] = harm
        memory["wrong"] = wrong
        memory["totals"]["harm"] += harm
        memory["totals"]["wrong_steps"] += wrong
        ours = ("10.", "192.168.")
        order = sorted(
            (ip for ip in known if not ip.startswith(ours)),
            key=lambda ip: (-known[ip].now, -known[ip].worst, -known[ip].total, known[ip].first_at),
        )
        memory["slots"] = order[: self.slots]

    def observe(self, role: str, view: WorldView) -> dict[str, NDArray[np.float32]]:
        return {"sources": self.table(view), "time": self.time(view)}

    def table(self, view: WorldView) -> NDArray[np.float32]:
        memory = view.memory
        rows = np.zeros((self.slots, len(FEATURES)), dtype=np.float32)
        for row, ip in enumerate(memory["slots"]):
            source: Source = memory["known"][ip]
            rows[row] = (
                1,
                min(1, source.now / 10),
                min(1, source.total / 30),
                source.worst,
                source.score is not None,
                source.score or 0,
                ip in memory["rules"],
            )
        return rows

    def time(self, view: WorldView) -> NDArray[np.float32]:
        return np.array([min(1.0, view.now_ms / view.horizon_ms)], dtype=np.float32)

    def reward(self, role: str, view: WorldView) -> float:
        memory = view.memory
        return 0.0 - float(memory["harm"] + WRONG_BLOCK * memory["wrong"] + memory["spent"])

    def info(self, role: str, view: WorldView) -> dict[str, Any]:
        memory = view.memory
        return {"sources": list(memory["slots"]), "blocked": sorted(memory["rules"]), **memory["totals"]}

    def _plan(self, seed: int) -> tuple[list[tuple[int, dict[str, Any]]], frozenset[str]]:
        """Events by their time, and who attacks."""
        random = np.random.default_rng([seed, 7])
        events: list[tuple[int, dict[str, Any]]] = []
        taken: set[str] = set()

        def address(bad: float) -> str:
            while True:
                if random.random() < bad:
                    prefix = KNOWN_BAD[random.integers(len(KNOWN_BAD))]
                else:
                    prefix = f"{random.integers(60, 100)}.{random.integers(1, 255)}.{random.integers(1, 255)}"
                ip = f"{prefix}.{random.integers(2, 251)}"
                if ip not in taken:
                    taken.add(ip)
                    return ip

        def add(at_ms: float, kind: str, system: str, severity: str, ip: str) -> None:
            event = {
                "system": system,
                "type": kind,
                "severity": severity,
                "source_ip": ip,
                "port": None,
                "user": None,
            }
            events.append((round(at_ms), event))

        kinds = list(ATTACKS)
        attackers = frozenset(address(0.7) for _ in range(self.attackers))
        for ip in sorted(attackers):
            at = random.uniform(0.03, 0.75) * self.horizon_ms
            pause = random.uniform(0.002, 0.008) * self.horizon_ms
            for kind, system, severity, times in ATTACKS[kinds[random.integers(len(kinds))]]:
                for _ in range(times):
                    add(at, kind, system, severity, ip)
                    at += pause * random.uniform(0.5, 1.5)
        customers = [address(0.05) for _ in range(10)] + [f"10.20.1.{n}" for n in range(2, 8)]
        for _ in range(round(60 * self.horizon_ms / 3_600_000)):
            kind, system, severity = EVERYDAY[random.integers(len(EVERYDAY))]
            add(
                random.uniform(0, self.horizon_ms),
                kind,
                system,
                severity,
                customers[random.integers(len(customers))],
            )
        events.sort(key=lambda event: event[0])
        return events, attackers


class SocTeamTask(SocTask):
    """Two agents with one reward: an analyst, who looks sources up and reports them, and a responder, who alone blocks.

    The responder sees no scores, only what the analyst has reported; the analyst does not see what is blocked.
    """

    name = "gym-soc-team"

    def __init__(
        self, *, step_s: float = 30, horizon_s: float = 3600, attackers: int = 4, slots: int = 8
    ) -> None:
        super().__init__(step_s=step_s, horizon_s=horizon_s, attackers=attackers, slots=slots)
        seen = Dict(
            {"sources": Box(0, 1, (slots, len(FEATURES)), np.float32), "time": Box(0, 1, (1,), np.float32)}
        )
        #: Nothing, look up, report; and which.
        analyst = MultiDiscrete([3, slots])
        #: Nothing, or one of the slots to block or to set free.
        responder = Discrete(1 + 2 * slots)
        self.roles = {"analyst": Role(seen, analyst), "responder": Role(seen, responder)}

    def begin(self, view: WorldView, seed: int) -> None:
        super().begin(view, seed)
        view.memory["reported"] = set()

    def act(self, role: str, view: WorldView, action: Any) -> None:
        memory = view.memory
        if role == "analyst":
            memory["spent"] = 0.0
            verb, slot = int(action[0]), int(action[1])
            if verb == 1:
                self.do(role, view, LOOK_UP, slot)
            elif verb == 2 and slot < len(memory["slots"]):
                self._report(view, memory["slots"][slot])
            return
        choice = int(action) - 1
        if choice >= 0:
            self.do(role, view, BLOCK if choice < self.slots else UNBLOCK, choice % self.slots)

    def observe(self, role: str, view: WorldView) -> dict[str, NDArray[np.float32]]:
        memory = view.memory
        rows = self.table(view)
        if role == "analyst":
            rows[:, FEATURES.index("blocked")] = 0
        else:
            rows[:, FEATURES.index("known score") : FEATURES.index("score") + 1] = 0
            for row, ip in enumerate(memory["slots"]):
                rows[row, FEATURES.index("score")] = ip in memory["reported"]
        return {"sources": rows, "time": self.time(view)}

    def _report(self, view: WorldView, ip: str) -> None:
        if ip in view.memory["reported"]:
            return
        view.memory["reported"].add(ip)
        view.memory["spent"] += LOOKUP
        answer = view.http(
            "POST", f"{SIEM}/alerts", {"title": f"suspicious: {ip}", "severity": "high"}, role="analyst"
        )
        if not answer.ok:
            view.failures.append(f"{ip} could not be reported: {answer.error or answer.status}")
