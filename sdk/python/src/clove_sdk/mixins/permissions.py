"""What a caller may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..models import PermissionsInfo, QuotaInfo
from ..protocol import SyscallOp


class PermissionCalls(Caller):
    @syscall
    def get_permissions(self, *, agent_id: int | None = None) -> Call[PermissionsInfo]:
        """The caller's own, or those of an agent that answers to it. ``result["permissions"]`` has all of them."""
        return Call(SyscallOp.SYS_GET_PERMS, without_none(agent_id=agent_id), _permissions)

    @syscall
    def set_permissions(
        self,
        permissions: Mapping[str, Any] | None = None,
        level: str | None = None,
        agent_id: int | None = None,
    ) -> Call[PermissionsInfo]:
        """Custom grants, or a level: unrestricted, standard, sandboxed, readonly, minimal."""
        request = without_none(
            permissions=None if permissions is None else dict(permissions), level=level, agent_id=agent_id
        )
        return Call(SyscallOp.SYS_SET_PERMS, request, _permissions)

    @syscall
    def get_quota(self, agent_id: int | None = None) -> Call[QuotaInfo]:
        """What an agent and its children together may use, and have used; default: the caller."""
        return Call(SyscallOp.SYS_GET_QUOTA, without_none(agent_id=agent_id), _quota)

    @syscall
    def set_quota(
        self, quotas: Mapping[str, float | None], agent_id: int | None = None, *, reset: bool = False
    ) -> Call[QuotaInfo]:
        """Limits: messages, state_bytes, llm_calls, llm_tokens, agents, syscalls_per_second. What is not named stays,
        None lifts a limit. `reset` begins to count anew. Beyond a limit calls fail with `Overload`."""
        request = {
            "quotas": dict(quotas),
            **without_none(agent_id=agent_id),
            **({"reset": True} if reset else {}),
        }
        return Call(SyscallOp.SYS_SET_QUOTA, request, _quota)


def _quota(answer: Answer) -> QuotaInfo:
    return answer.make(
        QuotaInfo,
        success=answer.success,
        agent_id=answer.integer("agent_id"),
        quotas=answer.object("quotas"),
        used=answer.object("used"),
        error=answer.error,
    )


def _permissions(answer: Answer) -> PermissionsInfo:
    inner = answer.part("permissions")
    return answer.make(
        PermissionsInfo,
        success=answer.success,
        level=answer.maybe_text("level") or inner.maybe_text("level"),
        paths=answer.array("paths"),
        commands=answer.array("commands"),
        domains=answer.array("domains"),
        error=answer.error,
    )
