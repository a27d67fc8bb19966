"""`vocstream topics`: what comments speak of. Show the taxonomy, fit topics of one's own, find those that it misses."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.clickhouse.client import ClickHouseAway, wait_for_clickhouse
from models import taxonomy
from models.settings import ModelSettings
from pipeline.cli.console import Failure, out, print_json, print_records, table
from pipeline.cli.labelled import FORMAT, FileArgument, SplitOption, labelled_rows
from pipeline.cli.quality import labelling, load_labeler
from pipeline.cli.rooms import DEFAULT_DATA, DataOption, JsonOption, clickhouse_settings
from pipeline.files import BadLine, read_rows

if TYPE_CHECKING:
    from schemas.labels import Sentiment

PROPOSALS = "topic-proposals.json"
MOST = 20_000  # comments of the store that are looked at, the newest

topics = typer.Typer(
    help="What comments speak of: show the taxonomy, fit topics of your own, find those that it misses.\n\n"
    "(The topics of Kafka are [bold]vocstream kafka-topics[/bold].)",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def register(app: typer.Typer) -> None:
    app.add_typer(topics, name="topics")


@topics.command("list")
def list_(json_output: JsonOption = False) -> None:
    """Show the topics, and how each is found: by your examples, your NLI model, shipped training or its description."""
    from models import fewshot, heads

    settings = ModelSettings()
    trained = set(heads.load(settings.heads)[1].topics) if settings.heads or settings.encoder == "default" else set()
    fitted = set(fewshot.topics_of(settings.fitted_topics)) if settings.fitted_topics else set()

    def found_by(topic: str) -> str:
        if topic in fitted:
            return "your examples"
        return settings.topics or ("training" if topic in trained else "description")

    records = [
        {
            "topic": topic.id,
            "name": topic.name.get("en") or next(iter(topic.name.values())),
            "found by": found_by(topic.id),
        }
        for topic in taxonomy.load(settings.taxonomy).topics
    ]
    print_records("Topics", records, as_json=json_output)


@topics.command(
    help="Learn topics of your taxonomy from a handful of labelled comments (about eight a topic or more), and measure "
    "them by folds.\n\n"
    "[dim]VOC_MODEL_TAXONOMY=my.yaml vocstream topics fit my-comments.jsonl --out my-topics.safetensors[/dim]\n\n"
    "Label every comment with all its topics; a comment without any (topics: []) teaches what they are not. Topics "
    "with fewer than four comments stay found by their description. Topics that the shipped heads know keep them, "
    "unless you say --all." + FORMAT
)
def fit(
    file: FileArgument,
    target: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("topics.safetensors"),
    split: SplitOption = None,
    every: Annotated[bool, typer.Option("--all", help="Topics that the shipped heads know as well.")] = False,
    json_output: JsonOption = False,
) -> None:
    rows = labelled_rows(file, split)
    from models.fewshot import FEWEST, fit_topics
    from models.labelled import Labelled

    comments = [comment for comment in map(Labelled.of, rows) if comment.topics is not None]
    settings = ModelSettings(fitted_topics=None)
    known = taxonomy.load(settings.taxonomy)
    labeler = load_labeler(settings)
    wanted = [topic for topic in known.topics if every or topic.id not in labeler.trained_topics]
    with labelling("reading", len(comments)) as advance:
        fitted, figures = fit_topics(labeler.encoder, comments, wanted, known.topics, labeler.encoder_version, advance)
    if fitted is None:
        strange = sorted({t for c in comments for t in c.topics or ()} - set(known.ids))
        raise Failure(
            f"{file} has no topic to fit: one needs {FEWEST} comments, must be in the taxonomy "
            f"({settings.taxonomy or 'the shipped one; set VOC_MODEL_TAXONOMY'}), and not be known to the shipped "
            "heads (or say --all)" + (f". Not in the taxonomy: {', '.join(strange[:5])}" if strange else "")
        )
    fitted.save(target)
    if json_output:
        print_json({"file": str(target), "topics": [asdict(one) for one in figures]})
        return
    cells = [[one.topic, one.examples, 100 * one.described, 100 * one.fitted] for one in figures]
    out.print(table("F1 in %, each comment judged by a fit that has not seen it",
                    ["topic", "examples", "by description", "fitted"], cells))  # fmt: skip
    out.print(f"Written: {target}. To use it: VOC_MODEL_FITTED_TOPICS={target}", highlight=False)


@topics.command()
def discover(
    file: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="Comments, JSON Lines or CSV; without, those of the store."),
    ] = None,
    smallest: Annotated[int, typer.Option(min=3, help="Fewest comments of a proposal.")] = 8,
    data: DataOption = DEFAULT_DATA,
    json_output: JsonOption = False,
) -> None:
    """Propose topics that the taxonomy misses: clusters of the comments that fit none (`other`).

    [dim]vocstream topics discover --data data[/dim]

    [dim]vocstream topics discover comments.jsonl, then vocstream topics accept 1 --id pets.welcome[/dim]
    """
    labeler = load_labeler(ModelSettings())
    from models.discover import discover as cluster

    found = _others_of_file(file, labeler) if file else _others_of_store(data)
    proposals = [asdict(p) for p in cluster(labeler.encoder, list(found), list(found.values()), smallest=smallest)]
    data.mkdir(parents=True, exist_ok=True)
    (data / PROPOSALS).write_text(json.dumps(proposals, ensure_ascii=False, indent=1), encoding="utf-8")
    if json_output:
        print_json(proposals)
        return
    if not proposals:
        out.print(f"No cluster of {smallest} or more among {len(found):,} comments that fit no topic.")
        return
    cells = [[n, ", ".join(p["terms"]), p["comments"], f"{100 * p['share']:.0f} %", p["net_sentiment"],
              "\n".join(p["samples"][:2])] for n, p in enumerate(proposals, 1)]  # fmt: skip
    out.print(
        table(f"Proposals from {len(found):,} comments that fit no topic",
              ["N", "telling terms", "comments", "share", "net sentiment", "samples"], cells)
    )  # fmt: skip
    out.print("To accept one: vocstream topics accept N --id parent.leaf --name NAME", highlight=False)


@topics.command()
def accept(
    number: Annotated[int, typer.Argument(min=1, help="N of the last vocstream topics discover.", show_default=False)],
    topic: Annotated[str | None, typer.Option("--id", help="parent.leaf; default: found. and its first terms.")] = None,
    name: Annotated[str | None, typer.Option(help="What people call it; default: its first terms.")] = None,
    language: Annotated[str, typer.Option(help="Language of the name and the samples.")] = "en",
    file: Annotated[
        Path | None,
        typer.Option("--taxonomy", help="YAML to add it to; default: VOC_MODEL_TAXONOMY, else taxonomy.yaml."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Add a proposal to your taxonomy; comments are found to speak of it at once, by its terms and samples.

    [dim]vocstream topics accept 1 --id pets.welcome --name "Pets welcome"[/dim]
    """
    from models.discover import Proposal, proposed_id
    from models.discover import accept as add

    path = file or ModelSettings().taxonomy or Path("taxonomy.yaml")
    try:
        proposals = [Proposal(**p) for p in json.loads((data / PROPOSALS).read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise Failure(f"no proposals in {data / PROPOSALS}: run vocstream topics discover first") from error
    if number > len(proposals):
        raise Failure(f"there is no proposal {number}: the last vocstream topics discover made {len(proposals)}")
    proposal = proposals[number - 1]
    if not path.exists():
        shutil.copy(taxonomy.SHIPPED, path)
        out.print(f"{path}: begun as a copy of the shipped taxonomy", highlight=False)
    topic = topic or proposed_id(proposal)
    add(proposal, topic, {language: name or ", ".join(proposal.terms[:2]).capitalize() or topic}, path)
    out.print(f"Added {topic} to {path}. Edit its words there; to use it: VOC_MODEL_TAXONOMY={path}", highlight=False)


def _others_of_file(file: Path, labeler: Any) -> dict[str, Sentiment]:
    comments = []
    for number, row in read_rows(file):
        if isinstance(row, BadLine):
            raise Failure(f"{file}, line {number}: {row.error}")
        comments.append(str(row.get("comment") or row.get("text") or ""))
    found: dict[str, Sentiment] = {}
    with labelling("labelling", len(comments)) as advance:
        for start in range(0, len(comments), 256):
            chunk = comments[start : start + 256]
            for comment, labels in zip(chunk, labeler.label(chunk), strict=True):
                if [mention.topic for mention in labels.topics] == [taxonomy.OTHER]:
                    found[comment] = labels.sentiment
            advance(len(chunk))
    return found


def _others_of_store(data: Path) -> dict[str, Sentiment]:
    from schemas.labels import Sentiment

    sql = (f"SELECT comment, sentiment FROM feedback.enriched_responses WHERE topics = ['{taxonomy.OTHER}'] "
           f"ORDER BY received_at DESC LIMIT {MOST}")  # fmt: skip
    try:
        with closing(wait_for_clickhouse(clickhouse_settings(data), timeout=10)) as client:
            rows = client.query(sql).result_rows
    except (ClickHouseAway, ClickHouseError) as error:
        advice = f"Is it running? vocstream up --data {data}; or name a file of comments"
        raise Failure(f"{error}\n{advice}", code=1) from error
    return {comment: Sentiment(feeling) for comment, feeling in rows}
