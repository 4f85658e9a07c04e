"""Who is there, and a sign of life."""

from __future__ import annotations

from typing import Any

from .._answer import Answer
from .._calls import Call, Caller, Receive, syscall
from ..models import AsyncResult, KernelInfo, PollAsyncResult
from ..protocol import SyscallOp, opcode_of


class CoreCalls(Caller):
    @syscall
    def hello(self) -> Call[KernelInfo]:
        """Who answers, who the caller is to it, and what the caller may do."""

        def parse(answer: Answer) -> KernelInfo:
            return answer.make(
                KernelInfo,
                version=answer.text("version", "kernel_version", default="unknown"),
                capabilities=answer.array("capabilities"),
                agent_id=answer.integer("agent_id", default=answer.caller_id),
                uptime_seconds=answer.number("uptime"),
            )

        return Call(SyscallOp.SYS_HELLO, {}, parse, raises=True)

    @syscall
    def echo(self, message: str) -> Call[str]:
        """Comes back as it is."""
        return Call(SyscallOp.SYS_NOOP, _text(message), _same)

    noop = echo

    @syscall
    def exit(self) -> Call[bool]:
        """Says goodbye to the kernel. Ends nothing: `disconnect` does."""
        return Call(SyscallOp.SYS_EXIT, b"", lambda answer: answer.body == "goodbye")

    @syscall
    def poll_async(
        self, max_results: int = 10, *, wait: bool = False, timeout: float | None = None
    ) -> Call[PollAsyncResult]:
        """Takes answers of calls that were made with ``async_=True`` and have ended.

        `wait` and `timeout` as in `recv_messages`.
        """

        def parse(answer: Answer) -> PollAsyncResult:
            results = [_async_result(each) for each in answer.parts("results")]
            return answer.make(
                PollAsyncResult,
                success=answer.success,
                results=results,
                count=answer.integer("count", default=len(results)),
                error=answer.error,
            )

        receive = Receive(self._session.results, max_results, wait, timeout)
        return Call(SyscallOp.SYS_ASYNC_POLL, {"max": max_results}, parse, receive=receive)

    # Last: inside this class the name means the method from here on.
    @syscall
    def syscall(self, name: str | int, /, **fields: Any) -> Call[Any]:
        """Any syscall by its name in the kernel's reference or by its number: ``syscall("TASK_LIST", state="open")``.

        Returns the answer as it is. Raises what an error answer stands for.
        """
        return Call(opcode_of(name), fields, lambda answer: answer.body, raises=True)


def _text(message: str) -> bytes:
    # Anything echoes, also what UTF-8 cannot carry.
    return message.encode("utf-8", errors="surrogatepass")


def _same(answer: Answer) -> str:
    return str(answer.body)


def _async_result(answer: Answer) -> AsyncResult:
    """Older kernels give the answer as JSON text only."""
    result = answer.object("result") or answer.text_object("payload")
    inner = Answer(answer.opcode, result)
    return answer.make(
        AsyncResult,
        request_id=answer.integer("request_id"),
        opcode=answer.integer("opcode"),
        success=answer.flag("success", default=inner.success if result else False),
        result=result,
        error=answer.error or inner.error,
    )
