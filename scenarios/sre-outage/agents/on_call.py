"""What responders in Python have in hand: the platform's services, the world's time, and the pager."""

import json

from clove_sdk import CloveClient


class OnCall:
    def __init__(self, clove, name):
        self.clove = clove
        self.name = name
        #: Whether the fleet has a model, and its word counts.
        self.has_model = False

    def ask(self, method, url, body=None):
        """JSON of a service; None where it refuses or cannot be reached."""
        headers = None if body is None else {"content-type": "application/json"}
        answer = self.clove.http(url, method, headers, None if body is None else json.dumps(body))
        if not answer.success or answer.status_code >= 400:
            return None
        return json.loads(answer.body or "null")

    def get(self, url):
        return self.ask("GET", url)

    def sleep(self, seconds):
        self.clove.world_wait(ms=seconds * 1000).raise_for_error()

    def components(self):
        found = self.get("http://metrics.sre/components")
        return {} if found is None else {each["name"]: each for each in found["components"]}

    def is_promised(self):
        slo = self.get("http://metrics.sre/slo")
        return slo is not None and slo["promised"]

    def stays_well(self, seconds, every=20):
        """Whether customers get what they were promised, and go on to for so long."""
        for _ in range(0, seconds, every):
            self.sleep(every)
            if not self.is_promised():
                return False
        return True

    def act(self, component, action):
        self.ask("POST", f"http://cluster.sre/components/{component}/{action}")

    def is_open(self, incident):
        found = self.get(f"http://pager.sre/incidents/{incident}")
        return found is not None and found["status"] == "triggered"

    def say(self, incident, **what):
        self.ask("PATCH", f"http://pager.sre/incidents/{incident}", what)


def serve(name, handle):
    """Says that it is ready; then every page of the watcher is handled, one after the other."""
    with CloveClient() as clove:
        on_call = OnCall(clove, name)
        clove.send_message({"ready": name}, to_name="oracle")
        for received in clove.messages():
            message = received.message
            # Every agent has a name, so who has none is an operator.
            if not received.from_name and message.get("type") == "model":
                on_call.has_model = True
            elif received.from_name == "watcher" and message.get("type") == "page":
                # Beside the watcher's own looks: whoever asks at the same instant is answered in whatever order.
                on_call.sleep(0.007)
                handle(on_call, message["incident"], message["openedMs"])
