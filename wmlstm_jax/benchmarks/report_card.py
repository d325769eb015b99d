"""The memory benchmark for people: a table, pictures, and what they say."""

import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from wmlstm_jax.benchmarks import retention
from wmlstm_jax.metrics import markdown_table

Best = dict[str, dict[str, list[Any]]]
"""The runs at the best rate, one for each seed, by challenge and model."""


def models_of(best: Best) -> list[str]:
    """All models, in the order in which they come."""
    return list(dict.fromkeys(model for runs in best.values() for model in runs))


def mean_of(runs: list[Any], test: str) -> float:
    """Of the accuracy in a test, over seeds."""
    return statistics.mean(run.tests[test] for run in runs)


def table(best: Best) -> str:
    """Tests against models: the mean accuracy over seeds, and the best of them."""
    models, rows = models_of(best), []
    for name, runs in best.items():
        for test in next(iter(runs.values()))[0].tests:
            cells = []
            for model in models:
                scores = [run.tests[test] for run in runs.get(model, [])]
                cell = "-"
                if scores:
                    cell = f"{statistics.mean(scores):.3f} ({max(scores):.3f})"
                cells.append(cell)
            rows.append((f"{name}, {test}", *cells))
    return markdown_table(("task", *models), rows)


def training_table(best: Best) -> str:
    """What each model needed: parameters, rate, updates and time."""
    rows = [
        (
            name,
            model,
            f"{runs[0].num_params:,}",
            f"{runs[0].rate:g}",
            ", ".join(str(run.steps[-1]) for run in runs),
            ", ".join(f"{run.seconds:.0f} s" for run in runs),
        )
        for name, each in best.items()
        for model, runs in each.items()
    ]
    header = ("task", "model", "parameters", "best rate", "updates", "time")
    return markdown_table(header, rows)


def wins(best: Best, ways: list[str]) -> dict[str, list[str]]:
    """The tests in which each memory is better than the other memories, on the mean.

    A tie is won by nobody, and what all can do is no win.
    """
    won: dict[str, list[str]] = {way: [] for way in ways}
    for name, runs in best.items():
        for test in next(iter(runs.values()))[0].tests:
            scores = {way: round(mean_of(runs[way], test), 3) for way in ways}
            top = max(scores.values())
            first = [way for way, score in scores.items() if score == top]
            if len(first) == 1:
                won[first[0]].append(f"{name}, {test}")
    return won


def draw_lengths(best: Best, path: Path) -> None:
    """Accuracy against the tests of each challenge, which go from short to long."""
    figure, panels = _make_panels(len(best))
    styles = _styles(best)
    for axes, (name, runs) in zip(panels, best.items(), strict=True):
        for model, each in runs.items():
            tests = list(each[0].tests)
            axes.plot(tests, [mean_of(each, t) for t in tests], **styles[model])
        axes.set(title=name, ylim=(0, 1.05), ylabel="accuracy")
        axes.grid(alpha=0.3)
    _save(figure, path)


def _make_panels(count: int) -> tuple[Figure, list[Any]]:
    """A figure with so many axes, up to four side by side."""
    columns = min(4, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(4 * columns, 3.1 * rows + 0.6), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in grid[count:]:
        unused.set_visible(False)
    return figure, grid[:count]


def _styles(best: Best) -> dict[str, dict[str, Any]]:
    """A line for each model; the later ones are thinner, so that none hides another."""
    models = models_of(best)
    steps = [number / max(len(models) - 1, 1) for number in range(len(models))]
    return {
        model: {
            "label": model,
            "color": f"C{number}",
            "marker": "o",
            "markersize": 11 - 8 * step,
            "linewidth": 5 - 4 * step,
        }
        for number, (model, step) in enumerate(zip(models, steps, strict=True))
    }


def _save(figure: Figure, path: Path) -> None:
    """One legend of all that is drawn anywhere; then the file."""
    found = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(found.values(), found, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120)


def draw_retention(best: Best, path: Path) -> bool:
    """Accuracy against distance and against how often it was told anew.

    Returns:
      False, and no picture, where no challenge has it.
    """
    shown, styles = [], _styles(best)
    for name, runs in best.items():
        tallies = {
            model: retention.merge([run.kept for run in each])
            for model, each in runs.items()
            if each[0].kept
        }
        # What is never told anew has nothing to show for it.
        shown += [
            (name, kind, tallies)
            for kind in retention.KINDS
            if any(len(counts[kind]) > 1 for counts in tallies.values())
        ]
    if not shown:
        return False
    figure, panels = _make_panels(len(shown))
    for axes, (name, kind, tallies) in zip(panels, shown, strict=True):
        retention.draw(axes, kind, tallies, styles)
        axes.set_title(name)
    _save(figure, path)
    return True


def write_card(best: Best, ways: list[str], about: dict, out: Path) -> None:
    """Pictures, and `report_card.md` with the tables and who wins what.

    Args:
      best: the runs.
      ways: the memories among the models.
      about: commit, versions and hardware.
      out: the directory.
    """
    draw_lengths(best, out / "memory_lengths.png")
    pictures = ["![Accuracy against length](memory_lengths.png)"]
    if draw_retention(best, out / "memory_retention.png"):
        pictures.append("![Accuracy against distance](memory_retention.png)")
    said = [
        f"- {way}: {'; '.join(tests) if tests else 'wins none of these.'}"
        for way, tests in wins(best, ways).items()
    ]
    hardware, versions = about["hardware"], about["versions"]
    lines = [
        "# Report card",
        "",
        "Accuracy on fresh samples: the mean over seeds, and the best of them.",
        "",
        table(best),
        "",
        *pictures,
        "",
        "Which memory is the best of the memories, and where:",
        "",
        *said,
        "",
        training_table(best),
        "",
        f"{hardware['num_cores']} cores of {hardware['processor']}, Python"
        f" {versions['python']}, JAX {versions['jax']}, commit {about['commit']}.",
    ]
    (out / "report_card.md").write_text("\n".join(lines) + "\n")
