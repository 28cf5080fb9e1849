"""From what the sources say to checked values, with errors that say what to do."""

from __future__ import annotations

import logging
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator

from kai_tracing_core.errors import ConfigurationError, did_you_mean, nearest
from kai_tracing_core.settings_sources import (
    Leaf,
    Leaves,
    Sources,
    Value,
    parse_key_values,
    parse_list,
    variable,
)

if TYPE_CHECKING:
    from pydantic import ValidationInfo
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from kai_tracing_core.settings import ProviderSettings, TracingSettings

__all__ = [
    "REDACTED",
    "Section",
    "build",
    "check_names",
    "core_leaves",
    "fields",
    "is_secret",
    "redact",
    "section_leaves",
]

logger = logging.getLogger(__name__)

REDACTED = "[REDACTED]"

_SECRET_NAME = re.compile(r"password|passwd|secret|token|credential|authorization|headers|api_?key|private_key")
_USER_INFO = re.compile(r"(?<=//)[^/?#@\s]+(?=@)")


class Section(BaseModel):
    """A part of the settings: frozen, without unknown fields, and its secrets are not shown."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: object, info: ValidationInfo) -> object:
        """A list or a mapping that a source without such things has as text."""
        if not isinstance(value, str) or info.field_name is None:
            return value
        kinds = _kinds(cls.model_fields[info.field_name].annotation)
        if any(issubclass(kind, str) for kind in kinds):  # an enumeration of strings, too
            return value
        if any(issubclass(kind, Mapping) for kind in kinds):
            return parse_key_values(value)
        if any(issubclass(kind, (Sequence, set, frozenset)) and kind is not bytes for kind in kinds):
            return parse_list(value)
        return value

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, field in type(self).model_fields.items():
            yield name, redact(getattr(self, name), secret=is_secret(name, field))

    def __str__(self) -> str:
        return repr(self)


def _kinds(annotation: Any) -> set[type]:
    """The classes that an annotation names at its top: `{tuple, NoneType}` for `tuple[str, ...] | None`."""
    origin = typing.get_origin(annotation)
    if origin in {Union, types.UnionType}:
        return set[type]().union(*(_kinds(part) for part in typing.get_args(annotation)))
    if origin is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    kind = origin or annotation
    return {kind} if isinstance(kind, type) else set()


# -- names -------------------------------------------------------------------------------------------------------------


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting of a model (`type`, `batch.delay`) with its field, those of nested sections in their place."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if _is_section(kind):
            yield from fields(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def is_secret(setting: str, field: FieldInfo | None = None) -> bool:
    """Whether a setting's value must not be shown: by its name, its type, or `Field(repr=False)`."""
    if field is not None and (not field.repr or SecretStr in _kinds(field.annotation)):
        return True
    return _SECRET_NAME.search(setting.rpartition(".")[2].lower()) is not None


def redact(value: Any, *, secret: bool) -> Any:
    """The value as it may be shown; of a mapping the keys are left, of a URL all but user and password."""
    if isinstance(value, SecretStr) or (secret and value and not isinstance(value, Mapping)):
        return REDACTED
    if isinstance(value, Mapping):
        return {key: redact(item, secret=secret or is_secret(str(key))) for key, item in value.items()}
    if isinstance(value, str):
        return _USER_INFO.sub(REDACTED, value)
    return [redact(item, secret=False) for item in value] if isinstance(value, list) else value


def check_names(model: type[Section], leaves: Leaves, section: str = "") -> None:
    """Refuse the first name that is not one of the model's, and name the nearest that is.

    Raises:
        ConfigurationError: there is such a name.
    """
    known = dict(fields(model))
    for setting, (leaf, *_) in leaves.items():
        if setting not in known:
            name = f"{section}.{setting}" if section else setting
            raise ConfigurationError(_unknown(name, leaf, [f"{section}.{key}" if section else key for key in known]))


