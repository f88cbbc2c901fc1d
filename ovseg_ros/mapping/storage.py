"""A map as one file, `*.ovmap`: safetensors, with what the numbers mean in its JSON header.

Saving is atomic: whatever happens meanwhile, the path holds either the whole old file or the whole new
one. Loading checks everything before it builds anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping.compression import FeatureCodec
from ovseg_ros.mapping.concepts import ConceptChannels
from ovseg_ros.mapping.config import MappingConfig
from ovseg_ros.mapping.fusion import coarse_keys
from ovseg_ros.mapping.layers import LAYER_SEPARATOR
from ovseg_ros.mapping.semantic_map import SemanticMap
from ovseg_ros.mapping.tables import MapTables
from ovseg_ros.vocabulary import Vocabulary

EXTENSION = ".ovmap"
FORMAT = "ovmap"
FORMAT_VERSION = 1

STORED_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64", torch.int8: "I8"}
"""Types as safetensors names them."""

CODEC_PREFIX = "codec_"
"""Of the tensors that say how features are compressed."""

MAX_REVISION = 2**63 - 1


def save(semantic_map: SemanticMap, path: str | os.PathLike[str]) -> None:
    """Write a map to ``path`` in one atomic step, over an older file if there is one.

    The map must not change meanwhile: a caller with threads holds its lock.

    Raises:
        OvsegError: wrong extension, or the file can't be written there; an older file is as it was.
    """
    target = check_target(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    columns = {name: column.cpu() for name, column in semantic_map.columns.items()}
    header = _header_fields(semantic_map, columns)
    if semantic_map.codec:
        columns |= {CODEC_PREFIX + name: tensor.cpu() for name, tensor in semantic_map.codec.tensors().items()}
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode
        save_file(columns, temporary, metadata=header)
        # safetensors makes private files; a map is as readable as any other new file of its owner.
        temporary.chmod(mode)
        _sync(temporary)
        os.replace(temporary, target)
        _sync(target.parent)
    except (OSError, SafetensorError) as error:
        raise OvsegError(f"can't write {target}: {error}: check permissions and free space") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_target(path: str | os.PathLike[str]) -> Path:
    """Refuse early what `save` would refuse after an hour of mapping; return the path with ~ expanded.

    Raises:
        OvsegError: wrong extension, missing folder, or a folder of that name.
    """
    target = Path(path).expanduser()
    if target.suffix != EXTENSION:
        raise OvsegError(f"a map file ends in {EXTENSION}, got {target.name!r}: write to {target.stem}{EXTENSION}")
    if not target.parent.is_dir():
        raise OvsegError(f"the folder {target.parent} doesn't exist: create it first, then save {target.name}")
    if target.is_dir():
        raise OvsegError(f"{target} is a folder: choose another name for the map file")
    return target


def load(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> SemanticMap:
    """Read a map that `save` wrote.

    Args:
        path: the file.
        device: where the map shall live.

    Raises:
        OvsegError: the file is missing, truncated, foreign, newer than this program, or holds values
            that no map has.
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise OvsegError(f"there is no map file {source}: check the path")
    try:
        with safe_open(source, framework="pt") as file:
            header = _Header.parse(source, file.metadata() or {})
            names = list(file.keys())
            codec = _codec(source, {name: file.get_tensor(name) for name in names if name.startswith(CODEC_PREFIX)})
            names = [name for name in names if not name.startswith(CODEC_PREFIX)]
            of_voxels = [name for name in names if LAYER_SEPARATOR not in name]
            header.check_columns(source, {name: file.get_slice(name) for name in of_voxels})
            columns = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise OvsegError(f"{source} is not a whole map file ({error}): it was cut off or is of another kind") from error
    except OSError as error:
        raise OvsegError(f"can't read {source}: {error}: check permissions") from error
    if codec and codec.components != header.channels:
        raise OvsegError(f"{source} is damaged (size of the codec): save the map again")
    _check_values(source, columns, header.config.feature_block)
    try:
        return SemanticMap.from_columns(
            columns,
            config=header.config,
            space=header.space,
            vocabulary=header.vocabulary,
            revision=header.revision,
            device=device,
            frame_id=header.frame,
            codec=codec,
            concepts=header.concepts,
        )
    except OvsegError as error:
        raise OvsegError(f"{source} is damaged ({error})") from error


def _header_fields(semantic_map: SemanticMap, columns: dict[str, torch.Tensor]) -> dict[str, str]:
    """Everything that is not a tensor; safetensors allows only strings as values."""
    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "voxel_size": repr(semantic_map.config.voxel_size),
        "frame": semantic_map.frame_id,
        "space": semantic_map.space or "",
        "vocabulary": json.dumps(semantic_map.vocabulary.synonyms),
        "unsaid": json.dumps(sorted(semantic_map.vocabulary.unsaid)),
        "concepts": json.dumps(semantic_map.concept_channels.vocabularies),
        "revision": str(semantic_map.revision),
        "counts": json.dumps(
            {
                "voxels": len(columns["keys"]),
                "feature_voxels": len(columns["features"]),
                "channels": columns["features"].shape[1],
            }
        ),
        "config": json.dumps(asdict(semantic_map.config)),
    }


