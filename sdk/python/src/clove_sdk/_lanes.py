"""Connections beside the main one, for calls that take long.

One connection's answers come in the order of its requests, so a call that waits holds up the ones behind it. An agent
is the same agent on every connection of its socket: there such calls get a connection of their own. A client of the
operator's socket is its one connection: another one would have another mailbox and other grants.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .protocol import SyscallOp
from .transport import Transport


class Lanes:
    def __init__(self, main: Transport, make: Callable[[], Transport]) -> None:
        self._main = main
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Transport] = []
        self._busy: set[Transport] = set()
        self._shared: bool | None = None

    def forget(self) -> None:
        """After a reconnect it may be another kernel, to which the caller is somebody else."""
        self._shared = None

    @contextmanager
    def borrow(self) -> Iterator[Transport]:
        """A connection nobody else uses. It is closed when its call did not end well: that ends the call in the
        kernel, too."""
        with self._lock:
            lane = self._idle.pop() if self._idle else self._make()
            self._busy.add(lane)
        try:
            lane.connect()
            yield lane
        except BaseException:
            with self._lock:
                self._busy.discard(lane)
            lane.disconnect()
            raise
        with self._lock:
            self._busy.discard(lane)
            self._idle.append(lane)

    def are_the_same_caller(self) -> bool:
        """Whether the kernel takes another connection for the same caller."""
        if self._shared is None:
            main_id = self._main.agent_id or self._main.call(SyscallOp.SYS_NOOP).agent_id
            with self._make() as probe:
                self._shared = probe.call(SyscallOp.SYS_NOOP).agent_id == main_id
        return self._shared

    def close(self) -> None:
        with self._lock:
            lanes = [*self._idle, *self._busy]
            self._idle.clear()
        for lane in lanes:
            lane.disconnect()
