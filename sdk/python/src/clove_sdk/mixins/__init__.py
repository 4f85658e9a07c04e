"""The methods of both clients, each declared once: what it sends and what it makes of the answer."""

from .agents import AgentCalls
from .audit import AuditCalls
from .core import CoreCalls
from .events import EventCalls
from .filesystem import FilesystemCalls
from .groups import GroupCalls
from .ipc import IPCCalls
from .metrics import MetricsCalls
from .network import NetworkCalls
from .permissions import PermissionCalls
from .recording import RecordingCalls
from .reload import ReloadCalls
from .state import StateCalls
from .tasks import TaskCalls
from .tunnel import TunnelCalls
from .world import WorldCalls


class AllCalls(
    CoreCalls,
    AgentCalls,
    ReloadCalls,
    GroupCalls,
    FilesystemCalls,
    NetworkCalls,
    IPCCalls,
    StateCalls,
    TaskCalls,
    EventCalls,
    PermissionCalls,
    MetricsCalls,
    WorldCalls,
    TunnelCalls,
    AuditCalls,
    RecordingCalls,
):
    """Every method that is one syscall."""


__all__ = ["AllCalls"]
