"""
Asks the stand, compares, and tells the oracle. It never loads what an agent wrote: that answers from another sandbox, and whatever
comes from there is data.
"""

import time

from cases import expected, tests
from clove_sdk import CloveClient, CloveError

#: Until the stand itself runs, on a busy machine. Seconds.
START_S = 40
#: How often a silent stand is looked after: one that is gone need not be waited for.
LOOK_S = 0.5


class NoAnswer(Exception):
    pass


class Stand:
    def __init__(self, clove, stand):
        self._clove = clove
        self._stand = stand
        self._number = 0

    def ask(self, body, timeout):
        self._number += 1
        self._send({"call": self._number, **body})
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            messages = self._clove.recv_messages(1, wait=True, timeout=min(left, LOOK_S)).messages
            if not messages:
                self._send({"call": self._number, "do": "nothing"})
            for received in messages:
                answer = received.message
                # Whose a message is, the kernel says; which call it answers is all that it may say itself.
                mine = received.from_agent == self._stand["id"] and isinstance(answer, dict)
                if mine and answer.get("call") == self._number:
                    return answer
        raise NoAnswer(f"no answer within {timeout} s")

    def _send(self, message):
        try:
            sent = self._clove.send_message(message, to=self._stand["id"])
        except CloveError as error:
            raise NoAnswer(f"the stand is gone: {error}") from error
        if not sent.success:
            raise NoAnswer(f"the stand is gone: {sent.error}")


def same(got, wanted):
    """By type, too: 1, 1.0 and true are three things."""
    if type(got) is not type(wanted):
        return False
    if isinstance(wanted, list):
        return len(got) == len(wanted) and all(same(a, b) for a, b in zip(got, wanted))
    if isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(same(got[key], wanted[key]) for key in wanted)
    return got == wanted


def judged(stand, seed, call_s):
    results = []
    lost = None
    try:
        stand.ask({"do": "wait"}, START_S)
        stand.ask({"do": "load"}, call_s)
    except NoAnswer as error:
        lost = str(error)
    for name, calls in tests(seed).items():
        # One that does not come back will not come back for the next question either.
        if lost is None:
            try:
                answer = stand.ask({"do": "call", "calls": [list(call) for call in calls]}, call_s)
                got = answer.get("results")
            except NoAnswer as error:
                lost = str(error)
        if lost is not None:
            results.append({"id": name, "passed": False, "observed": lost})
            continue
        wanted = [expected(*call) for call in calls]
        right = same(got, wanted)
        results.append({"id": name, "passed": right, "observed": "" if right else difference(calls, got, wanted)})
    return results


def difference(calls, got, wanted):
    if not isinstance(got, list) or len(got) != len(wanted):
        return str(got)[:300]
    for call, one, other in zip(calls, got, wanted):
        if not same(one, other):
            return f"allot{call}: {one}, not {other}"[:300]
    return "other types"


with CloveClient() as clove:
    for received in clove.messages():
        order = received.message
        given = order["input"]
        results = judged(Stand(clove, order["stand"]), given["seed"], given["callSeconds"])
        clove.send_message({"answer": order["ask"], "verdict": {"tests": results}}, to_name="oracle")