def _unknown(setting: str, leaf: Leaf, known: list[str]) -> str:
    written = leaf.source if leaf.is_variable else f"{setting} ({leaf.source})"
    if inside := [name for name in known if name.startswith(f"{setting}.")]:
        return f"{written} is a section, of {', '.join(inside)}. Set those."
    if leaf.is_variable:
        hint = _double_underscore(setting) or did_you_mean(variable(setting), map(variable, known))
    else:
        hint = did_you_mean(setting, known)
    return f"{written} is not a setting that there is.{hint} Correct or remove it."


def _double_underscore(setting: str) -> str | None:
    """What to say to `TRACING_ZIPKIN_ENDPOINT`: a section's name needs two underscores behind it."""
    from kai_tracing_core.plugins import names

    for name in map(_normal, names("providers")):
        if setting.startswith(f"{name}_"):
            return f" Did you mean {variable(f'{name}.{setting[len(name) + 1 :]}')}, with two underscores?"
    return None


def _normal(name: str) -> str:
    return name.lower().replace("-", "_")


# -- leaves ------------------------------------------------------------------------------------------------------------


def core_leaves(model: type[TracingSettings], sources: Sources) -> Leaves:
    """What the sources say about the core's own settings; a plugin's section is left alone until it is asked for."""
    sections = _sections(model)
    leaves = {
        setting: found for setting, found in sources.leaves(sections).items() if _is_core(setting, found[0], sections)
    }
    _add_otel(leaves, model.otel_names, model.from_otel, sources)
    return _gather_resource(leaves)


def _is_section(annotation: Any) -> typing.TypeGuard[type[Section]]:
    # On Python 3.10 `dict[str, str]` passes for a type.
    return typing.get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, Section)


def _sections(model: type[BaseModel], prefix: str = "") -> dict[str, bool]:
    """By setting of the core, whether it consists of others."""
    found: dict[str, bool] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        found[prefix + name] = _is_section(kind)
        if _is_section(kind):
            found.update(_sections(kind, f"{prefix}{name}."))
    return found


def _is_core(setting: str, leaf: Leaf, sections: Mapping[str, bool]) -> bool:
    section = setting.partition(".")[0]
    if section in sections:
        return True
    if section.startswith("backend_"):  # TRACING_BACKEND_…: the trace backend's, which reads them itself
        return False
    if section == setting:
        return True
    from kai_tracing_core.plugins import KINDS, names

    installed = {_normal(name) for kind in KINDS for name in names(kind)}
    if section in installed:
        return False
    if nearest(section, [name for name, nested in sections.items() if nested and "." not in name]):
        return True
    hint = did_you_mean(section, installed)
    if hint:
        logger.warning("%s: no plugin %r is installed.%s", leaf.source, section, hint)
    return False


def section_leaves(model: type[ProviderSettings], sources: Sources) -> Leaves:
    """What the sources say about a plugin's section."""
    prefix = f"{_normal(model.section)}."
    leaves = {
        setting[len(prefix) :]: found for setting, found in sources.leaves({}).items() if setting.startswith(prefix)
    }
    _add_otel(leaves, model.otel_names, model.from_otel, sources)
    return leaves


def _add_otel(
    leaves: Leaves,
    names: Mapping[str, tuple[str, ...]],
    convert: Callable[[str, str, str], object],
    sources: Sources,
) -> None:
    for setting, name, text, leaf in sources.otel(names):
        try:
            value = convert(setting, name, text)
        except ValueError as error:
            _ignore(setting, leaf, str(error))
            continue
        leaves.setdefault(setting, []).append(leaf._replace(value=value, text=text))
        leaves[setting].sort(key=lambda found: found.rank)


def _ignore(setting: str, leaf: Leaf, reason: str) -> None:
    value = redact(leaf.value if leaf.text is None else leaf.text, secret=is_secret(setting))
    logger.warning("%s = %r is ignored: %s", leaf.source, value, reason.removeprefix("Value error, "))


