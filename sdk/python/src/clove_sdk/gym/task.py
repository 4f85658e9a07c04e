"""What is to be learnt in a world: which world, what is seen of it, what can be done there, and what that is worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gymnasium.spaces import Space

from .view import WorldView


@dataclass(frozen=True)
class WorldOrder:
    """A world to be made: `config` is a definition, laid over `template`, a world of the catalogue."""

    template: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Role:
    """One who acts: what it sees and what it may do."""

    observation_space: Space[Any]
    action_space: Space[Any]


class WorldTask(ABC):
    """A task in a world, for one or several roles. It has no state: what an episode remembers is in ``view.memory``.

    The world's clock is moved by hand (mode ``step``): time passes by steps, and by what requests take.
    """

    #: Of the world that is made: letters, digits and dashes.
    name: str
    #: World time of one step.
    step_ms: int
    #: World time after which an episode is truncated.
    horizon_ms: int
    #: By name, in the order in which they act.
    roles: Mapping[str, Role]

    @abstractmethod
    def world(self, seed: int) -> WorldOrder:
        """The world of an episode. The same seed must give the same order."""

    def begin(self, view: WorldView, seed: int) -> None:  # noqa: B027 - not every task remembers something
        """Before the first observation: fills ``view.memory``."""

    @abstractmethod
    def act(self, role: str, view: WorldView, action: Any) -> None:
        """Does what a role has decided. Actions come in the order of the roles."""

    @abstractmethod
    def look(self, view: WorldView) -> None:
        """After time has passed: reads what all roles see and what it is worth, once."""

    @abstractmethod
    def observe(self, role: str, view: WorldView) -> Any:
        """An observation in the role's space."""

    @abstractmethod
    def reward(self, role: str, view: WorldView) -> float:
        """Of the step that has just been made."""

    def ended(self, view: WorldView) -> bool:
        """Whether the episode is over before its time."""
        return False

    def info(self, role: str, view: WorldView) -> dict[str, Any]:
        """More for people to look at; the same for the same seed and actions."""
        return {}
