"""Many worlds in one kernel, stepped together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from .env import CloveEnv
from .task import WorldTask

#: More threads than that make no step faster: one kernel answers them all.
MAX_THREADS = 8


class CloveVectorEnv(VectorEnv[Any, Any, NDArray[Any]]):
    """`num_envs` worlds of one task in one kernel: a thread waits for a world's answer while another computes.

    Autoreset is NEXT_STEP (default: the step after the end resets and ignores the action) or DISABLED (whoever steps
    also resets, with ``options={"reset_mask": …}`` for some of them).
    """

    def __init__(
        self,
        task: WorldTask | Callable[[], WorldTask],
        num_envs: int,
        *,
        socket_path: str | None = None,
        kept_worlds: int = 4,
        threads: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        if num_envs < 1:
            raise ValueError(f"there must be one world at least, not {num_envs}")
        mode = AutoresetMode(autoreset_mode) if isinstance(autoreset_mode, str) else autoreset_mode
        if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
            raise ValueError(f"autoreset is NextStep or Disabled, not {mode.value}")
        made = task if isinstance(task, WorldTask) else task()
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.metadata = {**CloveEnv.metadata, "autoreset_mode": mode}
        self._mode = mode
        self.envs = [
            CloveEnv(made, socket_path=socket_path, kept_worlds=kept_worlds, render_mode=render_mode)
            for _ in range(num_envs)
        ]
        self.single_observation_space = self.envs[0].observation_space
        self.single_action_space = self.envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._pool = ThreadPoolExecutor(min(num_envs, threads or MAX_THREADS), thread_name_prefix="clove-gym")
        self._observations: list[Any] = [None] * num_envs
        self._is_done: NDArray[np.bool_] = np.zeros(num_envs, dtype=np.bool_)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """As `CloveEnv.reset` for each; an int is the seed of the first, one more for each that follows."""
        given = dict(options or {})
        mask = given.pop("reset_mask", None)
        chosen = np.ones(self.num_envs, dtype=np.bool_) if mask is None else _checked(mask, self.num_envs)
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        elif isinstance(seed, int | np.integer):
            seeds = [int(seed) + index for index in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} worlds")

        def begin(index: int) -> dict[str, Any] | None:
            if not chosen[index]:
                return None
            self._observations[index], info = self.envs[index].reset(seed=seeds[index], options=given or None)
            return info

        infos: dict[str, Any] = {}
        for index, info in enumerate(self._pool.map(begin, range(self.num_envs))):
            if info is not None:
                infos = self._add_info(infos, info, index)
        self._is_done[chosen] = False
        return self._batch(), infos

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        given = list(iterate(self.action_space, actions))

        def one(index: int) -> dict[str, Any]:
            env = self.envs[index]
            if self._is_done[index]:
                if self._mode is AutoresetMode.DISABLED:
                    raise RuntimeError(f"the episode of world {index} is over: reset it with a reset_mask")
                self._observations[index], info = env.reset()
                return info
            made = env.step(given[index])
            self._observations[index], rewards[index], terminations[index], truncations[index], info = made
            return info

        infos: dict[str, Any] = {}
        for index, info in enumerate(self._pool.map(one, range(self.num_envs))):
            infos = self._add_info(infos, info, index)
        self._is_done = np.logical_or(terminations, truncations)
        return self._batch(), rewards, terminations, truncations, infos

    def close_extras(self, **kwargs: Any) -> None:
        self._pool.shutdown(wait=True)
        for env in self.envs:
            env.close()

    def _batch(self) -> Any:
        # Anew for every answer: whoever keeps one finds it unchanged.
        empty: Any = create_empty_array(self.single_observation_space, self.num_envs)
        return concatenate(self.single_observation_space, self._observations, empty)


def _checked(mask: Any, count: int) -> NDArray[np.bool_]:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (count,) or not mask.any():
        raise ValueError(f"reset_mask must be an array of {count} booleans with one at least that is true")
    return mask
