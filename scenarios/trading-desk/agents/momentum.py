"""Follows what moves: long where the short average is above the long one, short where it is below."""

from desk import run

#: Of a paper, in cents: less than the desk allows.
STAKE = 12_000_000
FAST = 0.12
SLOW = 0.03
#: Looks before anything is believed.
WARM_UP = 16
#: What the averages have to differ by, as a share.
ENTER = 0.002
LEAVE = 0.0002


class Momentum:
    def __init__(self):
        self.averages = {}

    def __call__(self, desk):
        for symbol, quote in desk.quotes().items():
            middle = quote["middle"]
            fast, slow, looks = self.averages.get(symbol, (middle, middle, 0))
            fast += FAST * (middle - fast)
            slow += SLOW * (middle - slow)
            self.averages[symbol] = (fast, slow, looks + 1)
            if looks < WARM_UP:
                continue
            held = desk.book.get(symbol, 0)
            signal = fast / slow - 1
            whole = int(STAKE / middle)
            if abs(signal) > ENTER:
                wanted = whole if signal > 0 else -whole
            elif abs(signal) < LEAVE or signal * held < 0:
                wanted = 0
            else:
                wanted = held
            # Small corrections cost more than they bring.
            if abs(wanted - held) > whole / 4:
                desk.trade(symbol, wanted - held)


run("momentum", Momentum())
