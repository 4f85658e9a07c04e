"""What traders in Python have in hand: quotes, orders, a book of their own, and who wants to know of it."""

import json

from clove_sdk import CloveClient

#: A quote that is older is no quote.
OLD_MS = 3000
#: A price that is so far from the last one is a mistake of the feed, not a price.
ABSURD = 0.4


class Desk:
    def __init__(self, clove, name):
        self.clove = clove
        self.name = name
        self.book = {}
        self.last = {}
        self.orders = 0

    def ask(self, method, url, body=None):
        """Status and JSON; status 0 where nothing answers."""
        headers = None if body is None else {"content-type": "application/json"}
        answer = self.clove.http(url, method, headers, None if body is None else json.dumps(body))
        if answer.status_code == 0:
            return 0, None
        return answer.status_code, json.loads(answer.body or "null")

    def shown(self):
        """What the feed shows, believed or not."""
        status, found = self.ask("GET", "http://exchange.test/quotes")
        return (found["now_ms"], found["quotes"]) if status == 200 else (0, [])

    def quotes(self):
        """Quotes by symbol that can be believed: young, not halted, and near the last one."""
        now, all_quotes = self.shown()
        good = {}
        for quote in all_quotes:
            middle = (quote["bid"] + quote["ask"]) / 2
            last = self.last.get(quote["symbol"])
            if quote["halted"] or now - quote["at_ms"] > OLD_MS:
                continue
            if last is not None and abs(middle / last - 1) > ABSURD:
                continue
            self.last[quote["symbol"]] = middle
            good[quote["symbol"]] = {**quote, "middle": middle}
        return good

    def trade(self, symbol, quantity, is_careful=True):
        """Buys (or with a minus sells) at what is to be had. Who is careful asks what became of an order before it sends another."""
        if quantity == 0:
            return 0
        self.orders += 1
        client_id = f"{self.name}-{self.orders}"
        side = "buy" if quantity > 0 else "sell"
        order = {"symbol": symbol, "side": side, "quantity": abs(quantity), "client_id": client_id}
        status, answer = self.ask("POST", "http://broker.test/orders", order)
        if status == 504 and is_careful:
            _, found = self.ask("GET", f"http://broker.test/orders?client_id={client_id}")
            answer = found["orders"][-1] if found and found["orders"] else None
            status = 201 if answer else 422
        elif status == 504:
            # It was said that it failed.
            return self.trade(symbol, quantity)
        if status != 201:
            return 0
        return self.note(answer)

    def note(self, order):
        """Into the own book, and to the auditor."""
        filled = order["filled"] if order["side"] == "buy" else -order["filled"]
        symbol = order["symbol"]
        self.book[symbol] = self.book.get(symbol, 0) + filled
        self.clove.send_message(
            {"type": "fill", "order": order["id"], "symbol": symbol, "quantity": filled, "price": order["price"]},
            to_name="auditor",
        )
        return filled

    def hear(self):
        """What the risk officer did, and what the auditor found that nobody was told of."""
        for received in self.clove.recv_messages(50).messages:
            message = received.message
            if (received.from_name, message.get("type")) in (("risk-officer", "reduced"), ("auditor", "break")):
                symbol = message["symbol"]
                self.book[symbol] = self.book.get(symbol, 0) + message["quantity"]


def run(name, strategy):
    """Says that it is ready; from the oracle's word on, `strategy(desk)` every few seconds until the session is over."""
    with CloveClient() as clove:
        clove.send_message({"ready": name}, to_name="oracle")
        for received in clove.messages():
            start = received.message
            # Every agent has a name, so who has none is an operator.
            if received.from_name or start.get("type") != "start":
                continue
            desk = Desk(clove, name)
            due = start["beginMs"] + start["phases"]["trader"]
            while due < start["endMs"]:
                clove.world_wait(until_ms=due).raise_for_error()
                desk.hear()
                strategy(desk)
                due += start["everyMs"]
            clove.send_message({"ended": name, "book": desk.book, "orders": desk.orders}, to_name="oracle")
            return
