"""What a published layout is called, looks like and comes from: the one way of saying what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ovseg_ros.errors import OvsegError


@dataclass(frozen=True)
class PublishedLayout:
    """A way in which recordings are published.

    Attributes:
        name: as `open_sequence` takes it.
        tree: the files of a whole recording, in a line.
        source: where it is downloaded and what makes the files, in a line.
    """

    name: str
    tree: str
    source: str

    def incomplete(self, path: Path, missing: str) -> OvsegError:
        """The one sentence about a wrong or partial recording."""
        return OvsegError(
            f"{path} is not a whole {self.name} recording: {missing}; expected {self.tree} ({self.source})"
        )

    def only_one(self, path: Path, recordings: list[Path]) -> Path:
        """The single recording that was found below a folder.

        Raises:
            OvsegError: there are several.
        """
        if len(recordings) > 1:
            names = ", ".join(str(recording.relative_to(path)) for recording in recordings)
            raise OvsegError(f"{path} holds {len(recordings)} recordings ({names}): give the folder of one of them")
        return recordings[0]
