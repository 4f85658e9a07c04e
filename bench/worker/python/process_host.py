"""Main module of a plain child process: one order on standard input, one report on descriptor 3."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from execute import execute_order  # noqa: E402


def main():
    report = execute_order(json.load(sys.stdin), whole_process=True)
    data = json.dumps({**report, "logTail": ""}).encode()
    while data:
        data = data[os.write(3, data) :]
    os._exit(0 if report["end"] == "completed" else 1)


if __name__ == "__main__":
    main()
