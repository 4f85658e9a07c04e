"""Agents: start, end, pause, list, wait, read their output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..exceptions import ValidationError
from ..models import AgentExit, AgentInfo, AgentLogs, AgentState, SpawnResult
from ..protocol import SyscallOp


class AgentCalls(Caller):
    @syscall
    def spawn(
        self,
        name: str | None = None,
        script: str | None = None,
        sandboxed: bool = True,
        network: bool = False,
        limits: Mapping[str, Any] | None = None,
        restart_policy: str = "never",
        max_restarts: int = 5,
        restart_window: float = 300,
        *,
        command: Sequence[str] | None = None,
        args: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: str | None = None,
        python: str | None = None,
        mounts: Sequence[Mapping[str, Any]] | None = None,
        isolation: Mapping[str, Any] | None = None,
        lifetime: float | None = None,
        log_bytes: int | None = None,
        permissions: str | Mapping[str, Any] | None = None,
        world: str | None = None,
        group: str | None = None,
        persist: bool | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Call[SpawnResult]:
        """Starts an agent; answers when its program runs.

        `script` is a path on the host; `command` is argv in its place. `limits`: memory (bytes) or memory_mb,
        max_pids, cpu_quota and cpu_period (µs) or cpu_percent… `restart_policy`: never, on-failure or always.
        `restart_window` and `lifetime` (it is killed then) in seconds. `permissions`: a level, or an object as of
        `set_permissions`. `world`: id of the one to start it in. `group` of a supervision tree (operators).
        `persist`: again after a restart of the kernel. `more`: further members of SPAWN, such as ready, health,
        depends_on, labels.
        """
        if not script and not command:
            raise ValidationError("spawn: script or command required")
        request = without_none(
            name=name,
            script=script,
            sandboxed=sandboxed,
            network=network,
            limits=None if limits is None else dict(limits),
            restart_policy=restart_policy,
            max_restarts=max_restarts,
            restart_window=restart_window,
            command=None if command is None else list(command),
            args=None if args is None else list(args),
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=stdin,
            python=python,
            mounts=None if mounts is None else [dict(mount) for mount in mounts],
            isolation=None if isolation is None else dict(isolation),
            timeout_ms=None if lifetime is None else milliseconds(lifetime),
            log_bytes=log_bytes,
            permissions=dict(permissions) if isinstance(permissions, Mapping) else permissions,
            world=world,
            group=group,
            persist=persist,
        )
        # What has an argument of its own is not said twice.
        request = {**(more or {}), **request}

        def parse(answer: Answer) -> SpawnResult:
            agent_id = answer.maybe_integer("id", "agent_id")
            return answer.make(
                SpawnResult,
                success=agent_id is not None and answer.error is None,
                agent_id=agent_id,
                pid=answer.maybe_integer("pid"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_SPAWN, request, parse)

    @syscall
    def kill(
        self, name: str | None = None, agent_id: int | None = None, *, grace: float | None = None
    ) -> Call[bool]:
        """Ends an agent for good: SIGTERM, after `grace` seconds (default 5) SIGKILL to all it started.

        Raises `AgentNotFound` when there is no such agent, `ValidationError` when neither argument is given.
        """
        request = target("kill", name, agent_id)
        if grace is not None:
            request["grace_ms"] = milliseconds(grace)
        wait = 5.0 if grace is None else grace
        return Call(SyscallOp.SYS_KILL, request, _done("killed"), raises=True, extra_time=wait)

    @syscall
    def pause(self, name: str | None = None, agent_id: int | None = None) -> Call[bool]:
        """Freezes an agent with everything it started. Raises `AgentNotFound`, `SyscallError`."""
        return Call(SyscallOp.SYS_PAUSE, target("pause", name, agent_id), _done("paused"), raises=True)

    @syscall
    def resume(self, name: str | None = None, agent_id: int | None = None) -> Call[bool]:
        """Lets a paused agent run on. Raises `AgentNotFound`, `SyscallError`."""
        return Call(SyscallOp.SYS_RESUME, target("resume", name, agent_id), _done("resumed"), raises=True)

    @syscall
    def list_agents(self, all: bool = False) -> Call[list[AgentInfo]]:
        """Live agents; with `all` also ended ones that are still known."""

        def parse(answer: Answer) -> list[AgentInfo]:
            listed = answer.body if isinstance(answer.body, list) else answer.array("agents")
            return [_agent_info(Answer(answer.opcode, each)) for each in listed]

        return Call(SyscallOp.SYS_LIST, {"all": True} if all else {}, parse, raises=True)

    @syscall
    def wait_agent(
        self,
        name: str | None = None,
        agent_id: int | None = None,
        timeout: float | None = None,
        *,
        log_bytes: int | None = None,
    ) -> Call[AgentExit]:
        """Waits until an agent has ended for good and tells how it ended. `timeout` in seconds; None = no limit.

        Raises `TimeoutError` (the agent still runs), `AgentNotFound`.
        """
        request = target("wait_agent", name, agent_id)
        request.update(
            without_none(timeout_ms=None if timeout is None else milliseconds(timeout), log_bytes=log_bytes)
        )
        return Call(
            SyscallOp.SYS_WAIT,
            request,
            _agent_exit,
            raises=True,
            extra_time=timeout,
            long=True,
            impersonal=True,
        )

    @syscall
    def wait_ready(
        self, name: str | None = None, agent_id: int | None = None, timeout: float | None = None
    ) -> Call[int]:
        """Waits until an agent is ready, and returns its id. `timeout` in seconds; None = no limit.

        Raises `TimeoutError`, `AgentNotFound`, `SyscallError` when it ends for good before that.
        """
        request = target("wait_ready", name, agent_id)
        request.update(without_none(timeout_ms=None if timeout is None else milliseconds(timeout)))
        return Call(
            SyscallOp.SYS_WAIT_READY,
            request,
            lambda answer: answer.integer("agent_id"),
            raises=True,
            extra_time=timeout,
            long=True,
            impersonal=True,
        )

    @syscall
    def notify(
        self, ready: bool | None = None, *, status: str | None = None, pong: str | None = None
    ) -> Call[bool]:
        """Speaks about oneself to the supervisor: that one is ready, how one is (for people), or `pong` in answer
        to the `nonce` of a message of type "clove.ping". Whatever is said counts as a heartbeat. Returns whether
        a pong was the one that is waited for.
        """
        request = without_none(ready=ready, status=status, pong=pong)
        return Call(SyscallOp.SYS_NOTIFY, request, lambda answer: answer.flag("answered"), raises=True)

    @syscall
    def logs(
        self,
        name: str | None = None,
        agent_id: int | None = None,
        *,
        max_bytes: int | None = None,
        stdout_from: int | None = None,
        stderr_from: int | None = None,
        timeout: float | None = None,
    ) -> Call[AgentLogs]:
        """The last output of an agent, over all its incarnations: at most `max_bytes` of each stream.

        `stdout_from`, `stderr_from`: not the last bytes, but the first kept ones behind this many ever written; where
        to go on is in `stdout_to` and `stderr_to`. `timeout` then says for how many seconds to wait where there is
        nothing more yet, unless the agent ends; its end is no error. None = not at all.

        Raises `AgentNotFound`.
        """
        request = {
            **target("logs", name, agent_id),
            **without_none(
                max_bytes=max_bytes,
                stdout_from=stdout_from,
                stderr_from=stderr_from,
                timeout_ms=None if timeout is None else milliseconds(timeout),
            ),
        }

        def parse(answer: Answer) -> AgentLogs:
            return answer.make(
                AgentLogs,
                agent_id=answer.integer("agent_id"),
                name=answer.text("name"),
                stdout=answer.text("stdout"),
                stderr=answer.text("stderr"),
                stdout_dropped=answer.integer("stdout_dropped"),
                stderr_dropped=answer.integer("stderr_dropped"),
                stdout_to=answer.maybe_integer("stdout_to"),
                stderr_to=answer.maybe_integer("stderr_to"),
                stdout_bytes=answer.integer("stdout_bytes"),
                stderr_bytes=answer.integer("stderr_bytes"),
                ended=answer.flag("ended"),
            )

        waits = timeout is not None and timeout > 0
        return Call(
            SyscallOp.SYS_LOGS,
            request,
            parse,
            raises=True,
            extra_time=timeout if waits else 0.0,
            long=waits,
            impersonal=waits,
        )


def target(method: str, name: str | None, agent_id: int | None) -> dict[str, Any]:
    """Raises `ValidationError` when neither says who is meant."""
    if agent_id is not None:
        return {"id": agent_id}
    if name:
        return {"name": name}
    raise ValidationError(f"{method}: name or agent_id required")


def milliseconds(seconds: float) -> int:
    """Rounded up: a wait is never shorter than asked."""
    if not 0 <= seconds < math.inf:
        raise ValidationError(f"not a time span: {seconds} s")
    return math.ceil(seconds * 1000)


def _done(word: str) -> Any:
    """Older kernels say no more than false when there was nothing to do it to."""

    def parse(answer: Answer) -> bool:
        if answer.flag(word, "success"):
            return True
        raise answer.failure(f"agent not found, or it cannot be {word} now")

    return parse


def _agent_info(answer: Answer) -> AgentInfo:
    return answer.make(
        AgentInfo,
        id=answer.integer("id", "agent_id"),
        name=answer.text("name"),
        pid=answer.integer("pid"),
        state=AgentState(answer.text("state", default="unknown")),
        uptime_seconds=answer.number("uptime"),
        memory_bytes=answer.maybe_integer("memory"),
        cpu_percent=answer.maybe_number("cpu"),
    )


def _agent_exit(answer: Answer) -> AgentExit:
    return answer.make(
        AgentExit,
        agent_id=answer.integer("agent_id"),
        name=answer.text("name"),
        state=AgentState(answer.text("state", default="unknown")),
        reason=answer.text("reason"),
        exit_code=answer.maybe_integer("exit_code"),
        signal=answer.maybe_text("signal"),
        restart_count=answer.integer("restart_count"),
        ended_at=answer.number("ended_at_ms") / 1000,
        usage=answer.object("usage"),
        log_tail=answer.text("log_tail"),
    )
