"""What a backbone says of its checkpoints: parameter names, and fields of config.json."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """How a kind of checkpoint names its parameters.

    Attributes:
        title: name in messages.
        marks: prefixes by which it is recognized: some parameter begins with each.
        renames: (pattern, replacement) pairs, applied in turn to every name.
        dropped: pattern of names that are no parameters: buffers that the model rebuilds.
        positions: pattern of those dropped names that hold VideoMAE's fixed position table. The
            file is refused if they hold another one.
        refused: (name, other, why) of parameters, by our names: a checkpoint that has the first and
            lacks the second is not this backbone's.
    """

    title: str
    marks: tuple[str, ...]
    renames: tuple[tuple[str, str], ...] = ()
    dropped: str = r"(?!)"
    positions: str = r"(?!)"
    refused: tuple[tuple[str, str, str], ...] = ()

    def fits(self, names: Collection[str]) -> bool:
        """Whether names without the prefixes of wrappers have all marks."""
        return all(any(name.startswith(mark) for name in names) for mark in self.marks)

    def name(self, foreign: str) -> str | None:
        """Our name of a parameter; None if it is dropped."""
        if re.fullmatch(self.dropped, foreign):
            return None
        for pattern, replacement in self.renames:
            foreign = re.sub(pattern, replacement, foreign)
        return foreign


@dataclass(frozen=True)
class ConfigJson:
    """Which fields a backbone's config.json may have, and what each sets.

    Every field is followed, required to have a certain value, without effect on a label, or
    refused. The names on the right are those of transformers' VideoMAEConfig, for which
    `sta.checkpoints.config_files` has a rule each.

    Attributes:
        model_type: `model_type` in the file; "" for a file that is recognized by `within`.
        within: key of the object in the file that holds the fields; "" for the file itself.
        names: name of a followed field to that of the rule; a name of its own if it is missing.
        defaults: the values of fields that a file with a `model_type` leaves out.
        required: the allowed values of a field that changes the model in a way that is not built.
        without_effect: fields of training, or of parts that are not in the classifier.
        ratio: field with the MLP's hidden channels divided by those of a token; "" for none.
    """

    model_type: str
    within: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)
    required: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    without_effect: frozenset[str] = frozenset()
    ratio: str = ""
