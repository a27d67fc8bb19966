"""How good are the labels: `evaluate` measures a model on labelled comments, `compare` tells whether B beats A."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.cli.console import Failure, err, out, print_json, table
from pipeline.cli.labelled import FORMAT, FileArgument, LimitOption, SplitOption, labelled_rows
from pipeline.cli.rooms import JsonOption

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    from models.evaluate import Confusion, Report
    from models.labeler import Labeler
    from models.settings import ModelSettings

MISTAKES = 8  # told on the terminal; the report has more


class Advance(Protocol):
    """Tells a progress bar how many more are done."""

    def __call__(self, count: int) -> object: ...


def register(app: typer.Typer) -> None:
    app.command(help=EVALUATE)(evaluate)
    app.command(help=COMPARE)(compare)


EVALUATE = (
    "Measure the labels on comments that you labelled yourself: accuracy, macro-F1 over three classes and two, each "
    "language, confusion, whether the confidence can be trusted, topics, and the worst mistakes.\n\n"
    "[dim]vocstream evaluate my-comments.csv --html report.html[/dim]\n\n"
    "[dim]vocstream evaluate models/corpus/pt.jsonl models/corpus/es.jsonl --split test[/dim]" + FORMAT
)
COMPARE = (
    "Say whether model B is better than model A on the same labelled comments: both figures, the difference with its "
    "95 % interval, and p by paired bootstrap.\n\n"
    "[dim]vocstream compare default my-heads/ my-comments.csv[/dim]\n\n"
    "[dim]vocstream compare default:fp32 default:int8 models/corpus/pt.jsonl --split test[/dim]\n\n"
    "A model is [bold]default[/bold], a folder of heads (vocstream train writes one), a Hugging Face sentiment "
    "classifier (folder or name, its labels told in VOC_MODEL_SENTIMENT_LABELS), each with :fp32, :int8 or :bf16 "
    "behind it if wanted; or settings by name: heads=DIR,taxonomy=topics.yaml." + FORMAT
)


def evaluate(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="Labelled comments, JSON Lines or CSV.")
    ],
    heads: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Trained heads; default: those of the settings.")
    ] = None,
    split: SplitOption = None,
    limit: LimitOption = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with plots here.", show_default=False)] = None,
    json_output: JsonOption = False,
) -> None:
    rows = {file: labelled_rows(file, split, limit) for file in files}
    if html is not None and not html.parent.is_dir():
        raise Failure(f"{html}: the folder {html.parent} is not there")
    from models.evaluate import evaluate as measure
    from models.report import render
    from models.settings import ModelSettings

    labeler = load_labeler(ModelSettings(heads=heads) if heads else ModelSettings())
    reports = []
    with labelling("labelling", sum(map(len, rows.values()))) as advance:
        for file, content in rows.items():
            reports += measure(labeler, file.name, content, advance)
    if html is not None:
        html.write_text(render(reports, labeler.model_version), encoding="utf-8")
        err.print(f"written: {html}", highlight=False)
    if json_output:
        print_json({"model_version": labeler.model_version, "reports": [asdict(report) for report in reports]})
        return
    out.print(f"Model: {labeler.model_version}", highlight=False)
    _print_figures(reports)
    for report in reports:
        if not report.language:
            _print_details(report)


def compare(
    a: Annotated[str, typer.Argument(help="The model that is there, such as default.", show_default=False)],
    b: Annotated[str, typer.Argument(help="The one that may be better.", show_default=False)],
    file: FileArgument,
    split: SplitOption = None,
    limit: LimitOption = None,
    json_output: JsonOption = False,
) -> None:
    rows = labelled_rows(file, split, limit)
    from models.compare import compare as judge
    from models.compare import settings_of
    from models.evaluate import labelled_by
    from models.labelled import Labelled

    comments = [Labelled.of(row) for row in rows]
    answers, versions = [], []
    chosen = [settings_of(a), settings_of(b)]
    with labelling("labelling", 2 * len(comments)) as advance:
        for settings in chosen:
            labeler = load_labeler(settings)
            versions.append(labeler.model_version)
            answers.append(labelled_by(labeler, comments, advance))
            del labeler
    found = judge(comments, *answers)
    if json_output:
        told = [{**asdict(one), "conclusion": one.conclusion(a, b)} for one in found]
        print_json({"a": versions[0], "b": versions[1], "comparisons": told})
        return
    for name, version in zip("AB", versions, strict=True):
        out.print(f"{name}: {version}", highlight=False)
    columns = ["measure", "comments", "A", "B", "B - A, points", "95 % interval", "p", "same answer"]
    cells = [[c.measure, c.comments, 100 * c.a, 100 * c.b, f"{100 * c.difference:+.1f}",
              f"{100 * c.low:+.1f} .. {100 * c.high:+.1f}", f"{c.p_value:.3f}", f"{100 * c.agreement:.1f} %"]
             for c in found]  # fmt: skip
    out.print(table("B beside A, in %", columns, cells))
    for comparison in found:
        out.print(comparison.conclusion(a, b), highlight=False, markup=False)


def load_labeler(settings: ModelSettings) -> Labeler:
    """The labeler of these settings, the default model converted first if need be. Raises ModelError."""
    from models.labeler import Labeler

    return Labeler.load(settings, progress=True)


@contextmanager
def labelling(what: str, total: int) -> Iterator[Advance]:
    """A progress bar of comments, on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def _print_figures(reports: list[Report]) -> None:
    """A row a figure, a column a file or language."""
    from models.report import FIGURES

    shown = {name: title for name, title in FIGURES.items() if any(getattr(r, name) is not None for r in reports)}
    rows = [[title, *(_percent(getattr(report, name)) for report in reports)] for name, title in shown.items()]
    out.print(table("Figures, in %", ["", *(report.file for report in reports)], rows))


def _print_details(report: Report) -> None:
    for title, confusion in (("three classes", report.confusion), ("five levels and mixed", report.six_confusion)):
        if confusion:
            _print_confusion(f"{report.file}, {title}: rows are the labels, columns what was said", confusion)
    if report.curve:
        curve = [(f"{100 * sure:.0f}", f"{100 * share:.0f}", count, "█" * round(20 * share))
                 for sure, share, count in report.curve]  # fmt: skip
        out.print(
            table(f"{report.file}, can the confidence be trusted?", ["confidence", "accuracy", "comments", ""], curve)
        )
    if report.topics:
        columns = ["topic", "mentions", "precision", "recall", "F1", "its sentiment"]
        cells = [[t.topic, t.mentions, *map(_percent, (t.precision, t.recall, t.f1, t.sentiment))]
                 for t in sorted(report.topics, key=lambda topic: topic.f1)]  # fmt: skip
        out.print(table(f"{report.file}, topics in %, the worst first", columns, cells))
    if report.mistakes:
        from rich.markup import escape

        cells = [[escape(_short(m["text"])), m["label"], m["said"], f"{m['confidence']:.2f}"]
                 for m in report.mistakes[:MISTAKES]]  # fmt: skip
        title = f"{report.file}, worst mistakes: wrong, and surest of it"
        out.print(table(title, ["comment", "label", "said", "confidence"], cells))


def _print_confusion(title: str, confusion: Confusion) -> None:
    rows = [[name, *row.values()] for name, row in confusion.items()]
    out.print(table(title, ["", *confusion], rows))


def _percent(value: float | int | None) -> float | int | None:
    return 100 * value if isinstance(value, float) else value


def _short(text: str) -> str:
    return text if len(text) <= 160 else text[:157] + "..."
