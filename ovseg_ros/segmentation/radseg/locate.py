"""Where RADIO's weights are: a path, or a release in the cache of the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ovseg_ros.errors import OvsegError

LICENCE = "NVIDIA Open Model License, commercial use allowed"


@dataclass(frozen=True)
class Release:
    """A file on the hub."""

    repository: str
    file: str

    @property
    def command(self) -> str:
        """What fetches it in a shell."""
        return f"hf download {self.repository} {self.file}"


RELEASES = {
    "c-radio_v3-b": Release("nvidia/C-RADIOv3-B", "c-radio_v3-b_half.pth.tar"),
    "c-radio_v3-l": Release("nvidia/C-RADIOv3-L", "c-radio-v3_l_half.pth.tar"),
    "c-radio_v3-h": Release("nvidia/C-RADIOv3-H", "c-radio_v3-h_half.pth.tar"),
    "c-radio_v3-g": Release("nvidia/C-RADIOv3-g", "c-radio_v3-g_half.pth.tar"),
    "c-radio_v4-so400m": Release("nvidia/C-RADIOv4-SO400M", "c-radio_v4-so400m_half.pth.tar"),
    "c-radio_v4-h": Release("nvidia/C-RADIOv4-H", "c-radio_v4-h_half.pth.tar"),
}
"""Those under LICENCE. RADIOv2.5 and before, for non-commercial use only, have no SigLIP2 head anyway."""


def find_weights(weights: str) -> Path | None:
    """The file, if it is on this machine. Touches no network.

    Raises:
        OvsegError: if ``weights`` is neither a path nor a release.
    """
    if _is_path(weights):
        path = Path(weights).expanduser()
        return path if path.is_file() else None
    release = _release(weights)
    if find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(release.repository, release.file)
    return Path(cached) if isinstance(cached, str) else None


def fetch_weights(weights: str) -> Path:
    """The file, downloaded into the hub's cache where it isn't there yet (not with HF_HUB_OFFLINE=1).

    Raises:
        OvsegError: if it can't be had; the message says how to get it.
    """
    found = find_weights(weights)
    if found is not None:
        return found
    if _is_path(weights):
        raise OvsegError(how_to_get(weights))
    if find_spec("huggingface_hub") is None:
        raise OvsegError("downloading weights needs huggingface_hub: pip install huggingface_hub")
    from huggingface_hub import hf_hub_download

    release = _release(weights)
    try:
        return Path(hf_hub_download(release.repository, release.file))
    except OSError as error:
        reason = " ".join(str(error).split())[:120]
        raise OvsegError(f"{how_to_get(weights)} (tried just now: {reason})") from error


def how_to_get(weights: str) -> str:
    """One sentence for who lacks these weights."""
    if _is_path(weights):
        path = Path(weights).expanduser()
        release = next((entry for entry in RELEASES.values() if entry.file == path.name), RELEASES["c-radio_v3-b"])
        return f"there are no weights at {path}: run `{release.command} --local-dir {path.parent}`"
    return f"the weights {weights} are not on this machine: run `{_release(weights).command}`"


def _release(weights: str) -> Release:
    by_name = RELEASES | {release.repository: release for release in RELEASES.values()}
    if weights not in by_name:
        raise OvsegError(f"there are no weights {weights!r}: give a path, or one of {', '.join(RELEASES)}")
    return by_name[weights]


def _is_path(weights: str) -> bool:
    return weights.endswith((".pth.tar", ".pth", ".pt", ".safetensors")) or weights.startswith(("/", "~", "."))
