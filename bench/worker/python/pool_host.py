"""
Main module of the one process whose pool (concurrent.futures) runs trials side by side: `pool_host.py PROCESSES MODULES`.
Orders and reports are lines of JSON over the channel that Node opens for its children. A worker that dies breaks the whole
pool: the host then ends, and whoever started it knows what was in it.
"""

import importlib
import json
import multiprocessing
import os
import socket
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from execute import execute_order  # noqa: E402

ANNOUNCEMENTS = 3
BROKEN_STATUS = 70


def run_order(number, order):
    return execute_order(
        order, whole_process=False, announce=lambda: os.write(ANNOUNCEMENTS, f"{number}\n".encode())
    )


def main():
    processes, modules = int(sys.argv[1]), sys.argv[2:]
    for name in modules:
        importlib.import_module(name)
    # The pool's processes are not to answer on it.
    channel = socket.socket(fileno=int(os.environ.pop("NODE_CHANNEL_FD")))
    channel.set_inheritable(False)
    lock = threading.Lock()

    def send(message):
        data = (json.dumps(message) + "\n").encode()
        with lock:
            channel.sendall(data)

    # Forked: what is loaded here is loaded there.
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork"))

    def answer(number, future):
        try:
            send({"kind": "report", "id": number, "report": future.result()})
        except BrokenProcessPool:
            os._exit(BROKEN_STATUS)
        except Exception as error:  # noqa: BLE001
            problem = {"code": "TRIAL_FAILED", "message": f"{type(error).__name__}: {error}"}
            send({"kind": "lost", "id": number, "aborted": False, "error": problem})

    send({"kind": "ready"})
    for line in channel.makefile("rb"):
        message = json.loads(line)
        if message.get("kind") != "run":
            continue
        number = message["id"]
        try:
            future = pool.submit(run_order, number, message["order"])
        except BrokenProcessPool:
            os._exit(BROKEN_STATUS)
        future.add_done_callback(lambda done, number=number: answer(number, done))
    os._exit(0)


if __name__ == "__main__":
    main()
