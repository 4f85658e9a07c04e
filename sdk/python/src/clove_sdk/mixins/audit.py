"""The kernel's record of decisions."""

from __future__ import annotations

from collections.abc import Sequence

from .._answer import Answer, epoch_seconds
from .._calls import Call, Caller, syscall, without_none
from ..models import AuditConfigResult, AuditEntry, AuditLogResult, AuditRecords, AuditVerification
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

    @syscall
    def audit_query(
        self,
        categories: Sequence[str] | None = None,
        agent_id: int | None = None,
        *,
        event_types: Sequence[str] | None = None,
        syscall: str | None = None,
        decision: str | None = None,
        outcome: str | None = None,
        since_seq: int | None = None,
        before_seq: int | None = None,
        from_time: str | None = None,
        to_time: str | None = None,
        limit: int | None = None,
        end: str | None = None,
    ) -> Call[AuditRecords]:
        """Whole records that match, with their hashes. `decision`: allow or deny. `from_time` and `to_time` (excluding)
        as ``2026-01-31T12:00:00.000Z``. ``end="oldest"`` with `since_seq` reads on."""
        request = without_none(
            categories=None if categories is None else list(categories),
            agent_id=agent_id,
            event_types=None if event_types is None else list(event_types),
            syscall=syscall,
            decision=decision,
            outcome=outcome,
            since_seq=since_seq,
            before_seq=before_seq,
            to=to_time,
            limit=limit,
            end=end,
            **{"from": from_time},
        )

        def parse(answer: Answer) -> AuditRecords:
            entries = answer.array("entries")
            return answer.make(
                AuditRecords,
                success=answer.success,
                entries=entries,
                count=answer.integer("count", default=len(entries)),
                more=answer.flag("more"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_AUDIT_QUERY, request, parse)

    @syscall
    def audit_verify(self) -> Call[AuditVerification]:
        """Checks every record of the log against its hash and its neighbours."""

        def parse(answer: Answer) -> AuditVerification:
            return answer.make(
                AuditVerification,
                success=answer.success,
                ok=answer.flag("ok"),
                records=answer.integer("records"),
                first_bad_seq=answer.maybe_integer("first_bad_seq"),
                problems=answer.array("problems"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_AUDIT_VERIFY, {}, parse)


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
