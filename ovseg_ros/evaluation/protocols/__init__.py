"""How published tables were made: protocols, each under an id that is printed beside its numbers."""

from ovseg_ros.evaluation.protocols.ignoring import Charge, Ignoring
from ovseg_ros.evaluation.protocols.labelling import Candidates, Labelling
from ovseg_ros.evaluation.protocols.matching import Matching, Places
from ovseg_ros.evaluation.protocols.named import PROTOCOLS, protocol
from ovseg_ros.evaluation.protocols.protocol import Judgement, Protocol
from ovseg_ros.evaluation.protocols.scoring import METRICS, Divisor, Scoring
from ovseg_ros.evaluation.protocols.words import Words

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "Candidates",
    "Charge",
    "Divisor",
    "Ignoring",
    "Judgement",
    "Labelling",
    "Matching",
    "Places",
    "Protocol",
    "Scoring",
    "Words",
    "protocol",
]
