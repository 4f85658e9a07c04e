"""Worlds as environments of Gymnasium and PettingZoo: ``pip install 'clove-sdk[gym]'``, and a kernel that runs.

    import gymnasium, clove_sdk.gym

    env = gymnasium.make("clove/SocRespond-v0")
    observation, info = env.reset(seed=1)
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())

`CloveEnv`, `CloveVectorEnv` and `CloveParallelEnv` take any `WorldTask`; `DeclaredTask` is one made of declarations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._need import need

need("numpy")
need("gymnasium")

from .declare import DeclaredTask, Event, Feature, Request, Reward, elapsed, event, file, http, state  # noqa: E402
from .env import CloveEnv  # noqa: E402
from .envs import TASKS, SocTask, SocTeamTask, SreTask, register_envs  # noqa: E402
from .task import Role, WorldOrder, WorldTask  # noqa: E402
from .vector import CloveVectorEnv  # noqa: E402
from .view import HttpAnswer, WorldView  # noqa: E402

if TYPE_CHECKING:
    from .parallel import CloveParallelEnv

register_envs()


def __getattr__(name: str) -> Any:
    # PettingZoo is needed by those alone who have several agents.
    if name != "CloveParallelEnv":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .parallel import CloveParallelEnv

    return CloveParallelEnv


__all__ = [
    "TASKS",
    "CloveEnv",
    "CloveParallelEnv",
    "CloveVectorEnv",
    "DeclaredTask",
    "Event",
    "Feature",
    "HttpAnswer",
    "Request",
    "Reward",
    "Role",
    "SocTask",
    "SocTeamTask",
    "SreTask",
    "WorldOrder",
    "WorldTask",
    "WorldView",
    "elapsed",
    "event",
    "file",
    "http",
    "register_envs",
    "state",
]
