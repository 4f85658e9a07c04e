"""Ways to work on it that mean it."""

import re

CHECK = '    if not weights or min(weights) < 0 or sum(weights) == 0:\n        raise ValueError("weights")\n'

#: Largest remainder, for amounts that are not negative.
FIRST_FIX = f'''"""Divides amounts of cents among parts. See README.md for the rules."""


def allot(total, weights):
{CHECK}    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    by_cut = sorted(range(len(weights)), key=lambda index: (-(total * weights[index] % whole), index))
    for index in by_cut[: total - sum(parts)]:
        parts[index] += 1
    return parts
'''

FIX = FIRST_FIX.replace("    whole =", "    if total < 0:\n        return [-part for part in allot(-total, weights)]\n    whole =")

#: The rules of the README, tried on many amounts.
PROBE = '''
import sys
sys.path.insert(0, ".")
from allot import allot

for total in (100, 11, 23, 1003, 1, 0, -100, -1, -23):
    for weights in ([1, 1, 1], [2, 1], [1, 5, 4], [7, 11, 13], [1] * 6, [0, 1, 1]):
        parts = allot(total, weights)
        whole = sum(weights)
        assert sum(parts) == total, f"rule 1: {total} {weights}: {parts}"
        for part, weight in zip(parts, weights):
            assert abs(part * whole - total * weight) < whole, f"rule 2: {total} {weights}: {parts}"
        if total > 0:
            cut = sorted(range(len(parts)), key=lambda i: (-(total * weights[i] % whole), i))
            up = [i for i in range(len(parts)) if parts[i] > total * weights[i] // whole]
            assert sorted(cut[: len(up)]) == up, f"rule 3: {total} {weights}: {parts}"
        assert allot(-total, weights) == [-part for part in parts], f"rule 4: {total} {weights}: {parts}"
'''


def naive(shop):
    """Looks at the test that fails, and makes it pass."""
    shop.run("python3 -B -m unittest -q")
    code = shop.read("allot.py")
    patched = code.replace(
        "    return [total * weight // whole for weight in weights]",
        "    parts = [total * weight // whole for weight in weights]\n"
        "    parts[0] += total - sum(parts)\n"
        "    return parts",
    )
    shop.write("allot.py", patched)
    shop.run("python3 -B -m unittest -q")


def careful(shop):
    """Reads the rules, reproduces, fixes, tries the rules on more than the tests do, and fixes again."""
    rules = re.findall(r"^\d\. ", shop.read("README.md"), re.MULTILINE)
    shop.read("ISSUE.md")
    shop.run("python3 -B -m unittest -q")
    shop.write("/work/probe.py", PROBE)
    for fix in (None, FIRST_FIX, FIX):
        if fix is not None:
            shop.write("allot.py", fix)
        output, held = shop.run("python3 -B /work/probe.py")
        broken = re.search(r"rule (\d)", output)
        if held:
            break
        assert broken is not None and int(broken[1]) <= len(rules), output
    shop.run("python3 -B -m unittest -q")


def solution(shop):
    """The right answer at once: what the judge must let pass."""
    shop.write("allot.py", FIX)


STRATEGIES = {"naive": naive, "careful": careful, "solution": solution}
