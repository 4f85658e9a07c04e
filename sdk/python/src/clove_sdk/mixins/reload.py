"""New code for an agent that keeps its id, name, mailbox and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..models import ReloadResult
from ..protocol import SyscallOp
from .agents import milliseconds, target


class ReloadCalls(Caller):
    @syscall
    def reload_agent(
        self,
        name: str | None = None,
        agent_id: int | None = None,
        *,
        script: str | None = None,
        command: Sequence[str] | None = None,
        python: str | None = None,
        args: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        drain: float | None = None,
        ready: float | None = None,
    ) -> Call[ReloadResult]:
        """Gives an agent new code: what lies at its script's path now, or what is named here.

        The old incarnation has `drain` seconds (default 5) to end; the new one is up when it has lived `ready`
        seconds (default 1). Where it does not come up, the old code runs again and `reloaded` is False.
        """
        request = {
            **target("reload_agent", name, agent_id),
            **without_none(
                script=script,
                command=None if command is None else list(command),
                python=python,
                args=None if args is None else list(args),
                env=None if env is None else dict(env),
                drain_ms=None if drain is None else milliseconds(drain),
                ready_ms=None if ready is None else milliseconds(ready),
            ),
        }

        def parse(answer: Answer) -> ReloadResult:
            return answer.make(
                ReloadResult,
                success=answer.success,
                agent_id=answer.maybe_integer("agent_id"),
                reloaded=answer.flag("reloaded"),
                rolled_back=answer.flag("rolled_back"),
                reason=answer.maybe_text("reason"),
                pid=answer.maybe_integer("pid"),
                log_tail=answer.text("log_tail"),
                error=answer.error,
            )

        waits = (5.0 if drain is None else drain) + (1.0 if ready is None else ready)
        return Call(
            SyscallOp.SYS_RELOAD,
            request,
            parse,
            # Also the way back takes its time.
            extra_time=2 * waits,
            long=True,
            impersonal=True,
        )
