"""Several agents in one world, as PettingZoo has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Space

from ._need import need
from .episode import WORLD_SEEDS, Episodes
from .task import WorldTask
from .view import WorldView

need("pettingzoo")
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]  # noqa: E402 - once it is known to be there


class CloveParallelEnv(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """A `pettingzoo.ParallelEnv`: each role of a task is an agent with a connection and a name of its own.

    Within a step agents act in the order of the roles; then time passes for all. They live as long as the episode.
    """

    def __init__(self, task: WorldTask, *, socket_path: str | None = None, kept_worlds: int = 4) -> None:
        self.metadata = {"name": task.name, "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.possible_agents = list(task.roles)
        self.agents: list[str] = []
        self.observation_spaces = {name: role.observation_space for name, role in task.roles.items()}
        self.action_spaces = {name: role.action_space for name, role in task.roles.items()}
        self._episodes = Episodes(task, socket_path, kept_worlds)
        self._random = np.random.default_rng()

    @property
    def view(self) -> WorldView:
        """The world of the episode that goes on, to look at from outside."""
        return self._episodes.view

    def observation_space(self, agent: str) -> Space[Any]:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space[Any]:
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """As `CloveEnv.reset`."""
        if seed is not None:
            self._random = np.random.default_rng(seed)
        wanted = (options or {}).get("world_seed")
        world_seed = int(self._random.integers(WORLD_SEEDS)) if wanted is None else int(wanted)
        observations, infos = self._episodes.reset(world_seed)
        self.agents = list(self.possible_agents)
        return observations, infos

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        for agent, action in actions.items():
            if not self.action_spaces[agent].contains(action):
                raise ValueError(f"{agent}: {action!r} is not in {self.action_spaces[agent]}")
        made = self._episodes.step(actions)
        acting = self.agents
        if made.terminated or made.truncated:
            self.agents = []
        return (
            made.observations,
            made.rewards,
            dict.fromkeys(acting, made.terminated),
            dict.fromkeys(acting, made.truncated),
            made.infos,
        )

    def render(self) -> None:
        return None

    def close(self) -> None:
        self._episodes.close()
