"""Works every result out once more, by another way, and tells the oracle."""

from clove_sdk import CloveClient


def again(a, b, operation):
    if operation == "+":
        return b + a
    if operation == "-":
        return -(b - a)
    return sum(a for _ in range(b))


with CloveClient() as clove:
    for received in clove.messages():
        claim = received.message
        known = claim.get("operation") is not None
        clove.send_message(
            {
                "id": claim["id"],
                "result": claim["result"],
                "verified": known and again(claim["a"], claim["b"], claim["operation"]) == claim["result"],
                "hops": [*claim["hops"], "verifier"],
            },
            to_name="oracle",
        )
