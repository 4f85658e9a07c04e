"""The shared store of JSON values."""

from __future__ import annotations

from typing import Any

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..exceptions import StateKeyNotFound
from ..models import DeleteResult, FetchResult, KeysResult, StoreResult
from ..protocol import SyscallOp

_REQUIRED = object()


class StateCalls(Caller):
    @syscall
    def store(
        self, key: str, value: Any, scope: str = "global", ttl: float | None = None
    ) -> Call[StoreResult]:
        """Stores a JSON value. `scope`: global (one for all), agent (the caller's own) or session (until the caller's
        process or connection ends). `ttl` in seconds; None = for ever."""
        request = {"key": key, "value": value, "scope": scope, **without_none(ttl=ttl)}

        def parse(answer: Answer) -> StoreResult:
            return answer.make(StoreResult, success=answer.success, error=answer.error)

        return Call(SyscallOp.SYS_STORE, request, parse)

    @syscall
    def fetch(self, key: str, *, scope: str | None = None) -> Call[FetchResult]:
        """The value of a key. Without a scope: the caller's session, then its own, then the global one."""

        def parse(answer: Answer) -> FetchResult:
            return answer.make(
                FetchResult,
                success=answer.success,
                value=answer.any("value"),
                found=answer.flag("exists", "found"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_FETCH, {"key": key, **without_none(scope=scope)}, parse)

    @syscall
    def fetch_value(self, key: str, default: Any = _REQUIRED, *, scope: str | None = None) -> Call[Any]:
        """The value itself. Raises `StateKeyNotFound` when there is none and no default was given."""

        def parse(answer: Answer) -> Any:
            if answer.flag("exists", "found"):
                return answer.any("value")
            if default is _REQUIRED:
                raise StateKeyNotFound(f"no such key: {key}", answer.opcode, answer.fields)
            return default

        return Call(SyscallOp.SYS_FETCH, {"key": key, **without_none(scope=scope)}, parse, raises=True)

    @syscall
    def delete_key(self, key: str, *, scope: str | None = None) -> Call[DeleteResult]:
        """Deletes the key that `fetch` would find."""

        def parse(answer: Answer) -> DeleteResult:
            return answer.make(
                DeleteResult,
                success=answer.success,
                deleted=answer.flag("deleted"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_DELETE, {"key": key, **without_none(scope=scope)}, parse)

    @syscall
    def list_keys(
        self,
        prefix: str = "",
        *,
        scope: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Call[KeysResult]:
        """Keys the caller can read, sorted. When ``result["more"]`` is true, ask again with `after` = the last one."""
        request = {"prefix": prefix, **without_none(scope=scope, after=after, limit=limit)}

        def parse(answer: Answer) -> KeysResult:
            keys = answer.array("keys")
            return answer.make(
                KeysResult,
                success=answer.success,
                keys=keys,
                count=answer.integer("count", default=len(keys)),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_KEYS, request, parse)
