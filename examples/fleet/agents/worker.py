"""Squares numbers, and answers the pings of its health check."""

from clove_sdk import CloveClient

with CloveClient() as clove:
    clove.notify(True)
    for received in clove.messages():
        message = received.message
        if message.get("type") == "clove.ping":
            clove.notify(pong=message["nonce"])
        elif message.get("type") == "job":
            square = message["number"] ** 2
            clove.send_message({"type": "result", "number": square}, to_name="store")