def _gather_resource(leaves: Leaves) -> Leaves:
    """Add the sources' resource attributes up; a `service.name` among them is as good as `service_name` there."""
    merged: dict[str, str] = {}
    used: list[Leaf] = []
    for leaf in reversed(leaves.pop("resource_attributes", [])):
        try:
            pairs = parse_key_values(leaf.value) if isinstance(leaf.value, str) else dict(leaf.value)
        except (TypeError, ValueError) as error:
            if not leaf.lenient:
                raise ConfigurationError(_invalid("resource_attributes", leaf, str(error))) from None
            _ignore("resource_attributes", leaf, str(error))
            continue
        name = pairs.pop("service.name", None)
        if name:
            names = leaves.setdefault("service_name", [])
            names.append(leaf._replace(value=name))
            names.sort(key=lambda found: found.rank)
        merged.update(pairs)
        if pairs:
            used.append(leaf)
    if used:
        used.reverse()
        leaves["resource_attributes"] = [
            Leaf(used[0].rank, merged, " + ".join(dict.fromkeys(leaf.source for leaf in used)))
        ]
    return leaves


# -- values ------------------------------------------------------------------------------------------------------------


def build(
    make: Callable[..., object], model: type[Section], leaves: Leaves, section: str = ""
) -> tuple[Any, dict[str, Value]]:
    """What `make` makes of the values in effect, and where each of them came from.

    A bad value from an `OTEL_*` variable is warned about and gives way to the next source.

    Raises:
        ConfigurationError: any other value is bad.
    """
    remaining = {setting: list(found) for setting, found in leaves.items() if found}
    while True:
        try:
            made = make(**_nest({setting: found[0].value for setting, found in remaining.items()}))
            break
        except ValidationError as error:
            if not _drop_lenient(error, remaining):
                raise ConfigurationError(_describe(error, model, remaining, section)) from None
    return made, {
        f"{section}.{setting}" if section else setting: Value(
            _get(made, setting),
            remaining[setting][0].source if setting in remaining else "default",
            is_secret(setting, field),
            setting in remaining and remaining[setting][0].lenient,
        )
        for setting, field in fields(model)
    }


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for setting, value in values.items():
        *parents, last = setting.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return nested


def _get(made: object, setting: str) -> Any:
    for name in setting.split("."):
        made = getattr(made, name)
    return made


def _at(problem: ErrorDetails, leaves: Leaves) -> list[str]:
    """The settings that an error is about: one, or those of a section whose values do not go together."""
    place = ".".join(str(part) for part in problem["loc"])
    at = [setting for setting in leaves if place == setting or place.startswith(f"{setting}.")]
    if at:
        return at
    below = [setting for setting in leaves if setting.startswith(f"{place}.") or not place]
    words = set(re.findall(r"\w+", problem["msg"]))
    return [setting for setting in below if setting.rpartition(".")[2] in words] or below


def _drop_lenient(error: ValidationError, leaves: Leaves) -> bool:
    dropped = False
    for problem in error.errors(include_url=False, include_input=False):
        for setting in _at(problem, leaves):
            if leaves[setting][0].lenient:
                leaf = leaves[setting].pop(0)
                _ignore(setting, leaf, problem["msg"])
                if not leaves[setting]:
                    del leaves[setting]
                dropped = True
    return dropped


def _describe(error: ValidationError, model: type[Section], leaves: Leaves, section: str) -> str:
    known = dict(fields(model))
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        for setting in _at(problem, leaves):
            leaf = leaves[setting][0]
            field = known[setting]
            shown = leaf._replace(value=redact(leaf.value, secret=is_secret(setting, field)))
            name = f"{section}.{setting}" if section else setting
            lines.append(_invalid(name, shown, problem["msg"], field))
    return "\n".join(dict.fromkeys(lines)) or str(error)


def _invalid(setting: str, leaf: Leaf, message: str, field: FieldInfo | None = None) -> str:
    message = message.removeprefix("Value error, ")
    default = field.get_default(call_default_factory=True) if field is not None else None
    # Where the default is nothing to speak of, there is no point in naming it.
    otherwise = "" if default in (None, "", (), {}) else f", which leaves the default {default!r}"
    said = f"{message[:1].lower()}{message[1:]}"
    return f"{setting} = {leaf.value!r} ({leaf.source}): {said}. Correct it or remove it{otherwise}."
