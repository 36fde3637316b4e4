"""How several people's answers become one: the project's settings, and how far each of them is believed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

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


PLAIN = Voting()


def voting(
    settings: Settings, answers: Iterable[Sequence[Annotation]], samples: Mapping[str, Sample]
) -> Voting:
    """The project's voting, each annotator believed as far as all of their shared answers allow.

    ``answers`` are those of each image of the project, skipped ones left out: trust that was learned from a
    part of them would make another consensus of the same answers.
    """
    plain = Voting(settings.tau, settings.quorum, settings.least_votes)
    shared = [a for given in answers if len({a.annotator for a in given}) > 1 for a in given]
    return replace(plain, trust=learn_trust(study(settings, shared, samples))) if shared else plain


def study(settings: Settings, annotations: Sequence[Annotation], samples: Mapping[str, Sample]) -> Study:
    """The annotations as the consensus room reads them."""
    return of_annotations(annotations, sizes(samples), settings.tau)


def sizes(samples: Mapping[str, Sample]) -> dict[str, tuple[int, int]]:
    """Width and height by sample in pixels."""
    return {s.id: (s.width, s.height) for s in samples.values()}
