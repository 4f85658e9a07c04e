"""Tasks as declarations: sources with bounds are seen, requests are made, weighted sources say what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Space

from .task import Role, WorldOrder, WorldTask
from .view import WorldView

#: A number, a truth value, or a list of them; None = it cannot be had now.
Source: TypeAlias = Callable[[WorldView], Any]

_MISSING = object()


def http(url: str, at: str = "", *, equals: Any = _MISSING) -> Source:
    """A value of the JSON that a service answers. `at` leads there: ``"deployments.0.version"``; a ``#`` counts.

    `equals`: whether the value is that one, in place of the value.
    """

    def source(view: WorldView) -> Any:
        value = view.get(url)
        for step in filter(None, at.split(".")):
            if step == "#":
                value = len(value) if isinstance(value, list | dict | str) else None
            elif isinstance(value, list):
                value = value[int(step)] if step.isdigit() and int(step) < len(value) else None
            else:
                value = value.get(step) if isinstance(value, dict) else None
        return value if equals is _MISSING or value is None else value == equals

    return source


def file(path: str, *, count: str | None = None) -> Source:
    """The number in a file of the world, or how often `count` is in it."""

    def source(view: WorldView) -> Any:
        text = view.read(path)
        if text is None:
            return None
        if count is not None:
            return text.count(count)
        try:
            return float(text)
        except ValueError:
            return None

    return source


def state(key: str) -> Source:
    """A key that all in the world share."""
    return lambda view: view.state(key)


def event(kind: str) -> Source:
    """Whether an event of this kind goes on in the world, such as ``latency_spike``."""
    return lambda view: kind in view.active_events()


def elapsed(view: WorldView) -> float:
    """How much of the episode's world time has passed: 0 to 1."""
    return min(1.0, view.now_ms / view.horizon_ms)


@dataclass(frozen=True)
class Feature:
    """One part of an observation: `size` numbers, cut to the bounds. What cannot be had is `missing`."""

    source: Source
    low: float = 0.0
    high: float = 1.0
    size: int = 1
    #: Default: `low`.
    missing: float | None = None
    #: By how much it has grown since the last step, in place of what it is.
    delta: bool = False


@dataclass(frozen=True)
class Reward:
    """`weight` times the source; with `delta`, times what it has grown by. Nothing where it cannot be had."""

    source: Source
    weight: float
    delta: bool = False


@dataclass(frozen=True)
class Request:
    """A request into the world's network, with `body` as JSON."""

    method: str
    url: str
    body: Any = None


@dataclass(frozen=True)
class Event:
    """Something that happens in the world, as by an operator's hand."""

    kind: str
    params: Mapping[str, Any] = field(default_factory=dict)


Deed: TypeAlias = Request | Event | Callable[[WorldView], None]


class DeclaredTask(WorldTask):
    """A task for one agent: a dictionary of features to see, and one of the named actions to choose in every step.

    `world` is a name of the catalogue, or a function of the seed. `step_s` and `horizon_s` are seconds of world time.
    `costs`: of actions, by name, whatever comes of them. `ends`: whether the episode is over before its time.
    """

    def __init__(
        self,
        name: str,
        world: str | Callable[[int], WorldOrder],
        *,
        step_s: float,
        horizon_s: float,
        sees: Mapping[str, Feature],
        actions: Mapping[str, Sequence[Deed]],
        rewards: Mapping[str, Reward],
        costs: Mapping[str, float] | None = None,
        ends: Callable[[WorldView], bool] | None = None,
    ) -> None:
        if not actions or not sees:
            raise ValueError(f"{name}: there must be something to see and something to do")
        if step_s <= 0 or horizon_s < step_s:
            raise ValueError(f"{name}: a step takes time, and the horizon is one step away at least")
        unknown = set(costs or {}) - set(actions)
        if unknown:
            raise ValueError(f"{name}: costs of actions that there are not: {', '.join(sorted(unknown))}")
        self.name = name
        self.step_ms = round(step_s * 1000)
        self.horizon_ms = round(horizon_s * 1000)
        self.action_names = list(actions)
        self._world = world
        self._sees = dict(sees)
        self._actions = list(actions.values())
        self._rewards = dict(rewards)
        self._costs = dict(costs or {})
        self._ends = ends
        boxes: dict[str, Space[Any]] = {
            part: Box(feature.low, feature.high, (feature.size,), np.float32)
            for part, feature in sees.items()
        }
        self.roles = {"agent": Role(Dict(boxes), Discrete(len(self._actions)))}

    def world(self, seed: int) -> WorldOrder:
        return WorldOrder(template=self._world) if isinstance(self._world, str) else self._world(seed)

    def begin(self, view: WorldView, seed: int) -> None:
        view.memory.update(last={}, action=None)

    def act(self, role: str, view: WorldView, action: Any) -> None:
        view.memory["action"] = self.action_names[int(action)]
        refused: list[str] = []
        for deed in self._actions[int(action)]:
            if isinstance(deed, Request):
                answer = view.http(deed.method, deed.url, deed.body)
                if not answer.ok:
                    refused.append(f"{deed.method} {deed.url}: {answer.error or answer.status}")
            elif isinstance(deed, Event):
                view.event(deed.kind, **deed.params)
            else:
                deed(view)
        view.memory["refused"] = refused

    def look(self, view: WorldView) -> None:
        memory = view.memory
        last, now = memory["last"], {}
        seen: dict[str, Any] = {}
        for part, feature in self._sees.items():
            values = _numbers(feature.source(view), feature.size)
            now[f"sees {part}"] = values
            if feature.delta and values is not None:
                values = values - _or(last.get(f"sees {part}"), values)
            missing = feature.low if feature.missing is None else feature.missing
            filled = np.full(feature.size, missing) if values is None else values
            seen[part] = np.clip(filled, feature.low, feature.high).astype(np.float32)
        worth = {"cost": -self._costs.get(memory["action"], 0.0)}
        for part, reward in self._rewards.items():
            values = _numbers(reward.source(view), 1)
            now[f"worth {part}"] = values
            if values is None:
                worth[part] = 0.0
                continue
            before = _or(last.get(f"worth {part}"), values) if reward.delta else np.zeros(1)
            worth[part] = reward.weight * float((values - before)[0])
        # What could not be had this time is compared with what was had last.
        memory["last"] = {**last, **{part: values for part, values in now.items() if values is not None}}
        memory.update(seen=seen, worth=worth)

    def observe(self, role: str, view: WorldView) -> dict[str, Any]:
        return {part: values.copy() for part, values in view.memory["seen"].items()}

    def reward(self, role: str, view: WorldView) -> float:
        return float(sum(view.memory["worth"].values()))

    def ended(self, view: WorldView) -> bool:
        return self._ends is not None and bool(self._ends(view))

    def info(self, role: str, view: WorldView) -> dict[str, Any]:
        memory = view.memory
        return {
            "action": memory["action"] or "",
            "rewards": dict(memory["worth"]),
            "refused": list(memory.get("refused", [])),
        }


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _numbers(value: Any, size: int) -> Any:
    """An array of `size` numbers; None for anything else."""
    try:
        numbers = np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.size == size and bool(np.isfinite(numbers).all()) else None
