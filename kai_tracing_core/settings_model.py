"""What settings are written as: classes whose annotated attributes are the settings.

    class ShopSettings(ProviderSettings):
        section: ClassVar[str] = "shop"

        endpoint: str = setting(default="http://localhost", description="Where it is.", check=http_url)
        timeout: float = setting(default=10.0, gt=0, description="Seconds that a request may take.")

Type checkers see them as frozen dataclasses with keyword arguments. Nothing is generated or even looked at when the
class is made, and a type only when a value is given for it: pydantic, which does all of this and more, takes longer to
import than the OpenTelemetry SDK with an exporter (ADR 0011).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

from kai_tracing_core.errors import ConfigurationError, did_you_mean
from kai_tracing_core.settings_conversion import SecretStr, convert

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform as _transform
else:

    def _transform(**_: object) -> Callable[[type], type]:
        """Nothing at run time."""
        return lambda kind: kind


__all__ = ["REDACTED", "Field", "Section", "fields", "is_secret", "redact", "setting"]

REDACTED = "[REDACTED]"

_SECRET_NAME = re.compile(r"password|passwd|secret|token|credential|authorization|headers|api_?key|private_key")
_USER_INFO = re.compile(r"(?<=//)[^/?#@\s]+(?=@)")
_REQUIRED = object()


class Field:
    """One setting of a section, as `setting` describes it."""

    name: str
    owner: type[Section]
    annotation: Any
    """The type, perhaps as text; `kind` is the type itself."""

    def __init__(
        self,
        default: Any,
        *,
        description: str,
        title: str,
        parse: Callable[[Any], Any] | None,
        check: Callable[[Any], Any] | None,
        bounds: Mapping[str, float],
        secret: bool,
    ) -> None:
        self.default = default
        self.description = description
        self.title = title
        self.parse = parse
        self.check = check
        self.bounds = bounds
        self.secret = secret

    @property
    def section(self) -> type[Section] | None:
        """The class of a section inside the section; None for a plain setting."""
        return type(self.default) if isinstance(self.default, Section) else None

    @cached_property
    def kind(self) -> Any:
        """The type, as the annotation says it.

        Raises:
            TypeError: the annotation names something that is not there at run time.
        """
        if self.annotation in _PLAIN:
            return _PLAIN[self.annotation]
        place = {"__annotations__": {self.name: self.annotation}, "__module__": self.owner.__module__}
        try:
            return get_type_hints(type("_", (), place), include_extras=True)[self.name]
        except NameError as error:
            raise TypeError(
                f"the type of {self.owner.__qualname__}.{self.name} is unknown at run time: {error}. Import it outside "
                "of `if TYPE_CHECKING:`, and define it at the top level of the module."
            ) from None

    def convert(self, value: Any) -> Any:
        """A value of the setting.

        Raises:
            ValueError: it cannot be one; the message says what it should be.
        """
        if self.section is not None:
            return value if isinstance(value, self.section) else self.section(**value)
        if self.parse is not None:
            value = self.parse(value)
        value = convert(value, self.kind)
        for name, bound in self.bounds.items():
            fits, words = _BOUNDS[name]
            if value is not None and not fits(value, bound):
                raise ValueError(f"input should {words} {bound:g}")
        return value if self.check is None else self.check(value)


_PLAIN: Mapping[str, type] = {kind.__name__: kind for kind in (bool, float, int, str)}
"""What need not be compiled to be understood, which takes a millisecond the first time."""

_BOUNDS: Mapping[str, tuple[Callable[[Any, float], bool], str]] = {
    "gt": (lambda value, bound: value > bound, "be greater than"),
    "ge": (lambda value, bound: value >= bound, "be greater than or equal to"),
    "lt": (lambda value, bound: value < bound, "be less than"),
    "le": (lambda value, bound: value <= bound, "be less than or equal to"),
    "min_length": (lambda value, bound: len(value) >= bound, "have a length of at least"),
}


def setting(
    *,
    default: Any = _REQUIRED,
    description: str = "",
    title: str = "",
    parse: Callable[[Any], Any] | None = None,
    check: Callable[[Any], Any] | None = None,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    secret: bool = False,
) -> Any:
    """A setting with more than a type and a default.

    `parse` sees a given value before its type is looked at, `check` what has come of that; each returns the value to go
    on with, or raises a `ValueError` that says what is wrong. A `secret` is never shown; nor is any whose name or type
    (`SecretStr`) says that it is one.
    """
    bounds = {"gt": gt, "ge": ge, "lt": lt, "le": le, "min_length": min_length}
    return Field(
        default,
        description=description,
        title=title,
        parse=parse,
        check=check,
        bounds={name: bound for name, bound in bounds.items() if bound is not None},
        secret=secret,
    )


@_transform(kw_only_default=True, frozen_default=True, field_specifiers=(setting,))
class Section:
    """A part of the settings: frozen, without unknown fields, and its secrets are not shown.

    Raises:
        ConfigurationError: a value is not valid, or a name is not known.
    """

    declared: ClassVar[Mapping[str, Field]] = {}
    """By name, the settings that the class and its bases declare."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found = dict(cls.declared)
        for name, annotation in cls.__annotations__.items():
            if name.startswith("_") or "ClassVar" in str(annotation):
                continue
            given = cls.__dict__.get(name, _REQUIRED)
            if type(given).__module__.partition(".")[0] == "pydantic":
                raise TypeError(
                    f"{cls.__qualname__}.{name} is described by pydantic: use `setting` of kai_tracing_core.settings"
                )
            field: Field = given if isinstance(given, Field) else setting(default=given)
            field.owner, field.name, field.annotation = cls, name, annotation
            found[name] = field
            if name in cls.__dict__:
                delattr(cls, name)
        cls.declared = found

    def __init__(self, **values: Any) -> None:
        made: dict[str, Any] = {}
        for name, value in values.items():
            field = type(self).declared.get(name)
            if field is None:
                raise ConfigurationError(
                    f"{name} is not a setting that there is.{did_you_mean(name, type(self).declared)}"
                )
            try:
                made[name] = field.convert(value)
            except ValueError as error:
                shown = redact(value, secret=is_secret(name, field))
                raise ConfigurationError(f"{type(self).__name__}.{name} = {shown!r}: {error}") from None
        try:
            self._fill(made)
        except ValueError as error:
            raise ConfigurationError(f"{type(self).__name__}: {error}") from None

    def _fill(self, values: Mapping[str, Any]) -> None:
        """Take values that are converted already, and defaults for the others. Raises what `validate` raises."""
        for name, field in type(self).declared.items():
            value = values.get(name, field.default)
            if value is _REQUIRED:
                raise ValueError(f"{name} is missing")
            vars(self)[name] = dict(value) if isinstance(value, dict) else value
        self.validate()

    def validate(self) -> None:
        """Look at all values together; a `ValueError` names those that do not go together."""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in type(self).declared)

    def __setattr__(self, name: str, value: object) -> None:
        raise ConfigurationError(f"settings are frozen: {name} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # mappings are among the values

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={redact(value, secret=is_secret(name, type(self).declared[name]))!r}" for name, value in self
        )
        return f"{type(self).__name__}({shown})"


def fields(model: type[Section], prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Every setting of a model (`type`, `batch.delay`) with its field, those of nested sections in their place."""
    for name, field in model.declared.items():
        if field.section is not None:
            yield from fields(field.section, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def is_secret(setting: str, field: Field | None = None) -> bool:
    """Whether a setting's value must not be shown: by its name, its type, or `setting(secret=True)`."""
    # The annotation as it is written, since most are never looked at.
    if field is not None and (field.secret or "SecretStr" in str(field.annotation)):
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
