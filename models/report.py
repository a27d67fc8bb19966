"""An HTML report of an evaluation: one file, no network, plots as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from models.evaluate import Confusion, Report

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;"
    "background:#fff}h1{margin-bottom:0}h2{margin-top:2.5rem;border-bottom:2px solid #d8dee4}"
    "table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.25rem .6rem;border-bottom:1px solid #d8dee4;"
    "text-align:right;vertical-align:top}th{font-weight:600}td:first-child,th:first-child{text-align:left}"
    ".plots{display:flex;flex-wrap:wrap;gap:1.5rem;align-items:flex-start}figure{margin:.5rem 0}"
    "figcaption{color:#57606a;font-size:13px;max-width:30rem}.long{max-width:38rem;overflow-wrap:anywhere}"
    "text{font-family:system-ui,sans-serif;fill:#1b1f24}.quiet{color:#57606a}"
)
FIGURES = {
    "rows": "comments", "accuracy": "accuracy", "macro_f1": "macro-F1, 3 classes",
    "binary_macro_f1": "macro-F1, 2 classes", "calibration_error": "calibration error",
    "six_accuracy": "accuracy, 6 classes", "within_one_level": "within one level",
    "topics_macro_f1": "topics macro-F1", "topic_sentiment_accuracy": "sentiment of topics",
}  # fmt: skip
INK, LINE, BLUE = "#1b1f24", "#d8dee4", "#0550ae"


def render(reports: Sequence[Report], model_version: str) -> str:
    """The whole page."""
    shown = {name: title for name, title in FIGURES.items() if any(getattr(r, name) is not None for r in reports)}
    head = "".join(f"<th>{escape(title)}</th>" for title in shown.values())
    lines = "".join(f"<tr><td>{escape(r.file)}</td>{_cells(r, shown)}</tr>" for r in reports)
    parts = "".join(_section(report) for report in reports)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width'><title>Evaluation</title><style>{STYLE}</style>"
        f"<h1>Evaluation</h1><p class=quiet>Model: {escape(model_version)}. All figures but counts are in %.</p>"
        f"<table><tr><th>file</th>{head}</tr>{lines}</table>{_bars(reports)}{parts}</html>"
    )


def _cells(report: Report, names: Sequence[str] | dict[str, str]) -> str:
    values = [getattr(report, name) for name in names]
    shown = ["" if v is None else f"{v:,}" if isinstance(v, int) else _percent(v) for v in values]
    return "".join(f"<td>{value}</td>" for value in shown)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _section(report: Report) -> str:
    if not (report.confusion or report.six_confusion or report.topics):
        return ""
    plots = ""
    if report.confusion:
        plots += _figure(_confusion(report.confusion), "Three classes. Rows are the labels, columns what was said, "
                         "shade is the share of the row.")  # fmt: skip
    if report.six_confusion:
        plots += _figure(_confusion(report.six_confusion), "Five levels and mixed.")
    if report.curve:
        plots += _figure(_curve(report), "Calibration: accuracy over confidence. On the diagonal they agree; the size "
                         "of a dot is its share of the comments.")  # fmt: skip
    body = f"<h2>{escape(report.file)}</h2><div class=plots>{plots}</div>"
    if report.topics:
        rows = "".join(
            f"<tr><td>{escape(t.topic)}</td><td>{t.mentions:,}</td><td>{_percent(t.precision)}</td>"
            f"<td>{_percent(t.recall)}</td><td>{_percent(t.f1)}</td><td>{_bar(t.f1)}</td><td>{_percent(t.sentiment)}</td></tr>"
            for t in sorted(report.topics, key=lambda topic: topic.f1)
        )
        body += (
            "<h3>Topics, the worst first</h3><table><tr><th>topic</th><th>mentions</th><th>precision</th>"
            f"<th>recall</th><th>F1</th><th></th><th>its sentiment</th></tr>{rows}</table>"
        )
    if report.mistakes:
        rows = "".join(
            f"<tr><td class=long>{escape(m['text'])}</td><td>{escape(m['label'])}</td><td>{escape(m['said'])}</td>"
            f"<td>{m['confidence']:.2f}</td></tr>"
            for m in report.mistakes
        )
        body += (
            "<h3>Worst mistakes: wrong, and surest of it</h3><table><tr><th>comment</th><th>label</th><th>said</th>"
            f"<th>confidence</th></tr>{rows}</table>"
        )
    return body


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _bar(share: float) -> str:
    return (f"<svg width=120 height=12 role=img aria-label='{100 * share:.0f} %'><rect width=120 height=12 "
            f"fill={LINE} /><rect width={120 * share:.0f} height=12 fill={BLUE} /></svg>")  # fmt: skip


def _bars(reports: Sequence[Report]) -> str:
    """Macro-F1 of each file and language, beside each other."""
    told = [report for report in reports if report.macro_f1 is not None]
    if len(told) < 2:
        return ""
    bars = []
    for at, report in enumerate(told):
        y, width = 24 * at, 360 * float(report.macro_f1 or 0)
        bars.append(
            f"<text x=210 y={y + 16} text-anchor=end font-size=12>{escape(report.file[-34:])}</text>"
            f"<rect x=220 y={y + 4} width={width:.0f} height=16 fill={BLUE} />"
            f"<text x={226 + width:.0f} y={y + 16} font-size=12>{_percent(report.macro_f1)}</text>"
        )
    height = 24 * len(told) + 4
    svg = f"<svg width=640 height={height} role=img aria-label='macro-F1 of each file'>{''.join(bars)}</svg>"
    return _figure(svg, "Macro-F1 over negative, neutral and positive, 0 to 100.")


def _confusion(table: Confusion) -> str:
    """Rows are the truth, columns what was said, shade is the share of the row."""
    classes = list(table)
    left, top, wide, high = 105, 34, 62, 40
    cells = []
    for y, truth in enumerate(classes):
        total = max(sum(table[truth].values()), 1)
        middle = top + y * high + high / 2 + 4
        cells.append(f"<text x={left - 8} y={middle} text-anchor=end font-size=12>{truth.replace('_', ' ')}</text>")
        for x, said in enumerate(classes):
            count = table[truth][said]
            share = count / total
            ink = "#fff" if share > 0.5 else INK
            cells.append(
                f"<rect x={left + x * wide} y={top + y * high} width={wide - 2} height={high - 2} fill={BLUE} "
                f"fill-opacity={share:.2f} stroke={LINE} />"
                f"<text x={left + x * wide + wide / 2 - 1} y={middle} text-anchor=middle font-size=13 "
                f'style="fill:{ink}">{count:,}</text>'
            )
    for x, name in enumerate(classes):
        words = name.split("_")
        for line, word in enumerate(words):
            place = f"x={left + x * wide + wide / 2 - 1} y={top - 8 - 13 * (len(words) - 1 - line)}"
            cells.append(f"<text {place} text-anchor=middle font-size=12>{word}</text>")
    size = f"width={left + wide * len(classes)} height={top + high * len(classes)}"
    return f'<svg {size} role=img aria-label="confusion matrix">{"".join(cells)}</svg>'


def _curve(report: Report) -> str:
    """Accuracy over confidence, a dot a bin."""
    total = max(sum(count for _, _, count in report.curve), 1)
    left, top, side = 52, 12, 180

    def place(sure: float, share: float) -> tuple[float, float]:
        return left + side * sure, top + side * (1 - share)

    points = [(*place(sure, share), count) for sure, share, count in report.curve]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    dots = "".join(
        f"<circle cx={x:.1f} cy={y:.1f} r={2 + 10 * (count / total) ** 0.5:.1f} fill={BLUE} fill-opacity=.7>"
        f"<title>{count:,} comments</title></circle>"
        for x, y, count in points
    )
    ticks = "".join(
        f"<text x={place(at, 0)[0]} y={top + side + 16} text-anchor=middle font-size=11>{100 * at:.0f}</text>"
        f"<text x={left - 6} y={place(0, at)[1] + 4} text-anchor=end font-size=11>{100 * at:.0f}</text>"
        for at in (0.0, 0.5, 1.0)
    )
    return (
        f'<svg width={left + side + 16} height={top + side + 36} role=img aria-label="calibration curve">'
        f"<rect x={left} y={top} width={side} height={side} fill=none stroke={LINE} />"
        f"<line x1={left} y1={top + side} x2={left + side} y2={top} stroke=#8c959f stroke-dasharray=4 />"
        f'<polyline points="{line}" fill=none stroke={BLUE} />{dots}{ticks}'
        f"<text x={left + side / 2} y={top + side + 32} text-anchor=middle font-size=12>confidence, %</text>"
        f'<text x=12 y={top + side / 2} font-size=12 transform="rotate(-90 12 {top + side / 2})" text-anchor=middle>'
        "accuracy, %</text></svg>"
    )
