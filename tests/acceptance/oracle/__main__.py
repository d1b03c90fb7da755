"""`make oracle`: plays seeds on one running product and prints what became of everything that was acknowledged."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from oracle.product import fresh_product
from oracle.report import line, story, table
from oracle.rounds import Oracle, Round
from oracle.schedule import Schedule, draw_schedule, read_schedule, redis_away

REDIS_AWAY_SECONDS = 60.0


class Planned(NamedTuple):
    """A round that is to be played: its name, its schedule, the seed of its traffic, whether every post has to be taken."""

    name: str
    schedule: Schedule
    seed: int
    all_acked: bool = False


def main() -> int:
    """Play what the options ask for; exit code 0: nothing was found, 1: something was."""
    options = _options()
    plan = deque(_plan(options))
    rounds: list[Round] = []
    restarts = 0
    while plan and (options.keep_going or not any(played.findings for played in rounds)):
        # What a round that failed left behind would fail the next ones: they get a product of their own.
        with fresh_product() as product:
            rounds += _play(Oracle(product), plan)
            restarts += product.restarts
    _say(table(rounds, restarts))
    return 1 if any(played.findings for played in rounds) else 0


def _play(oracle: Oracle, plan: deque[Planned]) -> Iterator[Round]:
    """Play what is planned up to the first round that fails."""
    while plan:
        planned = plan.popleft()
        played = oracle.play(planned.name, planned.schedule, planned.seed, all_acked=planned.all_acked)
        _say(line(played))
        yield played
        if played.findings:
            _say(story(played, oracle.product.logs))
            return


def _plan(options: argparse.Namespace) -> Iterator[Planned]:
    if options.schedule:
        for number in range(options.repeat):
            yield Planned(f"schedule {number}", read_schedule(options.schedule), options.seed or number)
        return
    seeds = range(options.first, options.seeds + 1) if options.seed is None else [options.seed] * options.repeat
    for seed in seeds:
        yield Planned(f"seed {seed}", draw_schedule(seed), seed)
    if options.seed is None:
        yield Planned("Redis away for a minute", redis_away(REDIS_AWAY_SECONDS), 0, all_acked=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make oracle", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="play the seeds up to this")
    parser.add_argument("--first", type=int, default=1, help="begin with this seed")
    parser.add_argument("--seed", type=int, help="play this seed alone")
    parser.add_argument("--schedule", help="play this schedule, as it is printed for each round")
    parser.add_argument("--repeat", type=int, default=1, help="play the one seed or schedule so many times")
    parser.add_argument("--keep-going", action="store_true", help="go on with the others after a round that failed")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
