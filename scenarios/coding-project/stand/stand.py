"""
Runs what an agent wrote, for the judge. It knows calls, no answers: what the agent's code does in here can change only what it says
itself.
"""

import importlib
import sys

from clove_sdk import CloveClient

WORK = "/artifact"


def outcome(function, arguments):
    try:
        return {"result": function(*arguments)}
    except Exception as error:
        return {"raised": type(error).__name__}


with CloveClient() as clove:
    module = None
    for received in clove.messages():
        order = received.message
        if order["do"] == "nothing":
            continue
        answer = {"call": order["call"]}
        if order["do"] == "load":
            sys.path.insert(0, WORK)
            sys.dont_write_bytecode = True
            try:
                module = importlib.import_module("allot")
            except Exception as error:
                answer["raised"] = type(error).__name__
        elif order["do"] == "call":
            function = getattr(module, "allot", None)
            answer["results"] = [outcome(function, call) for call in order["calls"]]
        clove.send_message(answer, to_name="judge")
