"""HTTP by the kernel: for agents that have no network of their own."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..models import DownloadResult, HttpResult
from ..protocol import SyscallOp


class NetworkCalls(Caller):
    @syscall
    def http(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: str | bytes | None = None,
        timeout: float = 30,
        async_: bool = False,
        request_id: int | None = None,
        *,
        redirect: str | None = None,
        max_bytes: int | None = None,
    ) -> Call[HttpResult]:
        """One HTTP request; `success` only with a status of 2xx or 3xx, `status_code` 0 when nothing answered.

        `timeout` in seconds, for all of it.

        `redirect`: follow (the default) or manual. `max_bytes` of the response's body. With ``async_=True`` the answer
        comes by `poll_async`.
        """
        encoded = None if body is None or isinstance(body, str) else base64.b64encode(body).decode("ascii")
        request = {
            "url": url,
            "method": method,
            **without_none(
                headers=None if headers is None else dict(headers),
                body=body if encoded is None else encoded,
                body_encoding=None if encoded is None else "base64",
                redirect=redirect,
                max_bytes=max_bytes,
                request_id=request_id,
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
                encoding=answer.maybe_text("encoding"),
            )

        return Call(SyscallOp.SYS_HTTP, request, parse, extra_time=timeout, long=not async_)

    @syscall
    def download(
        self,
        url: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
        *,
        sha256: str | None = None,
        max_bytes: int | None = None,
    ) -> Call[DownloadResult]:
        """Streams what HTTP GET gives into a file. Whatever fails on the way leaves the file empty.

        `sha256`: what the file must have, in hex. `max_bytes`: largest file.
        """
        request = without_none(
            url=url,
            path=path,
            headers=None if headers is None else dict(headers),
            timeout=timeout,
            sha256=sha256,
            max_bytes=max_bytes,
        )

        def parse(answer: Answer) -> DownloadResult:
            return answer.make(
                DownloadResult,
                success=answer.success,
                path=answer.text("path", default=path),
                bytes=answer.integer("bytes"),
                sha256=answer.text("sha256"),
                status_code=answer.integer("status_code"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_DOWNLOAD, request, parse, extra_time=timeout, long=True)
