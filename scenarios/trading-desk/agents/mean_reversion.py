"""Bets that what has strayed comes back: sells what is far above its mean, buys what is far below, and leaves at the mean."""

from collections import deque
from statistics import fmean, pstdev

from desk import run

STAKE = 12_000_000
LOOKS = 24
WARM_UP = 12
ENTER = 1.4
LEAVE = 0.2
#: Between the first and the last looks, in deviations: what goes somewhere does not come back.
TREND = 1.2
ENDS = 8
#: Farther than this it is no straying but news.
NEWS = 4.5


class MeanReversion:
    def __init__(self):
        self.seen = {}

    def __call__(self, desk):
        for symbol, quote in desk.quotes().items():
            middle = quote["middle"]
            seen = self.seen.setdefault(symbol, deque(maxlen=LOOKS))
            if len(seen) >= WARM_UP:
                self.decide(desk, symbol, middle, seen)
            seen.append(middle)

    def decide(self, desk, symbol, middle, seen):
        deviation = max(pstdev(seen), middle * 0.0004)
        strayed = (middle - fmean(seen)) / deviation
        looks = list(seen)
        trend = abs(fmean(looks[-ENDS:]) - fmean(looks[:ENDS])) / deviation
        held = desk.book.get(symbol, 0)
        whole = int(STAKE / middle)
        if abs(strayed) > NEWS:
            seen.clear()
            wanted = 0
        elif trend > TREND:
            wanted = 0
        elif abs(strayed) > ENTER:
            wanted = -whole if strayed > 0 else whole
        elif abs(strayed) < LEAVE or strayed * held > 0:
            wanted = 0
        else:
            wanted = held
        if abs(wanted - held) > whole / 4:
            desk.trade(symbol, wanted - held)


run("mean-reversion", MeanReversion())
