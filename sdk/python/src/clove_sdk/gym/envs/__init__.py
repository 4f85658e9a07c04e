"""Environments that are ready, and their names in Gymnasium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium

from ..env import CloveEnv
from ..task import WorldTask
from ..vector import CloveVectorEnv
from .soc import SocTask, SocTeamTask
from .sre import SreTask

#: By id.
TASKS: dict[str, Callable[..., WorldTask]] = {
    "clove/SocRespond-v0": SocTask,
    "clove/SreOutage-v0": SreTask,
}


def register_envs() -> None:
    """Makes them known to ``gymnasium.make`` and ``make_vec``; importing `clove_sdk.gym` does so by itself."""
    for name in TASKS:
        if name not in gymnasium.registry:
            gymnasium.register(
                name,
                entry_point=f"{__name__}:make_env",
                vector_entry_point=f"{__name__}:make_vector_env",
                kwargs={"task_name": name},
            )


def make_env(
    task_name: str,
    *,
    socket_path: str | None = None,
    kept_worlds: int = 4,
    render_mode: str | None = None,
    **options: Any,
) -> CloveEnv:
    return CloveEnv(
        TASKS[task_name](**options), socket_path=socket_path, kept_worlds=kept_worlds, render_mode=render_mode
    )


def make_vector_env(
    task_name: str,
    num_envs: int = 1,
    *,
    socket_path: str | None = None,
    kept_worlds: int = 4,
    threads: int | None = None,
    render_mode: str | None = None,
    **options: Any,
) -> CloveVectorEnv:
    return CloveVectorEnv(
        TASKS[task_name](**options),
        num_envs,
        socket_path=socket_path,
        kept_worlds=kept_worlds,
        threads=threads,
        render_mode=render_mode,
    )


__all__ = ["TASKS", "SocTask", "SocTeamTask", "SreTask", "make_env", "make_vector_env", "register_envs"]
