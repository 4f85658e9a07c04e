"""Groups of the supervision trees; agents join one by `spawn(group=…)`. Operators only."""

from __future__ import annotations

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..models import GroupInfo
from ..protocol import SyscallOp
from .agents import milliseconds


class GroupCalls(Caller):
    @syscall
    def set_group(
        self,
        name: str,
        parent: str | None = None,
        strategy: str | None = None,
        *,
        order: int | None = None,
        max_restarts: int | None = None,
        restart_window: float | None = None,
        restart_backoff: float | None = None,
        restart_backoff_max: float | None = None,
    ) -> Call[GroupInfo]:
        """Makes a group of a supervision tree, or gives one other rules; it outlives its agents and the kernel.

        `strategy` when a member fails: one_for_one (default), one_for_all or rest_for_one. More than `max_restarts` of
        its members in `restart_window` seconds and the group fails: its `parent` deals with it, or all are given up.
        Raises `PermissionDenied`, `ValidationError`, `SyscallError` when there is no such parent.
        """
        request = without_none(
            name=name,
            parent=parent,
            strategy=strategy,
            order=order,
            max_restarts=max_restarts,
            restart_window=restart_window,
            restart_backoff_ms=None if restart_backoff is None else milliseconds(restart_backoff),
            restart_backoff_max_ms=None if restart_backoff_max is None else milliseconds(restart_backoff_max),
        )

        def parse(answer: Answer) -> GroupInfo:
            return _group(Answer(answer.opcode, answer.object("group")))

        return Call(SyscallOp.SYS_GROUP_SET, request, parse, raises=True)

    @syscall
    def list_groups(self) -> Call[list[GroupInfo]]:
        """All groups of the supervision trees."""

        def parse(answer: Answer) -> list[GroupInfo]:
            return [_group(Answer(answer.opcode, each)) for each in answer.array("groups")]

        return Call(SyscallOp.SYS_GROUP_LIST, {}, parse, raises=True)

    @syscall
    def remove_group(self, name: str, *, grace: float | None = None) -> Call[list[int]]:
        """Ends all agents of a group and of those below it, those first that others do not need, and removes the
        groups. Answers when nothing is left, with the ids of the agents. `grace` between SIGTERM and SIGKILL in
        seconds; None = what each agent was started with. Raises `SyscallError` when there is no such group.
        """
        request = without_none(name=name, grace_ms=None if grace is None else milliseconds(grace))

        def parse(answer: Answer) -> list[int]:
            return [int(each) for each in answer.array("killed")]

        # Its agents end one after the other, each in its own time.
        return Call(
            SyscallOp.SYS_GROUP_REMOVE,
            request,
            parse,
            raises=True,
            extra_time=None,
            long=True,
            impersonal=True,
        )


def _group(answer: Answer) -> GroupInfo:
    return answer.make(
        GroupInfo,
        name=answer.text("name"),
        parent=answer.maybe_text("parent"),
        strategy=answer.text("strategy", default="one_for_one"),
        order=answer.integer("order"),
        max_restarts=answer.integer("max_restarts"),
        restart_window=answer.number("restart_window"),
        restart_backoff=answer.number("restart_backoff_ms") / 1000,
        restart_backoff_max=answer.number("restart_backoff_max_ms") / 1000,
        failed=answer.flag("failed"),
        agents=[int(each) for each in answer.array("agents")],
    )
