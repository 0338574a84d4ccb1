"""Figures as people read them: a block for each scenario while it runs, one table at the end.

Called by `run`. It must never show a figure that no leg gave: what is missing is a dash.
"""

import statistics
from collections import Counter

NAME, FIRST = 13, 20


def short(value):
    """Three digits behind the point are noise in large figures."""
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def width(column):
    return max(12, len(column) + 2)


def quartiles(values):
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


class Rows:
    """The legs of one scenario: by proxy and round a dict of figures, or None."""

    def __init__(self, scenario):
        self.scenario, self.legs, self.voids = scenario, {}, {}

    def add(self, name, number, figures):
        self.legs.setdefault(name, {})[number] = figures

    def void(self, name, reason):
        self.voids.setdefault(name, []).append(str(reason).strip())

    def first(self, name):
        """The compared figure by round."""
        return {number: next(iter(figures.values())) for number, figures in self.legs.get(name, {}).items()}

    def best_peer(self):
        medians = {
            name: statistics.median(self.first(name).values())
            for name in self.legs
            if name not in ("crossfade", "direct")
        }
        return min(medians, key=medians.get, default=None)

    def ratios(self, name, other):
        """By round, where both have a figure and there is something to divide by."""
        mine, theirs = self.first(name), self.first(other)
        return [mine[number] / theirs[number] for number in mine if theirs.get(number)]

    def show(self):
        best = self.best_peer()
        print(f"\n{self.scenario.name}: {self.scenario.title}")
        columns = []
        for figures in (each for legs in self.legs.values() for each in legs.values()):
            columns += [column for column in figures if column not in columns]
        if columns:
            against = f"/ {best}" if best else ""
            rest = "".join(f"{column:>{width(column)}}" for column in columns[1:])
            print(f"{'':{NAME}}{columns[0]:>{FIRST}} {'quartiles':>17} {against:>14} {'quartiles':>15}{rest}")
        for name in self.legs:
            print(self._line(name, best, columns))
        for name, reasons in self.voids.items():
            for reason, times in Counter(reasons).items():
                print(f"{name:{NAME}}void ({times}): {reason}")

    def _line(self, name, best, columns):
        low, middle, high = quartiles(list(self.first(name).values()))
        line = f"{name:{NAME}}{short(middle):>{FIRST}} {f'{short(low)}–{short(high)}':>17} "
        ratios = self.ratios(name, best) if best else []
        if ratios:
            low, middle, high = quartiles(ratios)
            line += f"{short(middle):>14} {f'{short(low)}–{short(high)}':>15}"
        else:
            line += f"{'–':>14} {'':>15}"
        for column in columns[1:]:
            seen = [figures[column] for figures in self.legs[name].values() if figures.get(column) is not None]
            # A failure in any round is one.
            total = sum(seen) if column.startswith("failures") else statistics.median(seen) if seen else None
            line += f"{f'{total:.1f}' if seen else '–':>{width(column)}}"
        return line

    def growth(self, base):
        """What more of something costs each proxy, against the smallest of it."""
        for name in self.legs:
            mine, small = self.first(name), base.first(name)
            ratios = [mine[number] / small[number] for number in mine if small.get(number)]
            if ratios:
                low, middle, high = quartiles(ratios)
                print(f"{name:{NAME}}{middle:.3f} times the cost of {base.scenario.name} ({low:.3f}–{high:.3f})")


def summary(blocks, names):
    """One line a scenario: each proxy's ratio to the best peer, lower quartile/median, and that peer's figure."""
    print(f"\nratios to the best peer of each row, lower quartile/median over the rounds\n{'':19}", end="")
    print("".join(f"{name:>14}" for name in names) + "  best peer")
    for block in blocks:
        best = block.best_peer()
        line = f"{block.scenario.name:19}"
        for name in names:
            ratios = block.ratios(name, best) if best else []
            low, middle, _ = quartiles(ratios) if ratios else (None,) * 3
            line += f"{f'{short(low)}/{short(middle)}' if ratios else '–':>14}"
        if best:
            unit = next(iter(next(iter(block.legs[best].values()))))
            line += f"  {best} {statistics.median(block.first(best).values()):.3g} {unit}"
        print(line)
