"""An alert as one sentence, in English, Portuguese or Spanish.

Takes numbers from `pipeline.alerts.sentinel`; topics are called as the taxonomy calls them in that language.
"""

# ruff: noqa: E501 - a sentence is one line, so that its three languages can be compared
from __future__ import annotations

from functools import cache

from models import taxonomy
from schemas.alerts import Kind, Measure, Series

LANGUAGES = ("en", "pt", "es")

_WHAT = {
    "en": {
        Measure.NEGATIVE: "negative comments",
        Measure.NET: "net sentiment",
        Measure.NPS: "NPS",
        Measure.CSAT: "dissatisfied CSAT answers",
        Measure.CES: "high-effort CES answers",
        Measure.VOLUME: "answers",
    },
    "pt": {
        Measure.NEGATIVE: "comentários negativos",
        Measure.NET: "sentimento líquido",
        Measure.NPS: "NPS",
        Measure.CSAT: "respostas insatisfeitas de CSAT",
        Measure.CES: "respostas de muito esforço (CES)",
        Measure.VOLUME: "respostas",
    },
    "es": {
        Measure.NEGATIVE: "comentarios negativos",
        Measure.NET: "sentimiento neto",
        Measure.NPS: "NPS",
        Measure.CSAT: "respuestas insatisfechas de CSAT",
        Measure.CES: "respuestas de mucho esfuerzo (CES)",
        Measure.VOLUME: "respuestas",
    },
}
_COMPLAINTS = {"en": "complaints about {0}", "pt": "reclamações sobre {0}", "es": "quejas sobre {0}"}
_IN = {"en": "{0} in {1} {2}", "pt": "{0} em {1} {2}", "es": "{0} en {1} {2}"}
_DIMENSION = {
    "en": {},
    "pt": {"survey": "pesquisa", "touchpoint": "ponto de contato", "channel": "canal", "language": "idioma", "segment": "segmento"},
    "es": {"survey": "encuesta", "touchpoint": "punto de contacto", "channel": "canal", "language": "idioma", "segment": "segmento"},
}  # fmt: skip
_SPIKE_SHARE = {
    "en": "{tenant}: {what} rose to {now} % ({k} of {n} in {minutes} min); {usual} % is usual at this hour. Since {since} UTC.",
    "pt": "{tenant}: {what} subiram para {now} % ({k} de {n} em {minutes} min); o normal a esta hora é {usual} %. Desde {since} UTC.",
    "es": "{tenant}: {what} subieron al {now} % ({k} de {n} en {minutes} min); lo normal a esta hora es {usual} %. Desde las {since} UTC.",
}  # fmt: skip
_SPIKE_SCORE = {
    "en": "{tenant}: {what} fell to {now} (n = {n} in {minutes} min); {usual} is usual at this hour. Since {since} UTC.",
    "pt": "{tenant}: {what} caiu para {now} (n = {n} em {minutes} min); o normal a esta hora é {usual}. Desde {since} UTC.",
    "es": "{tenant}: {what} cayó a {now} (n = {n} en {minutes} min); lo normal a esta hora es {usual}. Desde las {since} UTC.",
}  # fmt: skip
_DRIFT = {
    "en": "{tenant}: {what} have been getting slowly worse for hours or days, without a jump: see the trend since {since} UTC.",
    "pt": "{tenant}: {what} vêm piorando aos poucos há horas ou dias, sem um salto: veja a tendência até {since} UTC.",
    "es": "{tenant}: {what} empeoran poco a poco desde hace horas o días, sin un salto: vea la tendencia hasta las {since} UTC.",
}  # fmt: skip
_SILENCE = {
    "en": "{tenant}: no answers for an hour, where about {usual} are usual. Is the source still sending?",
    "pt": "{tenant}: nenhuma resposta há uma hora, quando o normal é cerca de {usual}. A origem ainda envia?",
    "es": "{tenant}: ninguna respuesta desde hace una hora, cuando lo normal es cerca de {usual}. ¿La fuente sigue enviando?",
}  # fmt: skip
_RULE = {
    "en": "{tenant}: rule “{rule}”: {what} is {now} (n = {n} in {minutes} min); the limit is {usual}.",
    "pt": "{tenant}: regra “{rule}”: {what} está em {now} (n = {n} em {minutes} min); o limite é {usual}.",
    "es": "{tenant}: regla «{rule}»: {what} está en {now} (n = {n} en {minutes} min); el límite es {usual}.",
}  # fmt: skip

_AGAIN = {
    "en": "{0} (Sent again after a restart: you may have seen it.)",
    "pt": "{0} (Enviado de novo após um reinício: talvez já o tenha visto.)",
    "es": "{0} (Enviado otra vez tras un reinicio: quizá ya lo haya visto.)",
}


def again(summary: str, language: str) -> str:
    """The sentence of a notice that has perhaps been sent before."""
    return _AGAIN[language_of(language)].format(summary)


@cache
def _topic_names() -> dict[str, dict[str, str]]:
    return {topic.id: dict(topic.name) for topic in taxonomy.load().topics}


def topic_name(topic: str, language: str) -> str:
    """The taxonomy's name of a topic; its id where it has none."""
    name = _topic_names().get(topic, {})
    return name.get(language) or name.get("en") or topic


def language_of(wanted: str) -> str:
    """The language to write in: English where we cannot write the wanted one."""
    short = wanted.lower()[:2]
    return short if short in LANGUAGES else "en"


def what(series: Series, language: str) -> str:
    """A series in words: `complaints about Late delivery`, `NPS in channel app`."""
    if series.dimension == "topic":
        return _COMPLAINTS[language].format(topic_name(series.value, language))
    base = _WHAT[language][series.measure]
    if series.dimension == "all":
        return base
    return _IN[language].format(base, _DIMENSION[language].get(series.dimension, series.dimension), series.value)


def as_score(measure: Measure, share: float) -> float:
    """An unhappy share (0..1) as people know the measure: NPS and net sentiment -100..100, the others per cent."""
    if measure in (Measure.NPS, Measure.NET):
        return 100 * (1 - 2 * share)
    if measure in (Measure.CSAT, Measure.CES):
        return 100 * (1 - share)
    return 100 * share


def sentence(
    kind: Kind,
    series: Series,
    language: str,
    *,
    unhappy: float,
    n: float,
    usual: float,
    window: int,
    since: str,
    rule: str = "",
) -> str:
    """One sentence. `usual` is a share (0..1); for silence the answers an hour, for a rule its limit as people know it."""
    score = series.measure in (Measure.NPS, Measure.NET)
    if kind is Kind.RULE:
        now = n if series.measure is Measure.VOLUME else as_score(series.measure, unhappy / n if n else 0.0)
        return _RULE[language].format(
            tenant=series.tenant, rule=rule, what=what(series, language), now=f"{now:.0f}", n=f"{n:.0f}",
            minutes=window // 60, usual=f"{usual:g}",
        )  # fmt: skip
    if kind is Kind.SILENCE:
        return _SILENCE[language].format(tenant=series.tenant, usual=f"{usual:.0f}")
    if kind is Kind.DRIFT:
        return _DRIFT[language].format(tenant=series.tenant, what=what(series, language), since=since)
    share = unhappy / n if n else 0.0
    now, normal = (as_score(series.measure, one) if score else 100 * one for one in (share, usual))
    return (_SPIKE_SCORE if score else _SPIKE_SHARE)[language].format(
        tenant=series.tenant, what=what(series, language), now=f"{now:.0f}", usual=f"{normal:.0f}",
        k=f"{unhappy:g}", n=f"{n:.0f}", minutes=window // 60, since=since,
    )  # fmt: skip
