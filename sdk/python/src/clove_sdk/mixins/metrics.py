"""Figures of the machine, of agents and of cgroups."""

from __future__ import annotations

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..models import AgentMetrics, AllAgentsMetrics, CgroupMetrics, SystemMetrics
from ..protocol import SyscallOp


class MetricsCalls(Caller):
    @syscall
    def get_system_metrics(self) -> Call[SystemMetrics]:
        """The whole machine. ``result["metrics"]`` has more than the attributes."""
        return Call(SyscallOp.SYS_METRICS_SYSTEM, {}, _system)

    @syscall
    def get_agent_metrics(self, agent_id: int | None = None) -> Call[AgentMetrics]:
        """One agent; default: the caller."""
        return Call(SyscallOp.SYS_METRICS_AGENT, without_none(agent_id=agent_id), _agent)

    @syscall
    def get_all_agent_metrics(self) -> Call[AllAgentsMetrics]:
        """Every live agent."""

        def parse(answer: Answer) -> AllAgentsMetrics:
            agents = [_agent(each) for each in answer.parts("agents")]
            return answer.make(
                AllAgentsMetrics,
                success=answer.success,
                agents=agents,
                count=answer.integer("count", default=len(agents)),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_METRICS_ALL_AGENTS, {}, parse)

    @syscall
    def get_cgroup_metrics(
        self, cgroup_path: str | None = None, *, agent_id: int | None = None
    ) -> Call[CgroupMetrics]:
        """One cgroup, by the path that an agent's metrics name or by agent; default: the caller's."""
        request = without_none(cgroup_path=cgroup_path, agent_id=agent_id)
        return Call(SyscallOp.SYS_METRICS_CGROUP, request, _cgroup)


def _system(answer: Answer) -> SystemMetrics:
    """Flat names where the kernel has them, else out of the nested object."""
    metrics = answer.part("metrics")
    cpu, memory = metrics.part("cpu"), metrics.part("memory")
    disk, network = metrics.part("disk"), metrics.part("network")
    transferred = disk.integer("read_bytes") + disk.integer("write_bytes")
    return answer.make(
        SystemMetrics,
        success=answer.success,
        cpu_percent=answer.number("cpu_percent", default=cpu.number("percent")),
        memory_used_bytes=answer.integer("memory_used_bytes", default=memory.integer("used")),
        memory_total_bytes=answer.integer("memory_total_bytes", default=memory.integer("total")),
        memory_percent=answer.number("memory_percent", default=memory.number("percent")),
        disk_used_bytes=answer.integer("disk_used_bytes", default=transferred),
        disk_total_bytes=answer.integer("disk_total_bytes"),
        disk_percent=answer.number("disk_percent"),
        network_rx_bytes=answer.integer("network_rx_bytes", default=network.integer("bytes_recv")),
        network_tx_bytes=answer.integer("network_tx_bytes", default=network.integer("bytes_sent")),
        load_average=answer.array("load_average") or cpu.array("load_avg"),
        error=answer.error,
    )


def _agent(answer: Answer) -> AgentMetrics:
    metrics = answer.part("metrics") if answer.has("metrics") else answer
    process, cgroup = metrics.part("process"), metrics.part("cgroup")
    cpu, memory = process.part("cpu"), process.part("memory")
    used = cgroup.part("memory").integer("current") or memory.integer("rss")
    return answer.make(
        AgentMetrics,
        success=answer.success,
        error=answer.error,
        agent_id=answer.integer("agent_id", default=metrics.integer("agent_id")),
        name=answer.text("name", default=metrics.text("name")),
        cpu_percent=answer.number("cpu_percent", default=cpu.number("percent")),
        memory_bytes=answer.integer("memory_bytes", default=used),
        memory_percent=answer.number("memory_percent", default=memory.number("percent")),
        syscalls_count=answer.integer(
            "syscalls_count", default=metrics.part("kernel_stats").integer("syscall_count")
        ),
        uptime_seconds=answer.number("uptime_seconds", default=metrics.number("uptime_ms") / 1000),
        state=answer.text("state", default=metrics.text("status", default="unknown")).lower(),
    )


def _cgroup(answer: Answer) -> CgroupMetrics:
    metrics = answer.part("metrics")
    cpu, memory, pids = metrics.part("cpu"), metrics.part("memory"), metrics.part("pids")
    return answer.make(
        CgroupMetrics,
        success=answer.success,
        cpu_usage_usec=answer.integer("cpu_usage_usec", default=cpu.integer("usage_usec")),
        memory_current=answer.integer("memory_current", default=memory.integer("current")),
        memory_limit=answer.integer("memory_limit", default=memory.integer("max")),
        pids_current=answer.integer("pids_current", default=pids.integer("current")),
        pids_limit=answer.integer("pids_limit", default=pids.integer("max")),
        error=answer.error,
    )
