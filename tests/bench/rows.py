"""What a row is, and how it is measured.

A `Race` has two runners that do the same work in turns, round by round, and the order changes with each round: what the machine does
meanwhile hits both. A `Figure` is something of Lockgate's own, with a limit, and the peer's beside it where there is one.
"""
import dataclasses, ftplib, http.client, statistics, subprocess, time, typing

from accounting import Highest, Others
from clients import Failed
from servers import Missing

NOISY = 0.10


@dataclasses.dataclass
class Race:
    key: str
    title: str
    peer: str
    work: typing.Callable
    """Called with a server. Returns None, or the seconds and CPU seconds that count, where not all that it did does."""
    amount: float
    unit: str = "GiB"
    """CPU seconds are told per unit."""
    speed: float = None
    """The goal: how many times as fast as the peer."""
    cpu: float = None
    """The goal: at most so much of the peer's CPU time."""
    memory: float = None
    """The goal: MiB above what the server had before."""
    own: str = "own"
    before: typing.Callable = None
    """Called with a server before each round, unmeasured."""
    after: typing.Callable = None
    """Called with a server after each round, unmeasured: raises where the client left something out."""
    watch: bool = False
    """Look at the memory while it runs, of both."""
    note: str = ""


@dataclasses.dataclass
class Figure:
    key: str
    title: str
    measure: typing.Callable
    """Called with the servers; returns a list of `Value`s."""


@dataclasses.dataclass
class Value:
    title: str
    value: float
    unit: str
    limit: float = None
    peer: str = ""
    """The peer's name and value, ready to print."""
    note: str = ""


def one_turn(race, server):
    server.clear()
    if race.before:
        race.before(server)
    server.meter.forget_peaks()
    others, used, start = Others(server.meter), server.meter.cpu(), time.monotonic()
    resting = server.meter.pss() if race.watch else 0
    highest = None
    if race.watch:
        with Highest(server.meter) as highest:
            told = race.work(server)
    else:
        told = race.work(server)
    took, used = told or (time.monotonic() - start, server.meter.cpu() - used)
    turn = {"s": took, "cpu": used, "others": others.share(), "peak": highest.mib if highest else server.meter.peak(),
            "grown": highest.mib - resting if highest else None}
    if race.after:
        race.after(server)
    server.clear()
    return turn


def run_race(race, street, rounds, say):
    own, peer = getattr(street, race.own), getattr(street, race.peer)
    turns = {"own": [], "peer": []}
    for number in range(rounds):
        for side in ("peer", "own") if number % 2 == 0 else ("own", "peer"):
            turns[side].append(one_turn(race, own if side == "own" else peer))
            say(f"{race.key} round {number + 1}: {side} {turns[side][-1]['s']:.2f} s, {turns[side][-1]['cpu']:.2f} CPU s, "
                f"others {turns[side][-1]['others']:.0%}")
    return result_of(race, peer.name, turns)


def median(turns, what):
    return statistics.median(turn[what] for turn in turns)


def result_of(race, peer, turns):
    sides = {}
    for side, all_turns in turns.items():
        seconds = [turn["s"] for turn in all_turns]
        sides[side] = {"s": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "cpu": median(all_turns, "cpu") / race.amount,
                       "peak": max(turn["peak"] for turn in all_turns), "others": max(turn["others"] for turn in all_turns),
                       "grown": max(turn["grown"] for turn in all_turns) if race.watch else None}
    speed = sides["peer"]["s"] / sides["own"]["s"]
    # Below the resolution of the clock of CPU time a ratio says nothing.
    cpu = sides["own"]["cpu"] / sides["peer"]["cpu"] if sides["peer"]["cpu"] * race.amount > 0.005 else None
    goals, reached = [], []
    if race.speed:
        goals.append(f"≥ {race.speed:g}x")
        reached.append(speed >= race.speed)
    if race.cpu:
        goals.append(f"CPU ≤ {race.cpu:g}x")
        reached.append(cpu is not None and cpu <= race.cpu)
    if race.memory:
        goals.append(f"≤ {race.memory:g} MiB more")
        reached.append(sides["own"]["grown"] <= race.memory)
    return {"kind": "race", "key": race.key, "title": race.title, "peer_name": peer, "unit": race.unit, **sides, "speed": speed, "cpu_ratio": cpu,
            "goal": ", ".join(goals), "reached": all(reached) if reached else None, "note": race.note, "turns": turns,
            "noisy": max(side["others"] for side in sides.values()) > NOISY}


def run_figure(figure, street, say):
    out = []
    for value in figure.measure(street):
        say(f"{figure.key}: {value.title}: {value.value:.2f} {value.unit}")
        out.append({"kind": "figure", "key": figure.key, **dataclasses.asdict(value),
                    "goal": f"≤ {value.limit:g} {value.unit}" if value.limit is not None else "",
                    "reached": value.value <= value.limit if value.limit is not None else None})
    return out


def measure(row, street, rounds, say):
    """The results of one row, or one result that says why there is none: a peer that is missing, or a client that failed."""
    try:
        return [run_race(row, street, rounds, say)] if isinstance(row, Race) else run_figure(row, street, say)
    except Missing as missing:
        say(f"{row.key} skipped: {missing}")
        return [{"kind": "skipped", "key": row.key, "title": row.title, "why": f"skipped: {missing}"}]
    except (Failed, OSError, subprocess.SubprocessError, ftplib.Error, http.client.HTTPException) as error:
        say(f"{row.key} FAILED: {error!r}")
        return [{"kind": "failed", "key": row.key, "title": row.title, "why": f"failed: {error}"[:300]}]
