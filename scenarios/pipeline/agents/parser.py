"""Turns the words of a question into an operation and two numbers, and hands them on."""

import re

from clove_sdk import CloveClient

OPERATIONS = {"plus": "+", "minus": "-", "times": "*"}

with CloveClient() as clove:
    for received in clove.messages():
        question = received.message
        found = re.search(r"(\d+) (plus|minus|times) (\d+)", question["text"])
        task = {"id": question["id"], "hops": ["parser"]}
        if found is None:
            task["size"] = question["text"]
        else:
            task.update(a=int(found[1]), b=int(found[3]), operation=OPERATIONS[found[2]])
        clove.send_message(task, to_name="reasoner")
