"""Worlds: simulated files, network and faults for the agents that join one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._answer import Answer, epoch_seconds
from .._calls import Call, Caller, syscall, without_none
from ..models import (
    OperationResult,
    WorldCreateResult,
    WorldInfo,
    WorldListResult,
    WorldSnapshot,
    WorldState,
)
from ..protocol import SyscallOp


class WorldCalls(Caller):
    @syscall
    def world_create(
        self,
        name: str,
        config: Mapping[str, Any] | None = None,
        *,
        template: str | None = None,
        seed: int | None = None,
        path: str | None = None,
    ) -> Call[WorldCreateResult]:
        """Makes a world. `config` is a definition, laid over `template` (a world of the catalogue) or the definition in
        the file `path` of the kernel's host. `seed` is in place of the definition's."""
        more = without_none(template=template, seed=seed, path=path)
        request = {"name": name, "config": dict(config or {}), **more}
        return Call(SyscallOp.SYS_WORLD_CREATE, request, _created)

    @syscall
    def world_destroy(self, world_id: str, force: bool = False) -> Call[OperationResult]:
        """`force`: also with agents in it."""
        return Call(SyscallOp.SYS_WORLD_DESTROY, {"world_id": world_id, "force": force}, operation)

    @syscall
    def world_list(self) -> Call[WorldListResult]:
        """All worlds."""

        def parse(answer: Answer) -> WorldListResult:
            worlds = [_world_info(each) for each in answer.parts("worlds")]
            return answer.make(
                WorldListResult,
                success=answer.success,
                worlds=worlds,
                count=answer.integer("count", default=len(worlds)),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_WORLD_LIST, {}, parse)

    @syscall
    def world_join(self, world_id: str) -> Call[OperationResult]:
        """The caller's files and network are the world's from now on."""

        def parse(answer: Answer) -> OperationResult:
            if answer.success:
                self._session.world = world_id
            return operation(answer)

        return Call(SyscallOp.SYS_WORLD_JOIN, {"world_id": world_id}, parse)

    @syscall
    def world_leave(self) -> Call[OperationResult]:
        """Back to the caller's own."""

        def parse(answer: Answer) -> OperationResult:
            if answer.success:
                self._session.world = None
            return operation(answer)

        return Call(SyscallOp.SYS_WORLD_LEAVE, {}, parse)

    @syscall
    def world_event(
        self, world_id: str, event_type: str, params: Mapping[str, Any] | None = None
    ) -> Call[OperationResult]:
        """Injects a fault, such as disk_full or network_partition."""
        request = {"world_id": world_id, "event_type": event_type, "params": dict(params or {})}
        return Call(SyscallOp.SYS_WORLD_EVENT, request, operation)

    @syscall
    def world_state(self, world_id: str) -> Call[WorldState]:
        """What goes on in a world. ``result["state"]`` has more than the attributes."""

        def parse(answer: Answer) -> WorldState:
            state = answer.part("state")
            chaos = state.part("chaos_metrics")
            groups = ("vfs_metrics", "network_metrics", "chaos_metrics")
            return answer.make(
                WorldState,
                success=answer.success,
                id=answer.text("id", default=state.text("world_id")),
                name=answer.text("name", default=state.text("name")),
                agents=answer.array("agents") or state.array("agents"),
                metrics=answer.object("metrics")
                or {name: state.object(name) for name in groups if state.has(name)},
                chaos_events_injected=answer.integer(
                    "chaos_events_injected", default=chaos.integer("failures_injected")
                ),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_WORLD_STATE, {"world_id": world_id}, parse)

    @syscall
    def world_snapshot(self, world_id: str, path: str | None = None) -> Call[WorldSnapshot]:
        """A world as data, for `world_restore`; with `path` into a file of the kernel's host."""

        def parse(answer: Answer) -> WorldSnapshot:
            data = answer.object("snapshot_data", "snapshot")
            return answer.make(
                WorldSnapshot,
                success=answer.success,
                snapshot_id=answer.maybe_text("snapshot_id"),
                snapshot_data=data or None,
                error=answer.error,
            )

        request = {"world_id": world_id, **without_none(path=path)}
        return Call(SyscallOp.SYS_WORLD_SNAPSHOT, request, parse)

    @syscall
    def world_restore(
        self,
        snapshot: Mapping[str, Any],
        new_world_id: str | None = None,
        *,
        agents: bool | None = None,
        agents_env: Mapping[str, str] | None = None,
    ) -> Call[WorldCreateResult]:
        """Makes a world from a snapshot: its data, or the whole result of `world_snapshot`.

        `agents`: they are started again, with the state they left; `agents_env`: values of secret variables of theirs.
        """
        inner = snapshot.get("snapshot") or snapshot.get("snapshot_data")
        data = inner if isinstance(inner, dict) else snapshot
        request = {
            "snapshot": dict(data),
            **without_none(new_world_id=new_world_id, agents=agents, agents_env=agents_env),
        }
        return Call(SyscallOp.SYS_WORLD_RESTORE, request, _created)

    @syscall
    def world_diff(self, world_id: str) -> Call[OperationResult]:
        """What has become of its files since it was made: ``result.data["changes"]``."""
        return Call(SyscallOp.SYS_WORLD_DIFF, {"world_id": world_id}, operation)

    @syscall
    def world_branch(self, world_id: str, count: int = 1) -> Call[OperationResult]:
        """Worlds that begin as this one is now: ``result.data["world_ids"]``."""
        return Call(SyscallOp.SYS_WORLD_BRANCH, {"world_id": world_id, "count": count}, operation)

    @syscall
    def world_advance(self, world_id: str, ms: float) -> Call[OperationResult]:
        """Moves its clock; ``result.data["monotonic_ms"]`` is the time since its start."""
        return Call(SyscallOp.SYS_WORLD_ADVANCE, {"world_id": world_id, "ms": ms}, operation)

    @syscall
    def world_wait(self, ms: float | None = None, until_ms: float | None = None) -> Call[OperationResult]:
        """Waits on the clock of the world the caller is in: so long, or until so many ms after the world's start."""
        request = without_none(ms=ms, until_ms=until_ms)
        return Call(SyscallOp.SYS_WORLD_WAIT, request, operation, extra_time=None, long=True)

    @syscall
    def world_checkpoint(
        self,
        state: Any = ...,
        checkpoint_id: int | None = None,
        wait: bool = False,
        offer: bool | None = None,
    ) -> Call[OperationResult]:
        """Leaves what this agent wants to come back with when its world is restored, as JSON.

        `checkpoint_id`: the question of a snapshot that the state answers; `wait`: until one asks;
        `offer`: whether snapshots are to ask. ``result.data["restored"]``
        is what the agent itself came back with. Mostly `on_checkpoint` and `restored_state` are what one wants.
        """
        request = {
            **({} if state is ... else {"state": state}),
            **without_none(checkpoint_id=checkpoint_id, wait=wait or None, offer=offer),
        }
        return Call(SyscallOp.SYS_WORLD_CHECKPOINT, request, operation, extra_time=None, long=True)


def operation(answer: Answer) -> OperationResult:
    kept = {
        name: value
        for name, value in answer.fields.items()
        if name not in ("success", "error", "code", "hint")
    }
    return answer.make(OperationResult, success=answer.success, error=answer.error, data=kept or None)


def _created(answer: Answer) -> WorldCreateResult:
    return answer.make(
        WorldCreateResult,
        success=answer.success,
        world_id=answer.maybe_text("world_id"),
        error=answer.error,
    )


def _world_info(answer: Answer) -> WorldInfo:
    return answer.make(
        WorldInfo,
        id=answer.text("id", "world_id"),
        name=answer.text("name"),
        agent_count=answer.integer("agent_count"),
        created_at=epoch_seconds(answer.any("created_at")),
    )
