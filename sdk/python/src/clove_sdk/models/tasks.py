"""Results about pieces of work, new code of agents, and the groups they are kept in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .base import Result


@dataclass
class Task(Result):
    """A piece of work as the kernel keeps it."""

    task_id: int
    #: pending, assigned, completed, failed or expired.
    state: str
    #: What workers choose by.
    kind: str = ""
    title: str = ""
    payload: Any = None
    creator: int = 0
    #: Who works on it, or did last.
    assignee: int | None = None
    #: How often it was given to somebody.
    attempts: int = 0
    max_attempts: int = 0
    priority: int = 0
    depends_on: list[int] = field(default_factory=list)
    #: Seconds since the epoch; None = nobody has it.
    lease_until: float | None = None
    #: Seconds since the epoch; None = it never expires.
    deadline: float | None = None
    result: Any = None
    error: str | None = None


@dataclass
class TaskResult(Result):
    success: bool
    #: None where there was none to take.
    task: Task | None = None
    task_id: int | None = None
    #: TASK_ASSIGN: somebody has it now.
    assigned: bool = False
    #: TASK_COMPLETE: it is done; it had been told before.
    completed: bool = False
    already: bool = False
    error: str | None = None


@dataclass
class TaskListResult(Result):
    success: bool
    tasks: list[Task] = field(default_factory=list)
    count: int = 0
    #: There are others behind the last one: ask again with `after`.
    more: bool = False
    error: str | None = None


@dataclass
class ReloadResult(Result):
    success: bool
    agent_id: int | None = None
    #: The new code runs. Where not, the old code runs again, and `reason` says why.
    reloaded: bool = False
    rolled_back: bool = False
    reason: str | None = None
    pid: int | None = None
    #: Last output of code that did not come up. Untrusted text.
    log_tail: str = ""
    error: str | None = None


@dataclass
class GroupInfo(Result):
    """A group of a supervision tree."""

    name: str
    #: None = it is a tree of its own.
    parent: str | None = None
    #: one_for_one, one_for_all or rest_for_one.
    strategy: str = "one_for_one"
    #: Place in its parent.
    order: int = 0
    max_restarts: int = 0
    #: Seconds, as the next two.
    restart_window: float = 0.0
    restart_backoff: float = 0.0
    restart_backoff_max: float = 0.0
    #: Its members were given up, and none came after that.
    failed: bool = False
    #: Ids, of itself and of the groups below it.
    agents: list[int] = field(default_factory=list)
