"""Divides amounts of cents among parts. See README.md for the rules."""


def allot(total, weights):
    if not weights or min(weights) < 0 or sum(weights) == 0:
        raise ValueError("weights")
    whole = sum(weights)
    return [total * weight // whole for weight in weights]
