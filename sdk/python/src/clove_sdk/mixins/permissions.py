"""What a caller may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..models import PermissionsInfo
from ..protocol import SyscallOp


class PermissionCalls(Caller):
    @syscall
    def get_permissions(self) -> Call[PermissionsInfo]:
        """The caller's own. ``result["permissions"]`` has all of them."""
        return Call(SyscallOp.SYS_GET_PERMS, {}, _permissions)

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
