"""Tells what became of rounds: a line for each, the whole story of one that failed, and the table at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from oracle.checker import KINDS, Finding
from oracle.ledger import OUTCOMES
from oracle.rounds import Round

STORIES = 12
LOG_LINES = 15
LOG_BYTES = 65_536
_NAMES = {"acked": "acknowledged", "kept": "kept in quarantine", "refused": "refused", "unanswered": "unanswered"}


def line(played: Round) -> str:
    """Tell a round in one line."""
    counts = ", ".join(f"{_NAMES[outcome]} {played.ledger.count(outcome)}" for outcome in OUTCOMES)
    end = f"settled in {played.settle_seconds:.1f} s" if not played.findings else f"FAILED: {_kinds(played.findings)}"
    if played.waited_for:
        end += f", last waited for {played.waited_for.about}"
    return f"{played.name}: {played.schedule}\n    {counts}; rows {len(played.stored.cdrs)}; {end}"


def story(played: Round, logs: Iterable[Path]) -> str:
    """Tell everything about a round that failed: the schedule, the findings with their history, the ends of the logs."""
    parts = [f"{line(played)}\n", "What was done, seconds into the round:"]
    parts += [f"  {at:6.2f}  {text}" for at, text in played.done]
    parts.append(f"  {played.calm_at - played.began:6.2f}  all faults ended")
    parts.append(f"What is wrong ({len(played.findings)}), {played.settle_seconds:.0f} s after that:")
    for finding in played.findings[:STORIES]:
        parts += [f"  {finding.kind}: {finding.about}", *_history(played, finding)]
    parts += log_ends(logs)
    parts.append(f'Again: make oracle SCHEDULE="{played.schedule}"')
    return "\n".join(parts)


def log_ends(logs: Iterable[Path]) -> list[str]:
    """Return the last lines of each log, below its name."""
    return [row for path in logs for row in (f"The end of {path}:", *(f"  {text}" for text in _tail(path)))]


def table(rounds: list[Round], restarts: int) -> str:
    """Sum up all rounds, a row for each figure."""
    faults = sum((played.kinds for played in rounds), Counter[str]())
    outcomes = {outcome: sum(played.ledger.count(outcome) for played in rounds) for outcome in OUTCOMES}
    found = Counter(finding.kind for played in rounds for finding in played.findings)
    slowest = max(rounds, key=lambda played: played.settle_seconds)
    rows: dict[str, object] = {
        "rounds": f"{len(rounds)}, of which {sum(bool(played.findings) for played in rounds)} failed",
        "faults": f"{faults.total()}, of {len(faults)} kinds",
        "CDRs sent (each attempt counted)": sum(outcomes.values()),
        **{_NAMES[outcome]: _share(number, sum(outcomes.values())) for outcome, number in outcomes.items()},
        "rows": sum(len(played.stored.cdrs) for played in rounds),
        "recordings": sum(len(played.stored.recordings) for played in rounds),
        "bodies in quarantine": sum(len(played.stored.bodies) for played in rounds),
        **{kind: found[kind] for kind in KINDS},
        "slowest to settle": f"{slowest.settle_seconds:.1f} s ({slowest.name})",
        "restarts of `cdr up`": restarts,
    }
    counted = "\n".join(f"| {kind} | {number} |" for kind, number in sorted(faults.items()))
    figures = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"| | |\n|---|---|\n{figures}\n\n| fault | times |\n|---|---|\n{counted}"


def totals(rounds: Iterable[Round]) -> dict[str, int]:
    """Count what was played and what was found, for a line that sums up several runs."""
    counts = Counter(dict.fromkeys(("rounds", "faults", "acknowledged", *KINDS), 0))
    for played in rounds:
        counts.update(rounds=1, faults=played.kinds.total(), acknowledged=played.ledger.count("acked"))
        counts.update(finding.kind for finding in played.findings)
    return dict(counts)


def _share(number: int, total: int) -> str:
    return f"{number} ({100 * number / total:.1f} %)" if total else "0"


def _kinds(findings: Iterable[Finding]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in Counter(each.kind for each in findings).items())


def _history(played: Round, finding: Finding) -> Iterator[str]:
    """Tell every attempt to send the CDR that a finding is about."""
    if finding.identity is None:
        return
    yield f"      {finding.identity}"
    for each in played.ledger.deliveries().get(finding.identity, []):
        attempt = each.attempt
        yield (
            f"      {attempt.began - played.began:6.2f} - {attempt.ended - played.began:6.2f}  {attempt.outcome}: "
            f"{attempt.answer}; {attempt.post.content_type}, {len(attempt.post.cdrs)} CDRs, place {each.place}"
        )


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - LOG_BYTES))
            return log.read().decode("utf-8", "replace").splitlines()[-LOG_LINES:]
    except OSError as error:
        return [str(error)]
