"""The protocols that published tables were made with, and our own.

Each repeats what the authors' code does, from the map on; what is their method's own (masks, objects, learned 3D
features) is not part of it. Where a protocol's prompts need a text encoder of whole sentences and the backend has none,
names go in as the backend words them, and the results say so.
"""

from __future__ import annotations

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.protocols.ignoring import Charge, Ignoring
from ovseg_ros.evaluation.protocols.labelling import Candidates, Labelling
from ovseg_ros.evaluation.protocols.matching import SAME_VOXEL, Matching, Places
from ovseg_ros.evaluation.protocols.protocol import Protocol
from ovseg_ros.evaluation.protocols.scoring import Divisor, Scoring
from ovseg_ros.evaluation.protocols.words import Words
from ovseg_ros.evaluation.transfer import MAX_DISTANCE_VOXELS
from ovseg_ros.evaluation.truth import BACKGROUND

OTHER = ("otherprop", "otherstructure", "otherfurniture")
WITH, WITHOUT = "with background", "without background"

STRICT = Protocol(
    id="strict",
    source="ours: every frame, surfaces that were seen, answers within two voxels, claims on background cost",
    labelling=Labelling(),
    places=Places(voxels=True, seen=True),
    matching=Matching(reach=MAX_DISTANCE_VOXELS),
    variants=(Ignoring(WITH), Ignoring(WITHOUT, background=True, charge=Charge.IGNORED)),
)

_RAYFRONTS_LABELLING = Labelling(Candidates.SCORED, scale=100.0, denoise=0.5, chunk=10_000, threshold=0.1)

RAYFRONTS = Protocol(
    id="rayfronts",
    source="RayFronts, scripts/semseg_eval.py and experiments/semseg_configs (cfa0e6a)",
    every=11,
    labelling=_RAYFRONTS_LABELLING,
    places=Places(voxels=True, unlabelled_votes=True, ignored_votes=False),
    matching=Matching(neighbours=5),
    variants=(Ignoring(WITH, OTHER), Ignoring(WITHOUT, (*OTHER, *BACKGROUND, "background"))),
)

RAYFRONTS_SAME_VOXEL = Protocol(
    id="rayfronts-k0",
    source="RayFronts with k=0: a voxel answers for itself alone",
    every=RAYFRONTS.every,
    labelling=_RAYFRONTS_LABELLING,
    places=RAYFRONTS.places,
    matching=Matching(reach=SAME_VOXEL),
    variants=RAYFRONTS.variants,
)

CONCEPTGRAPHS = Protocol(
    id="conceptgraphs",
    source="ConceptGraphs, scripts/eval_replica_semseg.py with n_exclude 1 and 6 (5c4da70)",
    every=5,
    words=Words(("an image of {}",)),
    labelling=Labelling(Candidates.PRESENT),
    matching=Matching(at_predictions=True),
    variants=(Ignoring(WITH, ("other",)), Ignoring(WITHOUT, ("other", *BACKGROUND))),
    scoring=Scoring(Divisor.PRESENT, pooled=True),
)

HOVSG = Protocol(
    id="hovsg",
    source="HOV-SG, application/eval/evaluate_sem_seg.py (71a8069)",
    every=10,
    voxel_size=0.02,
    words=Words(("{}", "There is the {} in the scene.")),
    matching=Matching(neighbours=5, labelled_only=True),
    variants=(Ignoring(WITHOUT, containing=(*BACKGROUND, "background"), charge=Charge.EVERYWHERE),),
    scoring=Scoring(Divisor.PRESENT),
)

OPENSCENE = Protocol(
    id="openscene",
    source="OpenScene, run/evaluate.py and util/metric.py (0f369bc)",
    voxel_size=0.02,
    words=Words(("a {} in a scene",)),
    matching=Matching(reach=MAX_DISTANCE_VOXELS, labelled_only=True),
    variants=(Ignoring(WITH), Ignoring(WITHOUT, BACKGROUND)),
    scoring=Scoring(Divisor.ALL, pooled=True, unanswered_costs_iou=False),
)

OVO = Protocol(
    id="ovo",
    source="OVO and OpenNeRF, ovo/utils/eval_utils.py (8a1127d)",
    every=10,
    matching=Matching(neighbours=5, labelled_only=True),
    variants=(Ignoring(WITH), Ignoring(WITHOUT, BACKGROUND)),
    scoring=Scoring(Divisor.TRUE_OR_CLAIMED, pooled=True),
)

PROTOCOLS = {
    entry.id: entry for entry in (STRICT, RAYFRONTS, RAYFRONTS_SAME_VOXEL, CONCEPTGRAPHS, HOVSG, OPENSCENE, OVO)
}


def protocol(id: str) -> Protocol:
    """The protocol with this id.

    Raises:
        OvsegError: there is none.
    """
    if id not in PROTOCOLS:
        raise OvsegError(f"there is no protocol {id!r}: choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[id]
