"""What the interface needs beyond the SDK, told in one sentence where it is missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def need(module: str) -> ModuleType:
    """The module. Raises `ImportError` with what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = (
            f"clove_sdk.gym needs {package}, which cannot be imported ({error}): pip install 'clove-sdk[gym]'"
        )
        raise ImportError(message, name=package) from error
