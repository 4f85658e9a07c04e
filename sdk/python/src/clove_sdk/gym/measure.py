"""Steps per second: ``python -m clove_sdk.gym.measure clove/SocRespond-v0 --envs 8``, with a kernel that runs."""

from __future__ import annotations

import argparse
import sys
import time

import gymnasium

from . import TASKS, CloveVectorEnv


def steps_per_second(
    name: str, envs: int, seconds: float, socket_path: str | None = None
) -> tuple[float, float]:
    """Steps of all worlds together with random actions, and seconds of one reset in the mean."""
    vector = gymnasium.make_vec(
        name, num_envs=envs, vectorization_mode="vector_entry_point", socket_path=socket_path, kept_worlds=0
    )
    if not isinstance(vector.unwrapped, CloveVectorEnv):
        raise TypeError(f"{name} is not an environment of worlds")
    try:
        vector.action_space.seed(1)
        started = time.perf_counter()
        vector.reset(seed=1)
        reset_seconds = (time.perf_counter() - started) / envs
        count = 0
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            vector.step(vector.action_space.sample())
            count += envs
        return count / (time.perf_counter() - started), reset_seconds
    finally:
        vector.close()


def main() -> None:
    """Prints one line for each number of worlds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(TASKS))
    parser.add_argument("--envs", type=int, nargs="+", default=[1, 8], help="worlds at once")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--socket", help="of the kernel")
    options = parser.parse_args()
    for envs in options.envs:
        steps, reset = steps_per_second(options.name, envs, options.seconds, options.socket)
        sys.stdout.write(f"{options.name}  {envs} worlds  {steps:.0f} steps/s  reset {reset * 1000:.0f} ms\n")


if __name__ == "__main__":
    main()
