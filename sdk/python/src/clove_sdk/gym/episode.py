"""Episodes of a task: worlds made, branched, lived through and ended, whichever interface asks for it."""

from __future__ import annotations

import secrets
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..client import CloveClient, connect
from ..exceptions import CloveError
from .task import WorldTask
from .view import WorldView

#: Seeds of worlds are below.
WORLD_SEEDS = 2**31


@dataclass(frozen=True)
class StepOutcome:
    observations: dict[str, Any]
    rewards: dict[str, float]
    terminated: bool
    truncated: bool
    infos: dict[str, dict[str, Any]]


class Episodes:
    """One episode after the other, each in a world of its own, over one connection for each role.

    A seed's first world is kept as it was made when `kept_worlds` allows, and episodes of that seed begin as branches
    of it; of the kept worlds the one unused for longest goes first.
    """

    def __init__(self, task: WorldTask, socket_path: str | None, kept_worlds: int) -> None:
        if kept_worlds < 0:
            raise ValueError(f"kept_worlds cannot be negative: {kept_worlds}")
        self.task = task
        self._kept_worlds = kept_worlds
        self._socket_path = socket_path
        #: Filled by the first reset: what there is to see and do can be looked at without a kernel.
        self._clients: dict[str, CloveClient] = {}
        self._names: dict[str, str] = {}
        self._kept: OrderedDict[int, str] = OrderedDict()
        #: What ends with this object: worlds outlast the connection of the client that made them.
        self._worlds: set[str] = set()
        self._view: WorldView | None = None
        self._due_ms = 0.0
        self._steps = 0
        self._is_over = True
        self._finalizer = weakref.finalize(self, _end, self._clients, self._worlds)

    @property
    def view(self) -> WorldView:
        """Of the episode that goes on. Raises `RuntimeError` before the first reset."""
        if self._view is None:
            raise RuntimeError("there is no episode yet: call reset() first")
        return self._view

    @property
    def is_open(self) -> bool:
        return self._finalizer.alive

    def reset(self, seed: int) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Begins an episode in the world of this seed. Raises `CloveError` when the kernel refuses, `ConnectionError`
        without one."""
        if not self.is_open:
            raise RuntimeError("the environment is closed")
        for role in self.task.roles:
            if role not in self._clients:
                self._clients[role] = connect() if self._socket_path is None else connect(self._socket_path)
        self._leave()
        world_id = self._enter(seed)
        task = self.task
        view = WorldView(self._clients, self._names, world_id, seed, task.horizon_ms)
        self._view = view
        view.advance(0)
        task.begin(view, seed)
        task.look(view)
        self._due_ms = view.now_ms
        self._steps = 0
        self._is_over = False
        return {role: task.observe(role, view) for role in task.roles}, self._infos(view)

    def step(self, actions: Mapping[str, Any]) -> StepOutcome:
        """Each role acts, time passes, everybody looks. Raises `RuntimeError` when the episode is over."""
        view, task = self.view, self.task
        if self._is_over:
            raise RuntimeError("the episode is over: call reset()")
        view.forget()
        for role in task.roles:
            if role in actions:
                task.act(role, view, actions[role])
        self._due_ms += task.step_ms
        view.advance_to(self._due_ms)
        task.look(view)
        self._steps += 1
        terminated = task.ended(view)
        truncated = not terminated and self._due_ms >= task.horizon_ms
        self._is_over = terminated or truncated
        return StepOutcome(
            {role: task.observe(role, view) for role in task.roles},
            {role: float(task.reward(role, view)) for role in task.roles},
            terminated,
            truncated,
            self._infos(view),
        )

    def close(self) -> None:
        """Ends all worlds and connections of this object. More than once does no harm."""
        self._view = None
        self._finalizer()

    def _infos(self, view: WorldView) -> dict[str, dict[str, Any]]:
        return {
            role: {
                "world_seed": view.seed,
                "world_ms": view.now_ms,
                "steps": self._steps,
                "unavailable": list(view.failures),
                **self.task.info(role, view),
            }
            for role in self.task.roles
        }

    @property
    def _operator(self) -> CloveClient:
        return next(iter(self._clients.values()))

    def _enter(self, seed: int) -> str:
        kept = self._kept.get(seed)
        if kept is None:
            made = self._make(seed)
            if self._kept_worlds == 0:
                return self._join(made)
            while len(self._kept) >= self._kept_worlds:
                self._destroy(self._kept.popitem(last=False)[1])
            self._kept[seed] = kept = made
        self._kept.move_to_end(seed)
        answer = self._operator.world_branch(kept)
        answer.raise_for_error()
        world_id = str((answer.data or {})["world_ids"][0])
        self._worlds.add(world_id)
        return self._join(world_id)

    def _make(self, seed: int) -> str:
        order = self.task.world(seed)
        config = {"name": self.task.name, **order.config}
        clock = config.get("clock", {})
        config["clock"] = {**(clock if isinstance(clock, Mapping) else {}), "mode": "step"}
        answer = self._operator.world_create(self.task.name, config, template=order.template, seed=seed)
        answer.raise_for_error()
        if answer.world_id is None:
            raise CloveError("the kernel made a world without an id")
        self._worlds.add(answer.world_id)
        return answer.world_id

    def _join(self, world_id: str) -> str:
        for role, client in self._clients.items():
            if role not in self._names:
                # Services know who asks by name, and in one kernel a name is held by one connection.
                name = f"{role}-{secrets.token_hex(6)}"
                client.register_name(name).raise_for_error()
                self._names[role] = name
            client.world_join(world_id).raise_for_error()
        return world_id

    def _leave(self) -> None:
        if self._view is None:
            return
        world_id, self._view = self._view.world_id, None
        self._destroy(world_id)

    def _destroy(self, world_id: str) -> None:
        self._worlds.discard(world_id)
        self._operator.world_destroy(world_id, force=True).raise_for_error()


def _end(clients: Mapping[str, CloveClient], worlds: set[str]) -> None:
    try:
        operator = next(iter(clients.values()), None)
        if operator is not None and operator.connected:
            for world_id in worlds:
                operator.world_destroy(world_id, force=True)
    except CloveError:
        pass  # The kernel is gone, and its worlds with it.
    finally:
        worlds.clear()
        for client in clients.values():
            client.disconnect()
