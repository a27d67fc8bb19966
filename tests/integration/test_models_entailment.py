"""A Hugging Face NLI model of the user's own finds the topics, in the comment's language, clause by clause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from models import heads, taxonomy
from models.classifier import Classifier
from models.entailment import EntailedTopics, hypothesis
from models.errors import ModelError
from models.fewshot import FewShotTopics
from models.installed import installed, use_of
from models.labeler import Labeler
from models.language import LanguageGuesser
from models.settings import ModelSettings
from schemas.labels import Labels, Sentiment
from tests.integration import tiny_nli
from tests.integration.stream_fixture import vocstream

POSITIVE = {Sentiment.POSITIVE, Sentiment.VERY_POSITIVE}
NEGATIVE = {Sentiment.NEGATIVE, Sentiment.VERY_NEGATIVE}
COMMIT = "0123456789" * 4


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nli.saved(tiny_nli.word_matcher(), tmp_path_factory.mktemp("nli"))


@pytest.fixture(scope="module")
def settings(nli: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    path = tmp_path_factory.mktemp("taxonomy") / "topics.yaml"
    path.write_text(tiny_nli.TAXONOMY, encoding="utf-8")
    return ModelSettings(topics=str(nli), taxonomy=path, precision="fp32")


@pytest.fixture(scope="module")
def labeler(settings: ModelSettings) -> Labeler:
    return Labeler.load(settings)


def entailed(settings: ModelSettings, **changed: Any) -> EntailedTopics:
    return EntailedTopics.load(settings.model_copy(update=changed), taxonomy.load(settings.taxonomy).topics)


def sharing(labeler: Labeler, settings: ModelSettings, **changed: Any) -> Labeler:
    """A labeler with the encoder of another one, which takes long to load."""
    known, guesser = taxonomy.load(settings.taxonomy), LanguageGuesser(settings.languages)
    return Labeler(labeler.encoder, heads.load(), known, guesser, "test", 0, entailed=entailed(settings, **changed))


def feelings(labels: Labels) -> dict[str, Sentiment]:
    return {mention.topic: mention.sentiment for mention in labels.topics}


@pytest.mark.parametrize("text", [
    "I love that they welcomed my dog, but the pool was dirty and disgusting",
    "Adorei que receberam meu cachorro, mas a piscina estava suja e nojenta",
    "Me encanta que recibieron a mi perro, pero la alberca estaba sucia y asquerosa",
])  # fmt: skip
def test_topics_are_found_in_the_comments_language_with_their_clauses_feeling(labeler: Labeler, text: str) -> None:
    labels = labeler.label([text])[0]
    found = feelings(labels)
    assert found.keys() == {"pets.dog", "place.pool"}
    assert found["pets.dog"] in POSITIVE
    assert found["place.pool"] in NEGATIVE
    assert all(0.5 <= mention.confidence <= 1.0 for mention in labels.topics)


def test_the_model_finds_all_topics_in_place_of_the_heads(labeler: Labeler) -> None:
    assert "food.quality" in heads.load()[1].topics
    assert labeler.trained_topics == []
    cold, breakfast = labeler.label(["The food was cold and tasteless", "They have breakfast"])
    assert list(feelings(cold)) == ["other"]
    assert cold.sentiment in NEGATIVE
    assert list(feelings(breakfast)) == ["food.quality"]


def test_topics_fitted_to_examples_keep_priority(labeler: Labeler, settings: ModelSettings, tmp_path: Path) -> None:
    width, path = labeler.encoder.width, tmp_path / "fitted.safetensors"
    always = FewShotTopics(
        ["pets.dog"], np.array([0.5], np.float32), np.zeros((1, width), np.float32), np.array([2.0], np.float32),
        np.zeros(width, np.float32), labeler.encoder_version,
    )  # fmt: skip
    always.save(path)
    fitted = Labeler.load(settings.model_copy(update={"fitted_topics": path}))
    for text in ("The pool was dirty", "My dog saw the pool"):
        mentions = fitted.label([text])[0].topics
        assert sorted(mention.topic for mention in mentions) == ["pets.dog", "place.pool"]
        assert [mention.confidence for mention in mentions if mention.topic == "pets.dog"] == [
            pytest.approx(0.8808, abs=1e-3)
        ]


def test_the_threshold_decides(labeler: Labeler, settings: ModelSettings) -> None:
    strict = sharing(labeler, settings, topics_threshold=0.95)
    assert list(feelings(strict.label(["The pool was dirty"])[0])) == ["other"]


def test_what_is_asked_and_of_whom_is_part_of_the_version(labeler: Labeler, settings: ModelSettings) -> None:
    same = entailed(settings).version
    assert f"+{same}+topics-" in labeler.model_version
    assert same.startswith(f"{settings.topics}-")
    assert entailed(settings, topics_threshold=0.6).version != same
    assert entailed(settings, topics_templates={"en": "It is about {name}."}).version != same


def test_a_name_of_the_hub_has_its_commit_in_the_version(settings: ModelSettings, tmp_path: Path) -> None:
    kept = tmp_path / "hub" / "models--some--nli"
    tiny_nli.saved(tiny_nli.word_matcher(), kept / "snapshots" / COMMIT)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    env = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "VOC_MODEL_TAXONOMY": str(settings.taxonomy)}
    named = env | {"VOC_MODEL_TOPICS": "some/nli"}
    run = vocstream("classify", "The pool was dirty", "--format", "jsonl", env=named)
    assert run.returncode == 0, run.stderr
    assert f"+some/nli@{COMMIT[:8]}-" in run.stdout
    assert '"topics": ["place.pool"]' in run.stdout
    other = vocstream("classify", "x", env=named | {"VOC_MODEL_TOPICS_REVISION": "v2"})
    assert other.returncode != 0
    assert "cannot load the topics model some/nli" in " ".join(other.stderr.split())


@pytest.mark.parametrize(("labels", "declared", "reason"), [
    (("a", "b", "c"), {}, r"\['a', 'b', 'c'\].*VOC_MODEL_TOPICS_LABELS"),
    (("negative", "neutral", "positive"), {}, r"'positive'\].*NLI model"),
    (("entailment", "neutral", "contradiction"), {"neutral": "entailment"}, "not one alone"),
    (("a", "b", "c"), {"d": "entailment"}, r"tells of \['d'\].*\['a', 'b', 'c'\]"),
    (("a", "b", "c"), {"a": "implied"}, r"maps to \['implied'\].*entailment"),
])  # fmt: skip
def test_a_model_without_one_label_of_entailment_stops_the_start(
    settings: ModelSettings, tmp_path: Path, labels: tuple[str, ...], declared: dict[str, str], reason: str
) -> None:
    folder = tiny_nli.saved(tiny_nli.word_matcher(), tmp_path / "model", labels)
    with pytest.raises(ModelError, match=reason) as raised:
        entailed(settings, topics=str(folder), topics_labels=declared)
    assert str(folder) in str(raised.value) or "implied" in str(raised.value)


@pytest.mark.parametrize(("labels", "declared"), [
    (("LABEL_0", "LABEL_1", "LABEL_2"), {"LABEL_2": "entailment"}),
    (("LABEL_0", "LABEL_1", "LABEL_2"), {"LABEL_0": "contradiction", "LABEL_1": "neutral", "LABEL_2": "entailment"}),
    (("not_entailment", "neither", "ENTAILMENT"), {}),
])  # fmt: skip
def test_the_label_of_entailment_is_declared_or_found(
    settings: ModelSettings, tmp_path: Path, labels: tuple[str, ...], declared: dict[str, str]
) -> None:
    folder = tiny_nli.saved(tiny_nli.word_matcher(), tmp_path / "model", labels)
    sure = entailed(settings, topics=str(folder), topics_labels=declared).confidence([["my dog"]], ["en"])
    assert (sure[0] > 0.5).tolist() == [[True, False, False]]


def test_a_model_that_is_not_there_or_has_one_label_stops_the_start(settings: ModelSettings, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"topics model .*no-such"):
        entailed(settings, topics=str(tmp_path / "no-such"))
    model = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model("bert", **SMALL | BERT_LIKE | {"num_labels": 1})
    )
    lonely = tiny_nli.saved(model, tmp_path / "lonely", ("entailment",))
    with pytest.raises(ModelError, match="of several"):  # of one label the probability is always 1
        entailed(settings, topics=str(lonely))


SMALL: dict[str, Any] = {
    "vocab_size": 99, "num_labels": 3, "pad_token_id": 0, "max_position_embeddings": 80, "initializer_range": 1.0,
}  # fmt: skip
BERT_LIKE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
BART_LIKE = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 3,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # by the code of DeBERTa
@pytest.mark.parametrize(("architecture", "shape"), [
    ("bert", BERT_LIKE),
    ("xlm-roberta", BERT_LIKE | {"type_vocab_size": 1}),
    ("deberta-v2", BERT_LIKE),
    ("distilbert", {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16}),
    ("bart", BART_LIKE),
])  # fmt: skip
def test_any_architecture_answers_pairs_as_transformers_does(
    architecture: str, shape: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(architecture, **SMALL, **shape))
    folder = tiny_nli.saved(model, tmp_path, tells_texts_apart=architecture == "bert")
    pairs = [("the dog and the pool", "about pool"), ("dog", "this comment is about breakfast ."), ("a " * 99, "dog")]
    found = Classifier.load(folder, "topics", token_budget=64).probabilities(pairs)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    judge = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for pair, row in zip(pairs, found, strict=True):
        with torch.inference_mode():
            expected = judge(**tokenizer(*pair, truncation=True, return_tensors="pt")).logits.softmax(-1)[0]
        assert row == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_clause_is_judged_once_and_batches_halve_when_memory_is_short(settings: ModelSettings) -> None:
    topics = entailed(settings)
    comments = [["my dog", "the pool"], ["my dog"], ["the breakfast was cold and late"], []]
    expected = topics.confidence(comments, ["en"] * 4)
    assert [rows.shape for rows in expected] == [(2, 3), (1, 3), (1, 3), (0, 3)]
    sizes: list[int] = []

    def starved(module: torch.nn.Module, given: Any, inputs: dict[str, torch.Tensor]) -> None:
        if len(inputs["input_ids"]) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        sizes.append(len(inputs["input_ids"]))

    topics._classifier._batches.model._model.register_forward_pre_hook(starved, with_kwargs=True)
    again = topics.confidence(comments, ["en"] * 4)
    assert sum(sizes) == 3 * 3  # three clauses that differ, three topics
    for one, other in zip(expected, again, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_comment_that_breaks_the_model_takes_no_other_with_it(
    labeler: Labeler, settings: ModelSettings, tmp_path: Path
) -> None:
    model = tiny_nli.word_matcher()
    model.bert.embeddings.word_embeddings.weight.data[tiny_nli.WORDS.index(tiny_nli.POISON)] = torch.nan
    folder = tiny_nli.saved(model, tmp_path)
    broken = sharing(labeler, settings, topics=str(folder))
    bad, good, empty, face = broken.label(["The pool is poison", "The pool was dirty", "", "😡"])
    assert (bad.sentiment, bad.topics) == (Sentiment.UNKNOWN, ())
    assert list(feelings(good)) == ["place.pool"]
    assert (empty.topics, face.topics) == ((), ())
    with pytest.raises(ModelError, match="NaN"):
        broken.label(["all poison", "more poison"])


def test_hypotheses_are_in_a_language_that_topic_and_templates_share() -> None:
    both = taxonomy.Topic(id="a.b", name={"en": "Late", "pt": "Atraso"}, description={"pt": "chegou tarde"})
    german = taxonomy.Topic(id="a.c", name={"de": "Verspätung"}, description={"de": "kam zu spät"})
    templates = {"es": "Trata de {name}.", "pt": "Trata-se de {name}: {description}.", "en": "About {name}, {name}."}
    assert hypothesis(both, "en", templates) == "About Late, Late."
    assert hypothesis(both, "pt", templates) == "Trata-se de Atraso: chegou tarde."
    assert hypothesis(both, "es", templates) == "Trata-se de Atraso: chegou tarde."
    assert hypothesis(german, "es", templates) == "Trata de Verspätung."


def test_a_comment_in_another_language_is_asked_in_the_first(settings: ModelSettings) -> None:
    sure = entailed(settings).confidence([["dog"], ["cachorro"], ["dog"]], ["fr", "fr", "pt"])
    assert [bool((rows > 0.5).any()) for rows in sure] == [True, False, False]


def test_a_model_that_was_fetched_is_told_with_its_use_and_known_by_its_commit(
    settings: ModelSettings, tmp_path: Path
) -> None:
    folder = tiny_nli.saved(tiny_nli.word_matcher(), tmp_path / "some--nli")
    (folder / "vocstream.json").write_text(json.dumps({"name": "some/nli", "revision": COMMIT}), encoding="utf-8")
    told = {model.folder: use_of(model) for model in installed(tmp_path)}
    assert told[folder] == f"To find topics: VOC_MODEL_TOPICS={folder}"
    assert entailed(settings, topics=str(folder)).version.startswith(f"{folder}@{COMMIT[:8]}-")


@pytest.mark.parametrize(
    "value", ["{}", '{"english": "of {name}"}', '{"en": "of it"}', '{"en": "of {topic}"}', '{"en": "{"}']
)
def test_a_template_that_names_no_topic_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOC_MODEL_TOPICS_TEMPLATES", value)
    with pytest.raises(ValidationError, match="topics_templates"):
        ModelSettings()
    monkeypatch.setenv("VOC_MODEL_TOPICS_TEMPLATES", '{"de": "Es geht um {name}."}')
    assert ModelSettings().topics_templates == {"de": "Es geht um {name}."}
