"""The hidden tests: calls and what must come of them. Nothing of it is ever where the work of an agent runs."""

import random
from fractions import Fraction


def expected(total, weights):
    """By exact fractions, unlike anything an agent would write."""
    if not weights or min(weights) < 0 or sum(weights) == 0:
        return {"raised": "ValueError"}
    sign, amount = (-1, -total) if total < 0 else (1, total)
    shares = [Fraction(amount * weight, sum(weights)) for weight in weights]
    parts = [int(share) for share in shares]
    by_cut = sorted(range(len(parts)), key=lambda index: (parts[index] - shares[index], index))
    for index in by_cut[: amount - sum(parts)]:
        parts[index] += 1
    return {"result": [sign * part for part in parts]}


FIXED = {
    "even": [(90, [1, 1, 1]), (0, [3, 1]), (7, [5])],
    "visible": [(100, [1, 1, 1]), (10, [1, 0, 1]), (10, [])],
    "several-left-over": [(11, [1, 1, 1, 1]), (23, [1] * 6), (1003, [7, 11, 13])],
    "largest-remainder": [(10, [1, 5, 4]), (101, [1, 2, 98]), (1000, [333, 334, 334])],
    "no-weight-no-cents": [(1, [0, 1, 1]), (5, [0, 0, 3, 3]), (-1, [0, 1, 1])],
    "discounts": [(-100, [1, 1, 1]), (-1, [2, 1]), (-11, [1, 1, 1, 1])],
    "errors": [(10, [0, 0]), (10, [2, -1]), (0, [])],
}


def tests(seed):
    """By id: calls as [total, weights]. Drawn from the seed of the trial, beside the fixed ones."""
    draw = random.Random(seed)
    drawn = {
        f"drawn-{sign}": [
            (factor * draw.randint(0, 100_000), [draw.randint(0, 50) for _ in range(draw.randint(1, 12))] + [1])
            for _ in range(40)
        ]
        for sign, factor in (("positive", 1), ("negative", -1))
    }
    return {**FIXED, **drawn}
