"""From what the sources say to checked values, with errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kai_tracing_core.errors import ConfigurationError, did_you_mean, nearest
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.settings_model import Field, Section, fields, is_secret, redact
from kai_tracing_core.settings_sources import Leaf, Leaves, Sources, Value, parse_key_values, variable

if TYPE_CHECKING:
    from kai_tracing_core.settings import ProviderSettings, TracingSettings

__all__ = ["build", "check_names", "core_leaves", "section_leaves"]

_OF_PROVIDERS = frozenset(("endpoint", "headers", "protocol", "timeout"))

logger = lazy_logger(__name__)

# -- names -------------------------------------------------------------------------------------------------------------


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
        hint = _of_provider(setting) or did_you_mean(variable(setting), map(variable, known))
    else:
        hint = did_you_mean(setting, known)
    return f"{written} is not a setting that there is.{hint} Correct or remove it."


def _of_provider(setting: str) -> str | None:
    """What to say to `TRACING_ENDPOINT`, and to `TRACING_ZIPKIN_ENDPOINT` without its second underscore."""
    from kai_tracing_core.plugins import names

    if setting in _OF_PROVIDERS:
        return f" It is the provider's, as in {variable(f'zipkin.{setting}')}."

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


def _sections(model: type[Section], prefix: str = "") -> dict[str, bool]:
    """By setting of the core, whether it consists of others."""
    found: dict[str, bool] = {}
    for setting, field in model.declared.items():
        found[prefix + setting] = field.section is not None
        if field.section is not None:
            found.update(_sections(field.section, f"{prefix}{setting}."))
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
    logger.warning("%s = %r is ignored: %s", leaf.source, value, reason)


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


def build(made: Section, leaves: Leaves, section: str = "") -> dict[str, Value]:
    """Fill `made` with the values in effect, and give them by setting with where each of them came from.

    A bad value from an `OTEL_*` variable is warned about and gives way to the next source.

    Raises:
        ConfigurationError: any other value is bad.
    """
    model = type(made)
    known = dict(fields(model))
    remaining = {setting: list(found) for setting, found in leaves.items()}
    values = _convert(known, remaining, section)
    while conflict := _fill(made, values):
        involved = [setting for setting in _involved(*conflict) if setting in values]
        lenient = [setting for setting in involved if remaining[setting][0].lenient]
        for setting in lenient:
            _ignore(setting, remaining[setting].pop(0), conflict[1])
        if not lenient:
            lines = [
                _invalid(_name(setting, section), remaining[setting][0], conflict[1], known[setting])
                for setting in involved
            ]
            raise ConfigurationError("\n".join(lines) or conflict[1])
        values = _convert(known, remaining, section)
    return {
        _name(setting, section): Value(
            _get(made, setting),
            remaining[setting][0].source if setting in values else "default",
            is_secret(setting, field),
            setting in values and remaining[setting][0].lenient,
        )
        for setting, field in known.items()
    }


def _name(setting: str, section: str) -> str:
    return f"{section}.{setting}" if section else setting


def _convert(known: Mapping[str, Field], leaves: Leaves, section: str) -> dict[str, Any]:
    """By setting the first value that is good; bad ones that may be ignored are taken out of `leaves`.

    Raises:
        ConfigurationError: others are bad; a line for each of them.
    """
    values: dict[str, Any] = {}
    mistakes = []
    for setting, found in leaves.items():
        field = known[setting]
        while found:
            try:
                values[setting] = field.convert(found[0].value)
                break
            except ValueError as error:
                if not found[0].lenient:
                    mistakes.append((setting, _invalid(_name(setting, section), found[0], str(error), field)))
                    break
                _ignore(setting, found.pop(0), str(error))
    if mistakes:
        order = list(known)
        mistakes.sort(key=lambda mistake: order.index(mistake[0]))
        raise ConfigurationError("\n".join(line for _, line in mistakes))
    return values


def _fill(made: Section, values: Mapping[str, Any], prefix: str = "") -> tuple[list[str], str] | None:
    """Fill a section and those in it. What does not go together: the settings of that section, and what it says."""
    taken = {}
    for name, field in type(made).declared.items():
        if field.section is not None:
            nested = field.section.__new__(field.section)
            conflict = _fill(nested, values, f"{prefix}{name}.")
            if conflict:
                return conflict
            taken[name] = nested
        elif prefix + name in values:
            taken[name] = values[prefix + name]
    try:
        made._fill(taken)
    except ValueError as error:
        return [prefix + name for name in type(made).declared], str(error)
    return None


def _involved(settings: list[str], message: str) -> list[str]:
    """Those of the settings that a message is about: the ones that it names, or all."""
    words = set(re.findall(r"\w+", message))
    return [setting for setting in settings if setting.rpartition(".")[2] in words] or settings


def _get(made: object, setting: str) -> Any:
    for name in setting.split("."):
        made = getattr(made, name)
    return made


def _invalid(setting: str, leaf: Leaf, message: str, field: Field | None = None) -> str:
    value = redact(leaf.value, secret=is_secret(setting, field))
    default = field.default if field is not None else None
    # Where the default is nothing to speak of, there is no point in naming it.
    otherwise = (
        "" if default in (None, "", (), {}) else f", which leaves the default {getattr(default, 'value', default)!r}"
    )
    return f"{setting} = {value!r} ({leaf.source}): {message}. Correct it or remove it{otherwise}."
