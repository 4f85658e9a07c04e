"""An attempt as an agent under the kernel: one order on standard input, the report as a message to whoever spawned it."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from execute import execute_order  # noqa: E402


def main():
    report = execute_order(json.load(sys.stdin), whole_process=True)
    # Loaded after the trial: nothing of it is needed before.
    from clove_sdk import CloveClient

    with CloveClient(raise_errors=True) as clove:
        clove.send_message({**report, "logTail": ""}, to_name="parent")
    # Nothing is worth waiting for: not the interpreter's clearing up either.
    sys.stderr.flush()
    os._exit(0 if report["end"] == "completed" else 1)


if __name__ == "__main__":
    main()
