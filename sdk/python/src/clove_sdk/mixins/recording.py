"""Recording of syscalls, and their replay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .._answer import Answer, epoch_seconds
from .._calls import Call, Caller, syscall, without_none
from ..models import RecordingStatus, ReplayStatus
from ..protocol import SyscallOp


class RecordingCalls(Caller):
    @syscall
    def start_recording(
        self,
        include_think: bool = False,
        include_http: bool = False,
        include_exec: bool = False,
        filter_agents: Sequence[int] | None = None,
        max_entries: int = 50000,
    ) -> Call[RecordingStatus]:
        """Starts to record the syscalls of all agents, or of `filter_agents`."""
        request = {
            "include_think": include_think,
            "include_http": include_http,
            "include_exec": include_exec,
            "max_entries": max_entries,
            **without_none(filter_agents=None if filter_agents is None else list(filter_agents)),
        }
        return Call(SyscallOp.SYS_RECORD_START, request, _recording)

    @syscall
    def stop_recording(self) -> Call[RecordingStatus]:
        """`entry_count` is what was recorded."""
        return Call(SyscallOp.SYS_RECORD_STOP, {}, _recording)

    @syscall
    def get_recording_status(self, export: bool = False) -> Call[RecordingStatus]:
        """With `export` also the recording itself, in `recording_data`."""
        return Call(SyscallOp.SYS_RECORD_STATUS, {"export": export}, _recording)

    @syscall
    def start_replay(self, recording_data: str | Sequence[Any]) -> Call[ReplayStatus]:
        """Replays what `get_recording_status(export=True)` gave: its text, or the array in it."""
        text = (
            recording_data if isinstance(recording_data, str) else json.dumps(recording_data, allow_nan=False)
        )
        return Call(SyscallOp.SYS_REPLAY_START, {"recording": text}, _replay)

    @syscall
    def get_replay_status(self) -> Call[ReplayStatus]:
        """How far the replay is."""
        return Call(SyscallOp.SYS_REPLAY_STATUS, {}, _replay)


def _recording(answer: Answer) -> RecordingStatus:
    state = answer.any("active", "recording")
    exported = answer.any("recording_data", "recording")
    started = answer.any("started_at")
    return answer.make(
        RecordingStatus,
        success=answer.success,
        active=state if isinstance(state, bool) else answer.text("state").upper() == "RECORDING",
        entry_count=answer.integer("entry_count", "entries_recorded"),
        started_at=None if started is None else epoch_seconds(started),
        recording_data=exported if isinstance(exported, str) else None,
        error=answer.error,
    )


def _replay(answer: Answer) -> ReplayStatus:
    percent = answer.number("progress_percent")
    last = answer.maybe_text("last_error")
    return answer.make(
        ReplayStatus,
        success=answer.success,
        active=answer.flag("active", default=answer.text("state").lower() in ("running", "paused")),
        progress=answer.number("progress", default=percent / 100),
        total_entries=answer.integer("total_entries"),
        entries_replayed=answer.integer("entries_replayed"),
        entries_skipped=answer.integer("entries_skipped"),
        errors=answer.array("errors") or ([] if last is None else [last]),
        error=answer.error,
    )
