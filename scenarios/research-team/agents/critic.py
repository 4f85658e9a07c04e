"""Vouches for statements: what the registry knows and has not retracted, with figures that can be, of somebody's own.

What a paper only passes on is as good as the paper whose word it is.
"""

import json

from clove_sdk import CloveClient, CloveError

TRIES = 5
PAUSE_MS = 2000
#: The counts and the percentage of a paper may differ by how it was rounded.
ROUNDING = 0.11


class Critic:
    def __init__(self, clove):
        self.clove = clove
        self.standing = {}
        self.vouched = set()
        self.passed_on = []
        self.unread = 0

    def is_published(self, paper, until_ms):
        """Whether the registry knows a paper, and has not retracted it. None: it could not be asked."""
        if paper not in self.standing:
            self.standing[paper] = self.ask(paper, until_ms)
        return self.standing[paper]

    def ask(self, paper, until_ms):
        attempts = 0
        while attempts < TRIES:
            now_ms = self.clove.world_wait(ms=0)["monotonic_ms"]
            if now_ms >= until_ms:
                break
            attempts += 1
            pause_ms = PAUSE_MS
            try:
                answer = self.clove.http(f"http://registry.lib/works/{paper}")
            except CloveError:
                answer = None
            status = 0 if answer is None else answer.status_code
            if status == 404:
                return False
            if status == 402:
                break
            if status == 429:
                attempts -= 1
                pause_ms = 1000 * float(answer.headers.get("retry-after", 2))
            if status == 200:
                try:
                    return json.loads(answer.body)["status"] == "published"
                except ValueError:
                    pass
            self.clove.world_wait(until_ms=min(until_ms, now_ms + pause_ms))
        self.unread += 1
        return None

    def hear(self, statement, until_ms):
        """The statement where it can be vouched for, else None; what is passed on waits until everything is read."""
        if statement["restsOn"] is not None:
            self.passed_on.append(statement)
            return None
        figures = statement["figures"]
        share = 100 * figures["responded"] / figures["people"]
        if abs(share - figures["percent"]) > ROUNDING or not self.is_published(statement["paper"], until_ms):
            return None
        self.vouched.add(key(statement, statement["paper"]))
        return statement

    def conclude(self, until_ms):
        """What is passed on from papers that were vouched for, by papers that are published themselves."""
        return [
            each
            for each in self.passed_on
            if key(each, each["restsOn"]) in self.vouched and self.is_published(each["paper"], until_ms)
        ]


def key(statement, paper):
    return (paper, statement["substance"], statement["outcome"], statement["effect"])


with CloveClient() as clove:
    critic = Critic(clove)
    start = None
    done = set()
    clove.send_message({"ready": "critic"}, to_name="oracle")
    for received in clove.messages():
        said = received.message
        if said["type"] == "start":
            start = said
        elif said["type"] == "read":
            good = [each for each in said["statements"] if critic.hear(each, start["untilMs"])]
            if good:
                clove.send_message({"type": "read", "statements": good}, to_name="synthesiser")
        else:
            done.add(received.from_name)
            critic.unread += said["unread"]
        if start is not None and len(done) == len(start["topics"]):
            good = critic.conclude(start["untilMs"])
            if good:
                clove.send_message({"type": "read", "statements": good}, to_name="synthesiser")
            clove.send_message({"type": "done", "unread": critic.unread}, to_name="synthesiser")
            done.clear()
