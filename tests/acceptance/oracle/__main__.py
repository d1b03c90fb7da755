"""`make oracle`: plays seeds on one running product and prints what became of everything that was acknowledged."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from oracle.product import running_product
from oracle.report import line, story, table
from oracle.rounds import Oracle, Round
from oracle.schedule import Schedule, draw_schedule, read_schedule


def main() -> int:
    """Play what the options ask for; exit code 0: nothing was found, 1: something was."""
    options = _options()
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="cdr-oracle-", ignore_cleanup_errors=True) as folder:
        # PostgreSQL runs as another user where we are root.
        Path(folder).chmod(0o711)
        with running_product(Path(folder)) as product:
            oracle = Oracle(product)
            for name, seed, schedule in _plan(options):
                rounds.append(oracle.play(name, schedule, seed))
                _say(line(rounds[-1]))
                if rounds[-1].findings:
                    _say(story(rounds[-1], product.logs))
                    if not options.keep_going:
                        break
            _say(table(rounds, product.restarts))
    return 1 if any(played.findings for played in rounds) else 0


def _plan(options: argparse.Namespace) -> Iterator[tuple[str, int, Schedule]]:
    if options.schedule:
        for number in range(options.repeat):
            yield f"schedule {number}", options.seed or number, read_schedule(options.schedule)
        return
    seeds = range(1, options.seeds + 1) if options.seed is None else [options.seed] * options.repeat
    for seed in seeds:
        yield f"seed {seed}", seed, draw_schedule(seed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make oracle", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="play the seeds from 1 to this")
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
