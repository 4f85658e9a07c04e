"""Results about the kernel, agents, commands and files."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .base import Result


class AgentState(str, Enum):
    """What an agent is doing. Kernels say it in either case."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    CRASHED = "crashed"
    #: A state this SDK does not know.
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> AgentState:
        text = str(value).lower()
        return next((state for state in cls if state.value == text), cls.UNKNOWN)

    def __str__(self) -> str:
        return str(self.value)


@dataclass
class KernelInfo(Result):
    version: str
    #: Permissions the caller holds.
    capabilities: list[str]
    agent_id: int
    uptime_seconds: float = 0.0


@dataclass
class ExecResult(Result):
    #: It ran and exited with 0.
    success: bool
    stdout: str
    stderr: str
    #: -1 when a signal or the time limit ended it, or it never ran.
    exit_code: int
    duration_ms: float | None = None
    async_request_id: int | None = None
    #: Why it did not run or was ended: a refusal, the time limit.
    error: str | None = None


@dataclass
class FileContent(Result):
    success: bool
    #: Text; base64 where `encoding` says so.
    content: str
    #: Bytes of the file.
    size: int
    error: str | None = None
    #: ``"base64"`` when the file is not UTF-8 text.
    encoding: str | None = None

    @property
    def data(self) -> bytes:
        """The bytes of the file, whatever they are."""
        return base64.b64decode(self.content) if self.encoding == "base64" else self.content.encode("utf-8")


@dataclass
class WriteResult(Result):
    success: bool
    bytes_written: int
    error: str | None = None


@dataclass
class AgentInfo(Result):
    id: int
    name: str
    #: On the host; 0 between two incarnations.
    pid: int
    state: AgentState
    uptime_seconds: float = 0.0
    memory_bytes: int | None = None
    #: Of one core.
    cpu_percent: float | None = None


@dataclass
class SpawnResult(Result):
    success: bool
    agent_id: int | None = None
    pid: int | None = None
    error: str | None = None


@dataclass
class AgentExit(Result):
    """How an agent ended, for good."""

    agent_id: int
    name: str
    state: AgentState
    #: exited, signal, oom, timeout, killed or setup.
    reason: str
    exit_code: int | None = None
    signal: str | None = None
    restart_count: int = 0
    #: Seconds since the epoch.
    ended_at: float = 0.0
    #: Of the last incarnation: cpu_user_us, memory_peak_bytes, wall_us…
    usage: dict[str, Any] = field(default_factory=dict)
    #: End of stderr, or of stdout where stderr is empty. Untrusted text.
    log_tail: str = ""


@dataclass
class AgentLogs(Result):
    """The last output of an agent: untrusted text."""

    agent_id: int
    name: str
    stdout: str
    stderr: str
    #: Bytes written and no longer kept.
    stdout_dropped: int = 0
    stderr_dropped: int = 0
    #: Where to go on, as `stdout_from` and `stderr_from`; None where that was not given.
    stdout_to: int | None = None
    stderr_to: int | None = None
    #: Bytes ever written.
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    #: For good: nothing more comes.
    ended: bool = False


@dataclass
class HttpResult(Result):
    success: bool
    #: 0 when there was no answer.
    status_code: int = 0
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    async_request_id: int | None = None
    #: ``"base64"`` when the body is not UTF-8 text.
    encoding: str | None = None

    @property
    def data(self) -> bytes:
        """The bytes of the body, whatever they are."""
        return base64.b64decode(self.body) if self.encoding == "base64" else self.body.encode("utf-8")


@dataclass
class DownloadResult(Result):
    #: The status was 2xx, and the file came whole.
    success: bool
    path: str = ""
    bytes: int = 0
    #: Of the file, lower-case hex; empty when nothing was written.
    sha256: str = ""
    status_code: int = 0
    error: str | None = None


@dataclass
class AsyncResult(Result):
    request_id: int
    opcode: int
    success: bool
    result: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass
class PollAsyncResult(Result):
    success: bool
    results: list[AsyncResult] = field(default_factory=list)
    count: int = 0
    error: str | None = None


@dataclass
class PermissionsInfo(Result):
    success: bool
    #: unrestricted, standard, sandboxed, readonly or minimal; None for custom grants.
    level: str | None = None
    paths: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    error: str | None = None


@dataclass
class QuotaInfo(Result):
    success: bool
    agent_id: int = 0
    #: messages, state_bytes, llm_calls, llm_tokens, agents, syscalls_per_second; None = no limit.
    quotas: dict[str, float | None] = field(default_factory=dict)
    #: What the agent and its children have used.
    used: dict[str, float] = field(default_factory=dict)
    error: str | None = None


@dataclass
class OperationResult(Result):
    success: bool
    error: str | None = None
    data: dict[str, Any] | None = None
