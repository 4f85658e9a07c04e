"""Pieces of work: left by one, taken by another, kept by the kernel until they are done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..models import Task, TaskListResult, TaskResult
from ..protocol import SyscallOp
from .agents import milliseconds


class TaskCalls(Caller):
    @syscall
    def create_task(
        self,
        kind: str = "",
        payload: Any = None,
        *,
        title: str = "",
        priority: int = 0,
        depends_on: Sequence[int] | None = None,
        lease: float | None = None,
        max_attempts: int | None = None,
        timeout: float | None = None,
        assignee: int | str | None = None,
    ) -> Call[TaskResult]:
        """Leaves a piece of work for whoever takes it, or for `assignee` (id or name). Durable when it returns.

        Whoever takes it has `lease` seconds (default 60) before it goes to the next; it expires after `timeout`
        seconds. `depends_on`: tasks that must be completed before.
        """
        request = {
            "kind": kind,
            "payload": payload,
            "title": title,
            "priority": priority,
            **without_none(
                depends_on=None if depends_on is None else list(depends_on),
                lease_ms=None if lease is None else milliseconds(lease),
                max_attempts=max_attempts,
                timeout_ms=None if timeout is None else milliseconds(timeout),
                assignee=assignee,
            ),
        }
        return Call(SyscallOp.SYS_TASK_CREATE, request, _task_result)

    @syscall
    def take_task(
        self,
        kinds: Sequence[str] | None = None,
        *,
        timeout: float | None = 0.0,
        lease: float | None = None,
    ) -> Call[TaskResult]:
        """Takes the next task; `task` is None when there is none, or none came within `timeout` seconds.

        None waits without limit. It is the caller's for its lease; tell its end with `complete_task`.
        """
        waits = timeout is None or timeout > 0
        request = {
            **({"wait": True} if waits else {}),
            **without_none(
                kinds=None if kinds is None else list(kinds),
                lease_ms=None if lease is None else milliseconds(lease),
                timeout_ms=milliseconds(timeout) if waits and timeout is not None else None,
            ),
        }
        return Call(SyscallOp.SYS_TASK_ASSIGN, request, _task_result, extra_time=timeout, long=waits)

    @syscall
    def assign_task(
        self, task_id: int, assignee: int | str | None = None, *, lease: float | None = None
    ) -> Call[TaskResult]:
        """Gives a task of one's own to somebody, by id or name; without `assignee` to the caller, and whoever
        works on it gets more time."""
        request = {
            "task_id": task_id,
            **without_none(assignee=assignee, lease_ms=None if lease is None else milliseconds(lease)),
        }
        return Call(SyscallOp.SYS_TASK_ASSIGN, request, _task_result)

    @syscall
    def task_status(self, task_id: int) -> Call[TaskResult]:
        """A task that the caller has made or works on."""
        return Call(SyscallOp.SYS_TASK_STATUS, {"task_id": task_id}, _task_result)

    @syscall
    def complete_task(
        self,
        task_id: int,
        result: Any = None,
        *,
        error: str | None = None,
        retry: bool = True,
        attempt: int | None = None,
    ) -> Call[TaskResult]:
        """Tells how a task ended; the same once more changes nothing.

        With an `error` it goes to the next worker, while attempts are left and unless `retry` is False. `attempt`:
        `attempts` of the task as it was taken; refused if it is another's by now.
        """
        request = {
            "task_id": task_id,
            "retry": retry,
            **({} if error is not None else {"result": result}),
            **without_none(error=error, attempt=attempt),
        }
        return Call(SyscallOp.SYS_TASK_COMPLETE, request, _task_result)

    @syscall
    def list_tasks(
        self, state: str | None = None, kind: str | None = None, *, after: int = 0, limit: int = 100
    ) -> Call[TaskListResult]:
        """Tasks that the caller has made or works on, in the order of their ids, those behind `after`."""

        def parse(answer: Answer) -> TaskListResult:
            tasks = [_task(each) for each in answer.parts("tasks")]
            return answer.make(
                TaskListResult,
                success=answer.success,
                tasks=tasks,
                count=answer.integer("count", default=len(tasks)),
                more=answer.flag("more"),
                error=answer.error,
            )

        request = {"after": after, "limit": limit, **without_none(state=state, kind=kind)}
        return Call(SyscallOp.SYS_TASK_LIST, request, parse)


def _task_result(answer: Answer) -> TaskResult:
    has_task = answer.any("task") is not None
    task = _task(answer.part("task")) if has_task else None
    return answer.make(
        TaskResult,
        success=answer.success,
        task=task,
        task_id=answer.maybe_integer("task_id") if task is None else task.task_id,
        assigned=answer.flag("assigned"),
        completed=answer.flag("completed"),
        already=answer.flag("already"),
        error=answer.error,
    )


def _task(answer: Answer) -> Task:
    return answer.make(
        Task,
        task_id=answer.integer("task_id"),
        state=answer.text("state"),
        kind=answer.text("kind"),
        title=answer.text("title"),
        payload=answer.any("payload"),
        creator=answer.integer("creator"),
        assignee=answer.maybe_integer("assignee"),
        attempts=answer.integer("attempts"),
        max_attempts=answer.integer("max_attempts"),
        priority=answer.integer("priority"),
        depends_on=answer.array("depends_on"),
        lease_until=_seconds(answer.maybe_number("lease_until_ms")),
        deadline=_seconds(answer.maybe_number("deadline_ms")),
        result=answer.any("result"),
        error=answer.error,
    )


def _seconds(milliseconds_: float | None) -> float | None:
    return None if milliseconds_ is None else milliseconds_ / 1000
