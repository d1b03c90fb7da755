"""What a part of the benchmark measured, what it was to reach, and both as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

# One contender in one round: figures by measure, such as {"rate": 5012.3, "p99_ms": 14.2}.
Sample = Mapping[str, float]
Samples = Mapping[str, Sequence[Sample]]


class Spread(NamedTuple):
    """A figure over the rounds: the median, the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        """Write it with as many digits as it has meaning."""
        return f"{_digits(self.median)} ({_digits(self.least)} to {_digits(self.most)})"


@dataclass(frozen=True)
class Goal:
    """What a contender has to reach: a measure of its own, or its ratio to another's in the same round.

    `beside` names the other contender, and `beside_measure` its measure where it is another one. At most one of `at_least`
    and `at_most` is given; with neither the figure is there to be seen.
    """

    text: str
    measure: str
    of: str
    beside: str | None = None
    beside_measure: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def reached(self, samples: Samples) -> Spread:
        """Return the figure: each round's ratio by itself, so that a change of the machine between rounds hits both sides."""
        ours = [sample[self.measure] for sample in samples[self.of]]
        if self.beside is None:
            return spread(ours)
        theirs = [sample[self.beside_measure or self.measure] for sample in samples[self.beside]]
        return spread([one / other for one, other in zip(ours, theirs, strict=True)])

    def is_met_by(self, value: float) -> bool:
        """Tell whether a figure is good enough."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    @property
    def bound(self) -> str:
        """The bound in words; empty where there is none."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return f"at least {self.at_least:g}" if self.at_least is not None else ""


@dataclass(frozen=True)
class Part:
    """One part of the benchmark as it was measured. `units` are by measure; a contender may lack some measures."""

    name: str
    about: str
    units: Mapping[str, str]
    samples: Samples
    goals: Sequence[Goal]

    def as_json(self) -> dict[str, Any]:
        """Return all that was measured, for results.json."""
        goals = [
            {
                "goal": goal.text,
                "bound": goal.bound,
                **goal.reached(self.samples)._asdict(),
                "met": goal.is_met_by(goal.reached(self.samples).median) if goal.bound else None,
            }
            for goal in self.goals
        ]
        return {"about": self.about, "units": self.units, "samples": self.samples, "goals": goals}

    def tables(self) -> str:
        """Return the figures and the goals as Markdown, which reads well in a terminal too."""
        return f"## {self.name}\n\n{self.about}\n\n{self._figures()}\n\n{self._goals()}\n"

    def _figures(self) -> str:
        head = ["", *(f"{measure}, {unit}" for measure, unit in self.units.items())]
        rows = [
            [name, *(str(spread(values)) if (values := _values(samples, measure)) else "" for measure in self.units)]
            for name, samples in self.samples.items()
        ]
        return table(head, rows)

    def _goals(self) -> str:
        rows = []
        for goal in self.goals:
            figure = goal.reached(self.samples)
            verdict = "met" if goal.is_met_by(figure.median) else "MISSED"
            rows.append([goal.text, str(figure), goal.bound, verdict if goal.bound else ""])
        return table(["goal", "measured", "bound", ""], rows)


def interleaved(
    rounds: int, contenders: Mapping[str, Callable[[int], Sample]], tell: Callable[[str], None]
) -> dict[str, list[Sample]]:
    """Measure every contender once a round, beginning with another one each time; each is given the round's number."""
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            sample = contenders[name](number)
            samples[name].append(sample)
            tell(
                f"round {number + 1}, {name}: " + ", ".join(f"{key} {_digits(value)}" for key, value in sample.items())
            )
    return samples


def spread(values: Iterable[float]) -> Spread:
    """Return the median of some figures, with the least and the most."""
    known = list(values)
    return Spread(median(known), min(known), max(known))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _values(samples: Sequence[Sample], measure: str) -> list[float]:
    return [sample[measure] for sample in samples if measure in sample]


def _digits(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
