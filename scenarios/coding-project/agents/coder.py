"""Gets a repository and a strategy, works on it, says that it is done, and stays: its work is taken while it is there."""

import honest
import importlib

from clove_sdk import CloveClient
from workshop import Workshop

with CloveClient() as clove:
    for received in clove.messages():
        order = received.message
        shop = Workshop(clove, order["files"])
        name = order["agent"]
        strategy = honest.STRATEGIES.get(name) or importlib.import_module("cheats").STRATEGIES[name]
        strategy(shop)
        clove.send_message({"answer": order["ask"], "claims": shop.passes()}, to_name="oracle")
