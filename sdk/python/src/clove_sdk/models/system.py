"""Results about metrics, worlds, tunnels, audit and recordings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .base import Result


@dataclass
class SystemMetrics(Result):
    success: bool = True
    cpu_percent: float = 0.0
    memory_used_bytes: int = 0
    memory_total_bytes: int = 0
    memory_percent: float = 0.0
    disk_used_bytes: int = 0
    disk_total_bytes: int = 0
    disk_percent: float = 0.0
    network_rx_bytes: int = 0
    network_tx_bytes: int = 0
    load_average: list[float] = field(default_factory=list)
    error: str | None = None


@dataclass
class AgentMetrics(Result):
    agent_id: int
    name: str = ""
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    memory_percent: float = 0.0
    syscalls_count: int = 0
    uptime_seconds: float = 0.0
    state: str = "unknown"
    success: bool = True
    error: str | None = None


@dataclass
class AllAgentsMetrics(Result):
    success: bool
    agents: list[AgentMetrics] = field(default_factory=list)
    count: int = 0
    error: str | None = None


@dataclass
class CgroupMetrics(Result):
    success: bool
    cpu_usage_usec: int = 0
    memory_current: int = 0
    #: -1 = no limit.
    memory_limit: int = 0
    pids_current: int = 0
    pids_limit: int = 0
    error: str | None = None


@dataclass
class WorldInfo(Result):
    id: str
    name: str
    agent_count: int = 0
    created_at: float = 0.0


@dataclass
class WorldCreateResult(Result):
    success: bool
    world_id: str | None = None
    error: str | None = None


@dataclass
class WorldListResult(Result):
    success: bool
    worlds: list[WorldInfo] = field(default_factory=list)
    count: int = 0
    error: str | None = None


@dataclass
class WorldState(Result):
    success: bool
    id: str = ""
    name: str = ""
    agents: list[int] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    chaos_events_injected: int = 0
    error: str | None = None


@dataclass
class WorldSnapshot(Result):
    success: bool
    snapshot_id: str | None = None
    #: What `world_restore` takes.
    snapshot_data: dict[str, Any] | None = None
    error: str | None = None


@dataclass
class TunnelStatus(Result):
    success: bool
    connected: bool = False
    relay_url: str | None = None
    machine_id: str | None = None
    latency_ms: float | None = None
    connected_since: float | None = None
    error: str | None = None


@dataclass
class TunnelRemotesResult(Result):
    success: bool
    agents: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0
    error: str | None = None


@dataclass
class AuditEntry(Result):
    id: int
    #: Seconds since the epoch.
    timestamp: float
    category: str
    agent_id: int | None
    #: Such as AGENT_SPAWNED.
    action: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class AuditLogResult(Result):
    success: bool
    #: Oldest first.
    entries: list[AuditEntry] = field(default_factory=list)
    count: int = 0
    error: str | None = None


@dataclass
class AuditRecords(Result):
    success: bool
    #: Whole records with their hashes, oldest first.
    entries: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0
    #: There may be others beyond the last one.
    more: bool = False
    error: str | None = None


@dataclass
class AuditVerification(Result):
    success: bool
    #: Every record is as it was written.
    ok: bool = False
    records: int = 0
    first_bad_seq: int | None = None
    #: ``{"seq", "kind", "text"}``
    problems: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


@dataclass
class AuditConfigResult(Result):
    success: bool
    config: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass
class RecordingStatus(Result):
    success: bool
    active: bool = False
    entry_count: int = 0
    #: Seconds since the epoch.
    started_at: float | None = None
    #: JSON text, when it was asked for.
    recording_data: str | None = None
    error: str | None = None


@dataclass
class ReplayStatus(Result):
    success: bool
    active: bool = False
    #: 0 to 1.
    progress: float = 0.0
    total_entries: int = 0
    entries_replayed: int = 0
    entries_skipped: int = 0
    errors: list[str] = field(default_factory=list)
    error: str | None = None
