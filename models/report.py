"""An HTML report of an evaluation: one file, no network, plots as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from models.evaluate import THREE, Report

STYLE = (
    "body{font:15px system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}"
    "table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.25rem .6rem;border-bottom:1px solid #d8dee4;"
    "text-align:right}td:first-child,th:first-child,td.t{text-align:left}svg{margin:.5rem 1rem .5rem 0}"
)
FIGURES = {
    "rows": "comments", "accuracy": "accuracy", "macro_f1": "macro-F1, 3 classes",
    "binary_macro_f1": "macro-F1, 2 classes", "calibration_error": "calibration error",
    "six_accuracy": "accuracy, 6 classes", "within_one_level": "within one level",
    "topics_macro_f1": "topics macro-F1", "topic_sentiment_accuracy": "sentiment of topics",
}  # fmt: skip


def render(reports: Sequence[Report], model_version: str) -> str:
    """The whole page."""
    head = "".join(f"<th>{escape(title)}</th>" for title in FIGURES.values())
    lines = "".join(f"<tr><td>{escape(r.file)}</td>{_cells(r)}</tr>" for r in reports)
    parts = "".join(_section(report) for report in reports)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Evaluation</title><style>{STYLE}</style>"
        f"<h1>Evaluation</h1><p>Model: {escape(model_version)}</p>"
        f"<table><tr><th>file</th>{head}</tr>{lines}</table>{parts}</html>"
    )


def _cells(report: Report) -> str:
    values = [getattr(report, name) for name in FIGURES]
    shown = ["" if v is None else str(v) if isinstance(v, int) else f"{100 * v:.1f}" for v in values]
    return "".join(f"<td>{value}</td>" for value in shown)


def _section(report: Report) -> str:
    if not report.confusion:
        return ""
    mistakes = "".join(
        f"<tr><td class=t>{escape(m['text'])}</td><td>{m['label']}</td><td>{m['said']}</td>"
        f"<td>{m['confidence']:.2f}</td></tr>"
        for m in report.mistakes
    )
    return (
        f"<h2>{escape(report.file)}</h2>{_confusion(report)}{_curve(report)}<h3>Worst mistakes</h3>"
        f"<table><tr><th>comment</th><th>label</th><th>said</th><th>confidence</th></tr>{mistakes}</table>"
    )


def _confusion(report: Report) -> str:
    """Rows are the truth, columns what was said, shade is the share of the row."""
    cells = []
    for y, truth in enumerate(THREE):
        total = max(sum(report.confusion[truth].values()), 1)
        cells.append(f"<text x=68 y={56 + y * 50} text-anchor=end font-size=12>{truth}</text>")
        for x, said in enumerate(THREE):
            count = report.confusion[truth][said]
            share = count / total
            ink = "#fff" if share > 0.5 else "#1b1f24"
            cells.append(
                f"<rect x={75 + x * 62} y={26 + y * 50} width=60 height=48 fill=#0550ae fill-opacity={share:.2f} />"
                f"<text x={105 + x * 62} y={55 + y * 50} text-anchor=middle font-size=13 fill={ink}>{count}</text>"
            )
    titles = "".join(
        f"<text x={105 + x * 62} y=18 text-anchor=middle font-size=12>{name}</text>" for x, name in enumerate(THREE)
    )
    return f'<svg width=265 height=180 role=img aria-label="confusion matrix">{titles}{"".join(cells)}</svg>'


def _curve(report: Report) -> str:
    """Accuracy over confidence; on the diagonal they agree, the size of a dot is its share of the comments."""
    total = max(sum(count for _, _, count in report.curve), 1)
    dots = "".join(
        f"<circle cx={30 + 150 * sure:.1f} cy={165 - 150 * share:.1f} r={2 + 10 * (count / total) ** 0.5:.1f} "
        "fill=#0550ae fill-opacity=.7 />"
        for sure, share, count in report.curve
    )
    return (
        '<svg width=220 height=190 role=img aria-label="calibration curve">'
        "<rect x=30 y=15 width=150 height=150 fill=none stroke=#d8dee4 />"
        "<line x1=30 y1=165 x2=180 y2=15 stroke=#8c959f stroke-dasharray=4 />"
        f"{dots}<text x=105 y=183 text-anchor=middle font-size=12>confidence</text>"
        '<text x=12 y=90 font-size=12 transform="rotate(-90 12 90)" text-anchor=middle>accuracy</text></svg>'
    )
