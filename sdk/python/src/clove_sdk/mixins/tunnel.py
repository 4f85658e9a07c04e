"""The kernel's tunnel to a relay."""

from __future__ import annotations

from .._answer import Answer, epoch_seconds
from .._calls import Call, Caller, syscall, without_none
from ..models import OperationResult, TunnelRemotesResult, TunnelStatus
from ..protocol import SyscallOp
from .world import operation

#: The kernel waits for the relay up to so long. Seconds.
_CONNECT_TIME = 30.0


class TunnelCalls(Caller):
    @syscall
    def tunnel_connect(
        self, relay_url: str | None = None, machine_id: str | None = None, token: str | None = None
    ) -> Call[TunnelStatus]:
        """Connects the kernel to a relay; what is not given is as `tunnel_config` has it. Raises `TunnelError`."""
        request = without_none(relay_url=relay_url, machine_id=machine_id, token=token)

        def parse(answer: Answer) -> TunnelStatus:
            return _status(answer, connected=answer.flag("connected", default=answer.success))

        return Call(SyscallOp.SYS_TUNNEL_CONNECT, request, parse, extra_time=_CONNECT_TIME)

    @syscall
    def tunnel_disconnect(self) -> Call[OperationResult]:
        """Ends the tunnel."""
        return Call(SyscallOp.SYS_TUNNEL_DISCONNECT, {}, operation)

    @syscall
    def tunnel_status(self) -> Call[TunnelStatus]:
        """Whether there is a tunnel, and to where."""

        def parse(answer: Answer) -> TunnelStatus:
            return _status(answer, connected=answer.flag("connected"))

        return Call(SyscallOp.SYS_TUNNEL_STATUS, {}, parse)

    @syscall
    def tunnel_list_remotes(self) -> Call[TunnelRemotesResult]:
        """Remote agents connected through the tunnel."""

        def parse(answer: Answer) -> TunnelRemotesResult:
            agents = answer.array("agents")
            return answer.make(
                TunnelRemotesResult,
                success=answer.success,
                agents=agents,
                count=answer.integer("count", default=len(agents)),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_TUNNEL_LIST_REMOTES, {}, parse)

    @syscall
    def tunnel_config(
        self,
        relay_url: str | None = None,
        machine_id: str | None = None,
        token: str | None = None,
        reconnect_interval: float | None = None,
        *,
        remote_level: str | None = None,
        max_remotes: int | None = None,
        remote_syscalls_per_second: int | None = None,
    ) -> Call[OperationResult]:
        """Defaults for `tunnel_connect`, and what remote agents are given. `reconnect_interval` in seconds."""
        request = without_none(
            relay_url=relay_url,
            machine_id=machine_id,
            token=token,
            reconnect_interval=reconnect_interval,
            remote_level=remote_level,
            max_remotes=max_remotes,
            remote_syscalls_per_second=remote_syscalls_per_second,
        )
        return Call(SyscallOp.SYS_TUNNEL_CONFIG, request, operation)


def _status(answer: Answer, connected: bool) -> TunnelStatus:
    since = answer.any("connected_since")
    return answer.make(
        TunnelStatus,
        success=answer.success,
        connected=connected,
        relay_url=answer.maybe_text("relay_url"),
        machine_id=answer.maybe_text("machine_id"),
        latency_ms=answer.maybe_number("latency_ms"),
        connected_since=None if since is None else epoch_seconds(since),
        error=answer.error,
    )
