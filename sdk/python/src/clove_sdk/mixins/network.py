"""HTTP by the kernel: for agents that have no network of their own."""

from __future__ import annotations

from collections.abc import Mapping

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..models import HttpResult
from ..protocol import SyscallOp


class NetworkCalls(Caller):
    @syscall
    def http(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        timeout: float = 30,
        async_: bool = False,
        request_id: int | None = None,
    ) -> Call[HttpResult]:
        """One HTTP request. `timeout` in seconds. With ``async_=True`` the answer comes by `poll_async`."""
        request = {
            "url": url,
            "method": method,
            **without_none(
                headers=None if headers is None else dict(headers), body=body, request_id=request_id
            ),
            "timeout": timeout,
            "async": async_,
        }

        def parse(answer: Answer) -> HttpResult:
            return answer.make(
                HttpResult,
                success=answer.success,
                status_code=answer.integer("status_code"),
                body=answer.text("body"),
                headers=answer.object("headers"),
                error=answer.error,
                async_request_id=answer.maybe_integer("request_id"),
            )

        return Call(SyscallOp.SYS_HTTP, request, parse, extra_time=timeout, long=not async_)
