"""Worlds as environments, held to the checkers of Gymnasium and PettingZoo, against a real kernel."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from pettingzoo.test import parallel_api_test, parallel_seed_test  # type: ignore[import-untyped]

import clove_sdk.gym
from clove_sdk import CloveClient
from clove_sdk.gym import (
    CloveEnv,
    CloveParallelEnv,
    CloveVectorEnv,
    DeclaredTask,
    Event,
    Feature,
    Request,
    Reward,
    SocTask,
    SocTeamTask,
    SreTask,
    WorldOrder,
    elapsed,
    event,
    file,
    http,
    state,
)
from clove_sdk.gym.envs import sre

SHORT: dict[str, Any] = {"step_s": 60, "horizon_s": 600}


@pytest.fixture(autouse=True)
def _nothing_stays(socket_path: str) -> Iterator[None]:
    """Whatever an environment has made is gone when it is closed."""
    with CloveClient(socket_path) as clove:
        before = {world.id for world in clove.world_list().worlds}
        yield
        assert {world.id for world in clove.world_list().worlds} <= before


def shelf_task() -> DeclaredTask:
    """A shop whose shelf empties: what is there is on a service, in a file, and in the shared state."""
    stock = {"host": "shop.test", "collections": {"orders": []}, "delay_ms": 250}
    config = {
        "services": {"shop": stock},
        "files": {"initial": {"/var/sold": "0", "/var/log/shop.log": ""}},
        "state": {"price": 3},
        "schedule": [
            {
                "every": 60_000,
                "times": 5,
                "append": {"path": "/var/log/shop.log", "content": "{{time}} SOLD\n"},
            },
            {"at": 150_000, "write": {"path": "/var/sold", "content": "2"}},
            {"at": 150_000, "store": {"key": "price", "value": 5}},
            {"at": 200_000, "event": "http_failure", "params": {"url": "http://shop.test/*"}, "for": 60_000},
        ],
    }
    return DeclaredTask(
        "gym-shelf",
        lambda seed: WorldOrder(config=config),
        step_s=60,
        horizon_s=300,
        sees={
            "ordered": Feature(http("http://shop.test/orders", "#"), 0, 10, missing=-0.0),
            "open": Feature(http("http://shop.test/orders", "0.state", equals="open"), missing=0),
            "sold": Feature(file("/var/sold"), 0, 100),
            "lines": Feature(file("/var/log/shop.log", count="SOLD"), 0, 100, delta=True),
            "price": Feature(state("price"), 0, 4),
            "failing": Feature(event("http_failure")),
            "time": Feature(elapsed),
        },
        actions={
            "wait": [],
            "order": [Request("POST", "http://shop.test/orders", {"state": "open"})],
            "break": [Event("http_failure", {"url": "http://shop.test/*", "duration_ms": 1000})],
            "lose": [Request("GET", "http://nowhere.test/")],
        },
        rewards={"orders": Reward(http("http://shop.test/orders", "#"), 2.0, delta=True)},
        costs={"order": 0.5},
    )


def trajectory(env: Any, seed: int, actions: list[Any]) -> list[Any]:
    seen: list[Any] = [env.reset(seed=seed)]
    seen += [env.step(action) for action in actions]
    return seen


def soc_actions(count: int, seed: int = 3) -> list[Any]:
    space = SocTask().roles["defender"].action_space
    space.seed(seed)
    return [space.sample() for _ in range(count)]


@pytest.mark.parametrize("name", sorted(clove_sdk.gym.TASKS))
def test_gymnasium_checks_what_is_ready(name: str, socket_path: str) -> None:
    env = gymnasium.make(name, socket_path=socket_path, **SHORT)
    assert env.spec is not None
    assert env.spec.id == name
    check_env(env.unwrapped)
    env.close()


def test_gymnasium_checks_what_is_declared(socket_path: str) -> None:
    with pytest.warns(UserWarning, match="not having a spec"):
        check_env(CloveEnv(shelf_task(), socket_path=socket_path))


def test_the_same_seed_gives_the_same_episode_branched_or_made_anew(socket_path: str) -> None:
    actions = soc_actions(10)
    kept = CloveEnv(SocTask(**SHORT), socket_path=socket_path)
    anew = CloveEnv(SocTask(**SHORT), socket_path=socket_path, kept_worlds=0)
    first = trajectory(kept, 7, actions)
    assert data_equivalence(trajectory(kept, 7, actions), first)
    assert data_equivalence(trajectory(anew, 7, actions), first)
    assert not data_equivalence(trajectory(kept, 8, actions), first)
    # Without a seed the generator goes on; a world may be asked for by its seed.
    _, info = kept.reset()
    _, again = kept.reset()
    assert info["world_seed"] != again["world_seed"]
    _, named = kept.reset(options={"world_seed": 7})
    assert named["world_seed"] == 7
    kept.close()
    anew.close()


def test_an_episode_is_cut_by_the_time_of_the_world(socket_path: str) -> None:
    env = CloveEnv(SocTask(**SHORT), socket_path=socket_path)
    env.reset(seed=1)
    ends = [env.step(np.array([0, 0]))[2:4] for _ in range(10)]
    assert ends == [(False, False)] * 9 + [(False, True)]
    assert env.view.now_ms >= 600_000
    with pytest.raises(RuntimeError, match="over"):
        env.step(np.array([0, 0]))
    with pytest.raises(ValueError, match="is not in"):
        env.step(np.array([4, 0]))
    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.reset()


def test_who_reads_the_logs_does_better_than_who_does_nothing(socket_path: str) -> None:
    def careful(observation: dict[str, Any]) -> list[int]:
        for slot, (present, now, so_far, worst, is_known, score, blocked) in enumerate(
            observation["sources"]
        ):
            if not present or blocked:
                continue
            if worst >= 0.75 or (is_known and score >= 0.5 and now > 0):
                return [2, slot]
            if not is_known and so_far >= 0.1:
                return [1, slot]
        return [0, 0]

    env = CloveEnv(SocTask(step_s=60), socket_path=socket_path)

    def score(policy: Any) -> float:
        total = 0.0
        for world_seed in (1, 2):
            observation, _ = env.reset(options={"world_seed": world_seed})
            is_over = False
            while not is_over:
                observation, reward, _, is_over, _ = env.step(np.array(policy(observation)))
                total += reward
        return total

    assert score(careful) > score(lambda _: [0, 0]) / 2
    env.close()


def test_who_takes_the_latest_change_back_does_better_than_who_waits(socket_path: str) -> None:
    deploy = sre.FEATURES.index("deploy")
    errors = sre.FEATURES.index("error_rate")

    taken_back: list[int] = []

    def careful(observation: dict[str, Any]) -> list[int]:
        table = observation["components"]
        suspects = [
            int(at)
            for at in np.flatnonzero((table[:, deploy] > 0) & (table[:, errors] > 0.05))
            if at not in taken_back
        ]
        if not suspects:
            return [0, 0]
        # It takes a while, and once more would take the component down.
        taken_back.append(suspects[0])
        return [sre.VERBS.index("rollback"), suspects[0]]

    env = CloveEnv(SreTask(horizon_s=1800), socket_path=socket_path)

    def score(policy: Any) -> tuple[float, dict[str, Any]]:
        # In this world a bad version comes first.
        observation, info = env.reset(options={"world_seed": 3})
        total, is_over = 0.0, False
        while not is_over:
            observation, reward, _, is_over, info = env.step(np.array(policy(observation)))
            assert info["unavailable"] == []
            total += reward
        return total, info

    waited, idle = score(lambda _: [0, 0])
    mended, info = score(careful)
    assert (info["actions"], idle["actions"]) == (1, 0)
    assert info["steps_broken"] < idle["steps_broken"] / 2
    assert mended > waited / 2
    # Files are mended, too; what the world has not is told.
    for verb, place, refused in (
        ("mend configuration", "checkout", []),
        ("renew password", "orders", []),
        ("remove debug log", "payments", []),
        ("restart", "acquirer", ["restart acquirer: 403"]),
    ):
        if env.view.now_ms > 1_000_000:
            env.reset(options={"world_seed": 3})
        _, _, _, _, info = env.step(np.array([sre.VERBS.index(verb), sre.COMPONENTS.index(place)]))
        assert (info["did"], info["unavailable"]) == (f"{verb} {place}", refused)
    env.close()


def test_what_is_declared_is_seen_done_and_rewarded(socket_path: str) -> None:
    env = CloveEnv(shelf_task(), socket_path=socket_path)
    observation, info = env.reset(seed=1)
    assert {part: float(values[0]) for part, values in observation.items()} == pytest.approx(
        {"ordered": 0, "open": 0, "sold": 0, "lines": 0, "price": 3, "failing": 0, "time": 250 / 300_000}
    )
    names = {"wait": 0, "order": 1, "break": 2, "lose": 3}
    observation, reward, _, _, info = env.step(names["order"])
    assert reward == 1.5
    assert info["rewards"] == {"orders": 2.0, "cost": -0.5}
    assert (observation["ordered"][0], observation["open"][0], observation["lines"][0]) == (1, 1, 1)
    # Requests take the world's time, and steps are as long as they are.
    assert env.view.now_ms == 60_000 + 500
    _, _, _, _, info = env.step(names["lose"])
    assert info["refused"] == ["GET http://nowhere.test/: No mock response configured for URL"]
    observation, _, _, _, info = env.step(names["wait"])
    # The price has gone beyond what the space has, and is cut.
    assert (observation["sold"][0], observation["price"][0], observation["failing"][0]) == (2, 4, 0)
    observation, reward, _, _, info = env.step(names["wait"])
    assert (observation["failing"][0], observation["ordered"][0], reward) == (1, 0, 0)
    assert info["unavailable"] == ["GET http://shop.test/orders: Simulated network failure (chaos)"]
    observation, reward, _, truncated, info = env.step(names["break"])
    assert (observation["failing"][0], observation["ordered"][0], truncated) == (0, 1, True)
    assert info["unavailable"] == []
    env.close()


def test_a_task_that_makes_no_sense_is_refused() -> None:
    sees = {"time": Feature(elapsed)}
    make: dict[str, Any] = {
        "step_s": 1.0,
        "horizon_s": 2.0,
        "sees": sees,
        "actions": {"wait": []},
        "rewards": {},
    }
    with pytest.raises(ValueError, match="something to do"):
        DeclaredTask("gym-x", "blank", **{**make, "actions": {}})
    with pytest.raises(ValueError, match="horizon"):
        DeclaredTask("gym-x", "blank", **{**make, "horizon_s": 0.5})
    with pytest.raises(ValueError, match="costs of actions that there are not: run"):
        DeclaredTask("gym-x", "blank", **{**make, "costs": {"run": 1.0}})
    with pytest.raises(ValueError, match="2 roles"):
        CloveEnv(SocTeamTask())
    with pytest.raises(ValueError, match="picture"):
        CloveEnv(SocTask(), render_mode="human")


def test_many_worlds_at_once_are_each_what_they_are_alone(socket_path: str) -> None:
    count, steps = 3, 12
    vector = CloveVectorEnv(SocTask(**SHORT), count, socket_path=socket_path)
    alone = [CloveEnv(SocTask(**SHORT), socket_path=socket_path) for _ in range(count)]
    actions = [soc_actions(steps, seed=index) for index in range(count)]
    observations, _ = vector.reset(seed=11)
    expected = [env.reset(seed=11 + index)[0] for index, env in enumerate(alone)]
    is_done = [False] * count
    for step in range(steps):
        for index in range(count):
            assert data_equivalence(
                {part: values[index] for part, values in observations.items()}, expected[index]
            )
        made = vector.step(np.array([actions[index][step] for index in range(count)]))
        observations, rewards, terminations, truncations, infos = made
        for index, env in enumerate(alone):
            if is_done[index]:
                expected[index], _ = env.reset()
                wanted = (0.0, False, False)
                is_done[index] = False
            else:
                expected[index], reward, terminated, truncated, _ = env.step(actions[index][step])
                wanted = (reward, terminated, truncated)
                is_done[index] = terminated or truncated
            assert (rewards[index], terminations[index], truncations[index]) == wanted
        assert list(infos["_steps"]) == [True] * count
    assert step > 10
    vector.close()
    for env in alone:
        env.close()


def test_some_worlds_are_reset_by_a_mask(socket_path: str) -> None:
    vector = CloveVectorEnv(
        SocTask(step_s=60, horizon_s=120), 2, socket_path=socket_path, autoreset_mode="Disabled"
    )
    vector.reset(seed=1)
    wait = np.zeros((2, 2), dtype=np.int64)
    vector.step(wait)
    _, _, _, truncations, _ = vector.step(wait)
    assert truncations.all()
    with pytest.raises(RuntimeError, match="reset_mask"):
        vector.step(wait)
    _, infos = vector.reset(seed=1, options={"reset_mask": np.array([True, False])})
    assert list(infos["_world_seed"]) == [True, False]
    with pytest.raises(ValueError, match="reset_mask"):
        vector.reset(options={"reset_mask": np.array([False, False])})
    vector.close()


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_gymnasium_makes_vectors_by_name(mode: str, socket_path: str) -> None:
    vector = gymnasium.make_vec(
        "clove/SocRespond-v0", num_envs=2, vectorization_mode=mode, socket_path=socket_path, **SHORT
    )
    vector.action_space.seed(1)
    observations, infos = vector.reset(seed=5)
    assert observations in vector.observation_space
    assert len(set(infos["world_seed"])) == 2
    for _ in range(3):
        observations, rewards, _, _, _ = vector.step(vector.action_space.sample())
        assert observations in vector.observation_space
        assert rewards.shape == (2,)
    vector.close()


def test_pettingzoo_checks_several_agents(socket_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    env = CloveParallelEnv(SocTeamTask(**SHORT), socket_path=socket_path)
    parallel_api_test(env, num_cycles=12)
    env.close()
    assert "Passed Parallel API test" in capsys.readouterr().out
    parallel_seed_test(lambda: CloveParallelEnv(SocTeamTask(**SHORT), socket_path=socket_path), num_cycles=8)


def test_services_know_which_of_several_agents_asks(socket_path: str) -> None:
    env = CloveParallelEnv(SocTeamTask(), socket_path=socket_path)
    env.reset(seed=1)
    wait = {"analyst": np.array([0, 0]), "responder": 0}
    while not (slots := env.view.memory["slots"]):
        env.step(wait)
    observations, rewards, _, _, _ = env.step({"analyst": np.array([2, 0]), "responder": 1})
    assert rewards["analyst"] == rewards["responder"]
    score = -2
    assert observations["responder"]["sources"][:, score].sum() == 1
    assert observations["analyst"]["sources"][:, -1].sum() == 0
    alerts = env.view.get("http://siem.corp/alerts")["alerts"]
    rules = env.view.get("http://firewall.corp/rules")["rules"]
    assert [(alert["title"], alert["by"]) for alert in alerts] == [
        (f"suspicious: {slots[0]}", env.view.names["analyst"])
    ]
    assert [(rule["ip"], rule["by"]) for rule in rules] == [(slots[0], env.view.names["responder"])]
    env.close()


def test_the_example_of_the_documentation_runs(socket_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[3] / "docs" / "gym.md"
    if not page.exists():
        pytest.skip("not in the repository: there is no docs/gym.md")
    monkeypatch.setenv("CLOVE_SOCKET", socket_path)
    first, second = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)[:2]
    exec(first, {})
    names: dict[str, Any] = {}
    exec(second, names)
    env = names["env"]
    observation, _ = env.reset(seed=1)
    waiting = []
    for action in (0, 0, 0, 0, 1, 1):
        observation, _, _, _, info = env.step(action)
        waiting.append(int(observation["waiting"][0]))
        assert info["unavailable"] == []
    assert waiting[3] > waiting[5]
    env.close()


@pytest.mark.parametrize(
    ("missing", "use"), [("gymnasium", ""), ("numpy", ""), ("pettingzoo", ".CloveParallelEnv")]
)
def test_what_is_not_installed_is_told_when_it_is_needed(missing: str, use: str) -> None:
    source = f"""
import sys
sys.modules[{missing!r}] = None
sys.path.insert(0, {str(Path(clove_sdk.__file__).parents[1])!r})
import clove_sdk
try:
    import clove_sdk.gym
    clove_sdk.gym{use}
except ImportError as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", source], check=False, capture_output=True, text=True, timeout=60
    )
    assert f"needs {missing}" in ran.stdout, ran.stderr
    assert "pip install 'clove-sdk[gym]'" in ran.stdout
