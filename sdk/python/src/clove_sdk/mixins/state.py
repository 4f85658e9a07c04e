"""The shared store of JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._answer import Answer
from .._calls import Call, Caller, syscall, without_none
from ..exceptions import StateKeyNotFound, ValidationError
from ..models import DeleteResult, FetchResult, KeysResult, StateChange, StoreResult, SwapResult, WatchResult
from ..protocol import SyscallOp
from .agents import milliseconds

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
            return answer.make(
                StoreResult,
                success=answer.success,
                error=answer.error,
                version=answer.maybe_integer("version"),
            )

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
                version=answer.maybe_integer("version"),
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
    def compare_and_swap(
        self,
        key: str,
        value: Any,
        expected: Any = _REQUIRED,
        *,
        expected_version: int | None = None,
        scope: str = "global",
        ttl: float | None = None,
    ) -> Call[SwapResult]:
        """Stores a value if the key holds what is expected, in one step; tells what it holds now.

        `expected`: a value, compared as JSON. `expected_version`: that of a `fetch` in its place. Neither: no value.
        """
        wanted = {} if expected is _REQUIRED else {"expected": expected}
        request = {
            "key": key,
            "value": value,
            **wanted,
            **without_none(expected_version=expected_version),
            "scope": scope,
            **without_none(ttl=ttl),
        }

        def parse(answer: Answer) -> SwapResult:
            return answer.make(
                SwapResult,
                success=answer.success,
                swapped=answer.flag("swapped"),
                value=answer.any("value"),
                exists=answer.flag("exists"),
                version=answer.integer("version"),
                error=answer.error,
            )

        return Call(SyscallOp.SYS_CAS, request, parse)

    @syscall
    def watch_keys(
        self,
        keys: Sequence[str] | None = None,
        prefix: str | None = None,
        *,
        scope: str = "global",
        since_version: int | None = None,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Call[WatchResult]:
        """Waits for changes of these keys, or of all that begin with `prefix`; in their order, none left out.

        `since_version`: changes behind this one, such as that of a `fetch` or of the last answer; None = from now on.
        `timeout` in seconds; None = no limit.
        """
        if keys is None and prefix is None:
            raise ValidationError("watch_keys: keys or prefix required")
        request = without_none(
            keys=None if keys is None else list(keys),
            prefix=prefix,
            scope=scope,
            since_version=since_version,
            timeout_ms=None if timeout is None else milliseconds(timeout),
            limit=limit,
        )

        def parse(answer: Answer) -> WatchResult:
            changes = [_change(each) for each in answer.parts("changes")]
            return answer.make(
                WatchResult,
                success=answer.success,
                changes=changes,
                count=answer.integer("count", default=len(changes)),
                version=answer.integer("version"),
                resync=answer.flag("resync"),
                error=answer.error,
            )

        # The global scope is the same for every connection.
        return Call(
            SyscallOp.SYS_WATCH,
            request,
            parse,
            extra_time=timeout,
            long=True,
            impersonal=scope == "global" and self._session.world is None,
        )

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


def _change(answer: Answer) -> StateChange:
    return answer.make(
        StateChange,
        key=answer.text("key"),
        version=answer.integer("version"),
        deleted=answer.flag("deleted"),
        value=answer.any("value"),
        previous_value=answer.any("previous_value"),
        agent_id=answer.integer("agent_id"),
    )
