"""Which number in a label map means which class, and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ovseg_ros.datasets import ClassTable, class_list
from ovseg_ros.datasets.files import read_lines, read_table
from ovseg_ros.errors import OvsegError
from ovseg_ros.vocabulary import Vocabulary, normalise
from ovseg_ros.vocabulary_file import read_vocabulary

CLASS_FILES = ("classes.json", "classes.txt", "objectInfo150.txt")
"""What a folder of images may say itself; the last is ADE20K's."""
NUMBER, NAME = "Idx", "Name"


@dataclass(frozen=True)
class ImageClasses:
    """The classes of a folder of images.

    Attributes:
        table: number in the label maps -> label id.
        vocabulary: the words of each class; label id i + 1 is the i-th.
    """

    table: ClassTable
    vocabulary: Vocabulary

    @classmethod
    def find(cls, folder: Path, chosen: str | None, first: int) -> ImageClasses:
        """Read the chosen class list, or the one that lies in the folder.

        Args:
            folder: of the images.
            chosen: a file, or the name of a published list (see `class_list`).
            first: the number of the first line, where a list has a class a line.

        Raises:
            OvsegError: there is none, or it can't be understood.
        """
        if chosen is not None:
            return cls._read(Path(chosen).expanduser(), first) if _is_file(chosen) else cls._of(class_list(chosen))
        for name in CLASS_FILES:
            if (folder / name).is_file():
                return cls._read(folder / name, first)
        raise OvsegError(
            f"nothing says what the numbers in the label maps of {folder} mean: put {' or '.join(CLASS_FILES)} there, "
            "or name one with --classes"
        )

    @classmethod
    def _read(cls, path: Path, first: int) -> ImageClasses:
        table = ClassTable.read(path) if path.suffix == ".json" else None
        if table is not None:
            return cls._of(table)
        lines = read_lines(path)
        if lines and {NUMBER, NAME} <= set(lines[0].split("\t")):
            return cls._numbered(*_read_ade20k(path))
        return cls._numbered(range(first, first + len(lines)), lines)

    @classmethod
    def _numbered(cls, numbers: Sequence[int], lines: Sequence[str]) -> ImageClasses:
        vocabulary = Vocabulary.parse(lines)
        labels = {number: label for label, number in enumerate(numbers, 1)}
        return cls(ClassTable(vocabulary.names, labels), vocabulary)

    @classmethod
    def _of(cls, table: ClassTable) -> ImageClasses:
        return cls(table, Vocabulary.from_names(table.names))

    def with_words(self, file: str) -> ImageClasses:
        """The same classes with the further words that a vocabulary has for them.

        Args:
            file: a vocabulary's name or file, as `read_vocabulary` takes it; no plurals are added to its words.

        Raises:
            OvsegError: it can't be read, or has words for none of the classes.
        """
        words = read_vocabulary(file).without_plurals.vocabulary
        own = self.vocabulary.synonyms
        owner = {word: index for index, group in enumerate(own) for word in group}
        further: list[list[str]] = [[] for _ in own]
        for group in words.synonyms:
            # By the name of the group, if a class has it; so a group of "sofa" that has "armchair" is not armchairs'.
            named = owner.get(group[0], next((owner[word] for word in group if word in owner), None))
            if named is not None:
                further[named] += group
        if not any(further):
            shown = ", ".join(self.vocabulary.names[:5])
            raise OvsegError(f"{file} has words for none of the {len(own)} classes ({shown}, ...): use their names")
        groups = [[*group, *others] for group, others in zip(own, further, strict=True)]
        merged = tuple(tuple(dict.fromkeys(group)) for group in _each_word_once(groups, own))
        return replace(self, vocabulary=Vocabulary(merged, words.unsaid))


def _read_ade20k(path: Path) -> tuple[list[int], list[str]]:
    """Numbers of the classes and their words, each word for one class: where it comes first, else where it comes."""
    rows = list(read_table(path, (NUMBER, NAME), "\t"))
    if not all(number.strip().isdecimal() for number, _ in rows):
        raise OvsegError(f"{path} must have a whole number under {NUMBER} in each row: download it again")
    groups = [name.split(",") for _, name in rows]
    lines = [",".join(group) for group in _each_word_once(groups, [group[:1] for group in groups])]
    return [int(number) for number, _ in rows], lines


def _is_file(chosen: str) -> bool:
    return Path(chosen).suffix != "" or Path(chosen).expanduser().is_file()


def _each_word_once(groups: Sequence[Sequence[str]], own: Sequence[Sequence[str]]) -> list[list[str]]:
    """The groups without words that are another's ``own``, or that an earlier group has."""
    owner = {normalise(word): index for index in reversed(range(len(own))) for word in own[index]}
    return [
        [word for word in group if owner.setdefault(normalise(word), index) == index]
        for index, group in enumerate(groups)
    ]