@dataclass(frozen=True)
class _Header:
    """What the header of a file says."""

    config: MappingConfig
    space: str | None
    vocabulary: Vocabulary
    concepts: ConceptChannels
    frame: str
    revision: int
    voxels: int
    feature_voxels: int
    channels: int

    @classmethod
    def parse(cls, source: Path, fields: dict[str, str]) -> _Header:
        """Check the header of ``source`` field by field."""
        _check_version(source, fields)
        try:
            counts = json.loads(fields["counts"])
            header = cls(
                config=_config(json.loads(fields["config"])),
                space=fields["space"] or None,
                vocabulary=_vocabulary(fields),
                concepts=ConceptChannels(_groups(json.loads(fields.get("concepts", "[]")), "concepts")),
                frame=fields["frame"],
                revision=int(fields["revision"]),
                voxels=int(counts["voxels"]),
                feature_voxels=int(counts["feature_voxels"]),
                channels=int(counts["channels"]),
            )
            if not 0 <= header.revision <= MAX_REVISION or float(fields["voxel_size"]) != header.config.voxel_size:
                raise ValueError("revision or voxel_size")
        except (OvsegError, AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise OvsegError(f"{source} is damaged (header: {error}): save the map again") from error
        return header

    def check_columns(self, source: Path, slices: dict[str, Any]) -> None:
        """Compare names, shapes and types of the stored tensors with what the header says."""
        schema = MapTables(self.config, self.channels, torch.device("cpu")).schema(self.voxels, self.feature_voxels)
        expected = {name: (list(shape), STORED_DTYPES[dtype]) for name, (dtype, shape) in schema.items()}
        found = {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}
        if found != expected:
            wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            raise OvsegError(f"{source} is damaged (size or type of {', '.join(wrong)}): save the map again")


def _config(values: dict[str, Any]) -> MappingConfig:
    """Parsed JSON, which knows no tuples, -> MappingConfig."""
    return MappingConfig(**values | {"region": tuple(values.get("region", ()))})


def _codec(source: Path, tensors: dict[str, torch.Tensor]) -> FeatureCodec | None:
    """What compressed the features of ``source``, if anything did."""
    if not tensors:
        return None
    try:
        return FeatureCodec.from_tensors({name.removeprefix(CODEC_PREFIX): tensors[name] for name in tensors})
    except OvsegError as error:
        raise OvsegError(f"{source} is damaged (codec: {error})") from error


def _check_version(source: Path, fields: dict[str, str]) -> None:
    """Refuse what is not a map, or one of a format that this program can't know."""
    version = fields.get("format_version", "")
    if fields.get("format") != FORMAT or not version.isdecimal():
        raise OvsegError(f"{source} is a safetensors file but not a map: give a file that ovseg_ros saved")
    if int(version) > FORMAT_VERSION:
        raise OvsegError(
            f"{source} has format version {version}, newer than {FORMAT_VERSION}, the newest that this "
            "ovseg_ros reads: update ovseg_ros"
        )


def _vocabulary(fields: dict[str, str]) -> Vocabulary:
    """The words of a map; files of earlier versions say nothing of unsaid ones."""
    unsaid = json.loads(fields.get("unsaid", "[]"))
    if not isinstance(unsaid, list) or not all(isinstance(word, str) for word in unsaid):
        raise ValueError("unsaid")
    return Vocabulary(_groups(json.loads(fields["vocabulary"]), "vocabulary"), frozenset(unsaid))


def _groups(groups: Any, field: str) -> tuple[tuple[str, ...], ...]:
    """Parsed JSON -> groups of words; ValueError unless it is a list of non-empty lists of words."""
    if not isinstance(groups, list) or not all(
        isinstance(group, list) and group and all(isinstance(word, str) for word in group) for group in groups
    ):
        raise ValueError(field)
    return tuple(tuple(group) for group in groups)


def _check_values(source: Path, columns: dict[str, torch.Tensor], block: int) -> None:
    """Refuse numbers that no map holds."""
    colours, features = columns["colours"], columns["features"]
    keys = [columns[name] for name in ("keys", "feature_keys") if name in columns]
    weights = [columns[name] for name in ("weights", "feature_weights") if name in columns]
    problems = {
        "features that are not finite": not torch.isfinite(features).all(),
        "weights that are not positive and finite": not all(
            (torch.isfinite(column) & (column > 0)).all() for column in weights
        ),
        "colours outside 0..255": not ((colours >= 0) & (colours <= 255)).all(),
        "voxel keys out of range": any((column < 0).any() for column in keys),
        "the same voxel twice": any(len(torch.unique(column)) != len(column) for column in keys),
        "voxels without a feature": not torch.isin(coarse_keys(columns["keys"], block), keys[-1]).all(),
    }
    found = [problem for problem, present in problems.items() if present]
    if found:
        raise OvsegError(f"{source} is damaged: it has {' and '.join(found)}: save the map again")


def _sync(path: Path) -> None:
    """Have a file, or the entries of a folder, on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
