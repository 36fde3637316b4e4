"""How several people's answers become one: the project's settings, and how far each of them is believed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from backend.settings import Settings
from consensus.fusion import QUORUM, Trust, fuse_all, learn_trust
from consensus.matching import TAU
from consensus.study import Study, of_annotations
from pool.schema import Annotation, Consensus, Sample


@dataclass(frozen=True, slots=True)
class Voting:
    """The settings of `consensus.fusion.fuse_study`; ``trust`` None gives every answer the same weight."""

    tau: float = TAU
    quorum: float = QUORUM
    least: int = 1
    trust: Trust | None = None

    def agreed(
        self, annotations: Sequence[Annotation], samples: Mapping[str, Sample]
    ) -> dict[str, Consensus]:
        """What the annotators of each sample say together."""
        return fuse_all(
            annotations,
            self.quorum,
            self.tau,
            least=self.least,
            sizes=sizes(samples),
            trust=self.trust,
        )


def voting(
    settings: Settings, answers: Iterable[Sequence[Annotation]], samples: Mapping[str, Sample]
) -> Voting:
    """The project's voting, each annotator believed as far as their answers of shared images allow.

    ``answers`` are the annotations of each image, skipped ones left out.
    """
    shared = [a for given in answers if len({a.annotator for a in given}) > 1 for a in given]
    plain = Voting(settings.tau, settings.quorum, settings.least_votes)
    if not shared:
        return plain
    return Voting(plain.tau, plain.quorum, plain.least, learn_trust(study(settings, shared, samples)))


def study(settings: Settings, annotations: Sequence[Annotation], samples: Mapping[str, Sample]) -> Study:
    """The annotations as the consensus room reads them."""
    return of_annotations(annotations, sizes(samples), settings.tau)


def sizes(samples: Mapping[str, Sample]) -> dict[str, tuple[int, int]]:
    """Width and height by sample in pixels."""
    return {s.id: (s.width, s.height) for s in samples.values()}
