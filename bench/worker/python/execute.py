"""Executes one attempt of a trial in Python: the counterpart of execute.ts, with the same orders and reports."""

import importlib.util
import os
import resource
import sys
import time
import traceback

LOG_TAIL_CHARACTERS = 8192
LEAK_STEP_BYTES = 16 * 1024 * 1024


def monotonic_ms():
    """CLOCK_MONOTONIC in ms: the same clock in every process of the machine."""
    return time.clock_gettime(time.CLOCK_MONOTONIC) * 1000


def load(path):
    """The module of the scenario's worker, by its file; loaded once per process."""
    name = "clove_trial_worker"
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == path:
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def log_to_stderr(line):
    os.write(2, (line + "\n").encode())


def inject(fault, leak_cap_bytes, log):
    """A real fault, in this process. Returns only after a leak that nothing stopped."""
    log(f"fault injection: {fault['kind']} {fault['moment']} the computation")
    if fault["kind"] == "crash":
        os.abort()
    while fault["kind"] == "hang":
        pass
    held = []
    while len(held) * LEAK_STEP_BYTES < leak_cap_bytes:
        held.append(b"\1" * LEAK_STEP_BYTES)
    log(f"fault injection: nothing stopped the leak at {leak_cap_bytes} bytes ({len(held)} blocks); going on")


def execute_order(order, whole_process, announce=None):
    """Never raises: what the trial raises is in the report. Does not return when a fault ends the process."""
    tail = []

    def log(line):
        log_to_stderr(line)
        tail.append(line + "\n")

    def meet_fault(moment):
        fault = order["fault"]
        if fault is None or fault["moment"] != moment:
            return
        if announce is not None:
            announce()
        inject(fault, order["leakCapBytes"], log)

    cpu_before = 0.0 if whole_process else time.process_time()
    entered = monotonic_ms()
    end, result, error = "completed", None, None
    try:
        module = load(order["worker"])
        entered = monotonic_ms()
        meet_fault("before")
        result = module.run(order["trial"], order["attempt"], log)
        meet_fault("after")
    except Exception as raised:  # noqa: BLE001
        end = "error"
        result = None
        error = {"code": "TRIAL_FAILED", "message": f"{type(raised).__name__}: {raised}"[:2000]}
        log(traceback.format_exc())
    left = monotonic_ms()
    return {
        "end": end,
        "result": result,
        "error": error,
        "enteredAtMs": entered,
        "computeMs": left - entered,
        "cpuMs": (time.process_time() - cpu_before) * 1000,
        "maxRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "logTail": "".join(tail)[-LOG_TAIL_CHARACTERS:],
    }
