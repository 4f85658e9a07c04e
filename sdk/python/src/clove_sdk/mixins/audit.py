"""The kernel's record of decisions."""

from __future__ import annotations

from .._answer import Answer, epoch_seconds
from .._calls import Call, Caller, syscall, without_none
from ..models import AuditConfigResult, AuditEntry, AuditLogResult
from ..protocol import SyscallOp


class AuditCalls(Caller):
    @syscall
    def get_audit_log(
        self, category: str | None = None, agent_id: int | None = None, since_id: int = 0, limit: int = 100
    ) -> Call[AuditLogResult]:
        """The newest `limit` entries with an id above `since_id`, oldest first."""
        request = {**without_none(category=category, agent_id=agent_id), "since_id": since_id, "limit": limit}

        def parse(answer: Answer) -> AuditLogResult:
            entries = [_entry(each) for each in answer.parts("entries")]
            return answer.make(
                AuditLogResult,
                success=answer.success,
                entries=entries,
                count=answer.integer("count", default=len(entries)),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_GET_AUDIT_LOG, request, parse)

    @syscall
    def set_audit_config(
        self,
        max_entries: int | None = None,
        log_syscalls: bool | None = None,
        log_security: bool | None = None,
        log_lifecycle: bool | None = None,
        log_ipc: bool | None = None,
        log_state: bool | None = None,
        log_resource: bool | None = None,
        log_network: bool | None = None,
        log_world: bool | None = None,
    ) -> Call[AuditConfigResult]:
        """Changes what is recorded; what is not given stays."""
        request = without_none(
            max_entries=max_entries,
            log_syscalls=log_syscalls,
            log_security=log_security,
            log_lifecycle=log_lifecycle,
            log_ipc=log_ipc,
            log_state=log_state,
            log_resource=log_resource,
            log_network=log_network,
            log_world=log_world,
        )

        def parse(answer: Answer) -> AuditConfigResult:
            return answer.make(
                AuditConfigResult,
                success=answer.success,
                config=answer.object("config"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_SET_AUDIT_CONFIG, request, parse)


def _entry(answer: Answer) -> AuditEntry:
    return answer.make(
        AuditEntry,
        id=answer.integer("id"),
        timestamp=epoch_seconds(answer.any("timestamp")),
        category=answer.text("category"),
        agent_id=answer.maybe_integer("agent_id"),
        action=answer.text("action", "event_type"),
        details=answer.object("details"),
    )
