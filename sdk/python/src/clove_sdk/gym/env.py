"""One agent in one world, as Gymnasium has it."""

from __future__ import annotations

from typing import Any

import gymnasium

from .episode import WORLD_SEEDS, Episodes
from .task import WorldTask
from .view import WorldView


class CloveEnv(gymnasium.Env[Any, Any]):
    """A `gymnasium.Env` over a task for one role, with the kernel at `socket_path`, else the one `CloveClient` finds.

    Every episode is in a fresh world, whose seed is drawn from the environment's generator: ``reset(seed=…)`` repeats
    the same sequence of episodes. ``reset(options={"world_seed": n})`` says which world it is to be.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(
        self,
        task: WorldTask,
        *,
        socket_path: str | None = None,
        kept_worlds: int = 4,
        render_mode: str | None = None,
    ) -> None:
        if len(task.roles) != 1:
            raise ValueError(f"{task.name} has {len(task.roles)} roles: use CloveParallelEnv")
        if render_mode is not None:
            raise ValueError(f"there is no render mode {render_mode!r}: a world has no picture")
        self.render_mode = None
        self._role, role = next(iter(task.roles.items()))
        self.observation_space = role.observation_space
        self.action_space = role.action_space
        self._episodes = Episodes(task, socket_path, kept_worlds)

    @property
    def view(self) -> WorldView:
        """The world of the episode that goes on, to look at from outside."""
        return self._episodes.view

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        wanted = (options or {}).get("world_seed")
        world_seed = int(self.np_random.integers(WORLD_SEEDS)) if wanted is None else int(wanted)
        observations, infos = self._episodes.reset(world_seed)
        return observations[self._role], infos[self._role]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        made = self._episodes.step({self._role: action})
        role = self._role
        return made.observations[role], made.rewards[role], made.terminated, made.truncated, made.infos[role]

    def close(self) -> None:
        self._episodes.close()
