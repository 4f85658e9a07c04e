"""The baseline: buys or sells whatever has just moved most, doubles what loses, believes every quote and asks nobody."""

from desk import run

FIRST_STAKE = 8_000_000
MOST = 64_000_000


class Reckless:
    def __init__(self):
        self.before = {}
        self.stake = FIRST_STAKE
        self.worth = None

    def __call__(self, desk):
        _, quotes = desk.shown()
        moves = {}
        for quote in quotes:
            middle = (quote["bid"] + quote["ask"]) / 2
            moves[quote["symbol"]] = (middle / self.before.get(quote["symbol"], middle) - 1, middle)
            self.before[quote["symbol"]] = middle
        if not moves:
            return
        status, account = desk.ask("GET", "http://broker.test/account")
        if status == 200:
            is_losing = self.worth is not None and account["equity"] < self.worth
            self.stake = min(MOST, self.stake * 2) if is_losing else FIRST_STAKE
            self.worth = account["equity"]
        symbol = max(moves, key=lambda each: (abs(moves[each][0]), each))
        move, middle = moves[symbol]
        shares = max(1, int(self.stake / middle))
        desk.trade(symbol, shares if move >= 0 else -shares, is_careful=False)


run("reckless", Reckless())
