"""The baseline: whatever fails is started anew, the worst first. Helps where starting anew helps."""

from on_call import serve

FAILING = 0.02
ROUNDS = 2


def handle(on_call, incident, _opened_ms):
    for _ in range(ROUNDS):
        restarted = set()
        while on_call.is_open(incident):
            ailing = [
                each
                for each in on_call.components().values()
                if each["error_rate"] > FAILING and each["name"] not in restarted and each["name"] != "acquirer"
            ]
            if not ailing:
                break
            worst = max(ailing, key=lambda each: (each["error_rate"], each["name"]))["name"]
            restarted.add(worst)
            on_call.say(incident, cause="process_hung", component=worst, note="restart")
            on_call.act(worst, "restart")
            on_call.sleep(60)
            if on_call.stays_well(60):
                on_call.say(incident, status="resolved")
                return


serve("restarter", handle)
