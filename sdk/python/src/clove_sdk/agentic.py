"""A loop in which a model works on a task with tools."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .client import CloveClient

_TOOL_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_NUDGE = 'Call a tool, or call "done" with the result when the task is finished.'


@dataclass
class Tool:
    name: str
    description: str
    #: JSON Schema of the arguments.
    parameters: dict[str, Any]
    #: From the arguments to what the model is told.
    handler: Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass
class ToolCall:
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class AgentResult:
    success: bool
    #: What the model gave to "done"; None when it never did.
    result: Any
    #: Times the model was asked.
    iterations: int
    error: str | None = None


class AgenticLoop:
    """Asks the model, runs the tools it calls, tells it what came out, until it calls ``done``."""

    def __init__(
        self,
        client: CloveClient,
        max_iterations: int = 20,
        system_prompt: str | None = None,
        verbose: bool = True,
    ) -> None:
        self.client = client
        self.max_iterations = max_iterations
        self.verbose = verbose
        self.tools: dict[str, Tool] = {}
        #: ``{"role": "user" | "assistant" | "tool", "content": text}``, oldest first.
        self.conversation_history: list[dict[str, str]] = []
        for tool in _standard_tools(client):
            self.add_tool(tool)
        self._system_prompt = system_prompt

    @property
    def system_prompt(self) -> str:
        """What the model is told first: the one given, or a description of the tools."""
        return _describe(self.tools.values()) if self._system_prompt is None else self._system_prompt

    @system_prompt.setter
    def system_prompt(self, text: str | None) -> None:
        self._system_prompt = text

    def add_tool(self, tool: Tool) -> None:
        """Replaces one of the same name."""
        self.tools[tool.name] = tool

    def remove_tool(self, name: str) -> None:
        self.tools.pop(name, None)

    def run(self, task: str) -> AgentResult:
        """Never raises for what the model or a tool does wrong: the model is told, or the result says it."""
        self.conversation_history = [{"role": "user", "content": task}]
        for iteration in range(1, self.max_iterations + 1):
            answer = self.client.think(self._prompt(), system_instruction=self.system_prompt)
            if not answer.get("success"):
                return AgentResult(False, None, iteration, str(answer.get("error") or "the model failed"))
            reply = str(answer.get("content", ""))
            self._remember("assistant", reply)
            calls = _parse_calls(reply)
            if not calls:
                self._remember("user", _NUDGE)
            for call in calls:
                if isinstance(call, str):
                    told: dict[str, Any] = {"success": False, "error": call}
                elif call.name == "done":
                    return AgentResult(True, call.arguments.get("result"), iteration)
                else:
                    told = self._use(call)
                self._remember("tool", json.dumps(told, default=str, ensure_ascii=False))
        return AgentResult(
            False, None, self.max_iterations, f"max iterations ({self.max_iterations}) reached"
        )

    def _use(self, call: ToolCall) -> dict[str, Any]:
        tool = self.tools.get(call.name)
        if tool is None:
            return {"success": False, "error": f"no tool {call.name!r}; there are {', '.join(self.tools)}"}
        try:
            return dict(tool.handler(call.arguments))
        except Exception as error:  # noqa: BLE001 - whatever a tool raises, the model should hear of it
            return {"success": False, "error": f"{type(error).__name__}: {error}"}

    def _prompt(self) -> str:
        return "\n\n".join(
            f"{entry['role'].capitalize()}: {entry['content']}" for entry in self.conversation_history
        )

    def _remember(self, role: str, content: str) -> None:
        self.conversation_history.append({"role": role, "content": content})
        if self.verbose:
            print(f"[{role}] {content}")  # noqa: T201 - that is what verbose asks for


def run_task(
    task: str, socket_path: str | None = None, max_iterations: int = 20, verbose: bool = True
) -> AgentResult:
    """Connects, runs one task with the standard tools, disconnects. Raises `ConnectionError`."""
    with CloveClient(socket_path) as client:
        return AgenticLoop(client, max_iterations, verbose=verbose).run(task)


def _parse_calls(reply: str) -> list[ToolCall | str]:
    """Text in place of a call says what is wrong with it."""
    calls: list[ToolCall | str] = []
    for text in _TOOL_CALL.findall(reply):
        try:
            parsed = json.loads(text)
        except ValueError as error:
            calls.append(f"tool call is not JSON: {error}")
            continue
        name = parsed.get("name") if isinstance(parsed, dict) else None
        arguments = parsed.get("arguments", {}) if isinstance(parsed, dict) else None
        if isinstance(name, str) and isinstance(arguments, dict):
            calls.append(ToolCall(name, arguments))
        else:
            calls.append('a tool call is {"name": text, "arguments": object}')
    return calls


def _describe(tools: Any) -> str:
    listed = "\n".join(
        f"- {tool.name}: {tool.description} Arguments: {json.dumps(tool.parameters)}" for tool in tools
    )
    return (
        "You work on a task step by step with these tools:\n"
        f"{listed}\n\n"
        "Call a tool like this, one JSON object between the tags:\n"
        '<tool_call>{"name": "exec", "arguments": {"command": "ls"}}</tool_call>\n'
        'When the task is finished, call "done" with the result.'
    )


def _standard_tools(client: CloveClient) -> list[Tool]:
    def run(arguments: dict[str, Any]) -> dict[str, Any]:
        result = client.exec(arguments["command"], cwd=arguments.get("cwd"))
        refused = {} if result.error is None else {"error": result.error}
        output = result.stdout + result.stderr
        return {"success": result.success, "output": output, "exit_code": result.exit_code, **refused}

    def read(arguments: dict[str, Any]) -> dict[str, Any]:
        file = client.read_file(arguments["path"])
        if not file.success:
            return {"success": False, "error": file.error}
        return {"success": True, "content": file.content, "size": file.size}

    def write(arguments: dict[str, Any]) -> dict[str, Any]:
        mode = arguments.get("mode", "write")
        result = client.write_file(arguments["path"], arguments["content"], mode)
        if not result.success:
            return {"success": False, "error": result.error}
        return {"success": True, "bytes_written": result.bytes_written}

    def done(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"completed": True, "result": arguments.get("result")}

    text = {"type": "string"}
    return [
        Tool("exec", "Runs a shell command.", _schema({"command": text, "cwd": text}, "command"), run),
        Tool("read_file", "Reads a text file.", _schema({"path": text}, "path"), read),
        Tool(
            "write_file",
            "Writes a text file.",
            _schema(
                {"path": text, "content": text, "mode": {"type": "string", "enum": ["write", "append"]}},
                "path",
                "content",
            ),
            write,
        ),
        Tool("done", "Ends the task with its result.", _schema({"result": text}, "result"), done),
    ]


def _schema(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}
