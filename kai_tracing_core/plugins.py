"""Finding, choosing and loading plugins.

A plugin is an entry point whose *name* the settings say; only the one that is chosen is imported. What it loads to is
a class (`TracingProvider`, `Sampler`, `Propagator`), a function that makes one, or a module or object with the hooks of
`hookspecs`. pluggy is imported for the last alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from kai_tracing_core.discovery import PROJECT, Entry, installed
from kai_tracing_core.errors import ConfigurationError, did_you_mean, nearest
from kai_tracing_core.lazy import lazy_logger
from kai_tracing_core.propagation.base import Propagator
from kai_tracing_core.propagation.composite import CompositePropagator
from kai_tracing_core.provider import TracingProvider
from kai_tracing_core.records import NamedTuple
from kai_tracing_core.sampling.base import Sampler

if TYPE_CHECKING:
    import pluggy

    from kai_tracing_core.processing.pipeline import PipelineConfig
    from kai_tracing_core.settings import TracingSettings

__all__ = [
    "KINDS",
    "Extensions",
    "Kind",
    "Plugin",
    "choose",
    "create_propagator",
    "create_provider",
    "create_sampler",
    "extensions",
    "find",
    "load",
    "names",
    "register_plugin",
    "unregister_plugin",
]

logger = lazy_logger(__name__)

Kind = Literal["providers", "samplers", "propagators", "telemetry", "plugins", "commands"]
KINDS: tuple[Kind, ...] = get_args(Kind)

T = TypeVar("T")

_EXTRAS: dict[Kind, Sequence[str]] = {
    "providers": ("opentelemetry", "zipkin", "jaeger", "inmemory", "noop"),
    "telemetry": ("opentelemetry", "prometheus"),
}
_OTHER_NAMES = {
    "otlp": "opentelemetry",
    "otel": "opentelemetry",
    "memory": "inmemory",
    "none": "noop",
    "w3c": "tracecontext",
    "probabilistic": "ratio",
}
"""What some people call what we have."""
_NOOP = Entry(f"{PROJECT}.providers", "noop", "kai_tracing_core.noop:NoopProvider", "")
_SINGULAR: dict[Kind, str] = {
    "providers": "provider",
    "samplers": "sampler",
    "propagators": "propagation format",
    "telemetry": "telemetry service",
    "plugins": "plugin",
    "commands": "plugin",
}


class Plugin(NamedTuple):
    """One plugin that can be chosen by its `name`; not yet imported.

    `source` is its entry point or, where it is not `installed`, what the application registered.
    """

    kind: Kind
    name: str
    source: Any
    installed: bool = True

    @property
    def distribution(self) -> str:
        """The installed distribution that brings it, with its version; says so where it was registered in-process."""
        if not self.installed:
            return "(registered by the application)"
        dist = self.source.dist
        return f"{dist.metadata['Name']} {dist.version}" if dist is not None else "kai-tracing-core (built in)"

    def load(self) -> Any:
        """Import it: a class, a module or an object.

        Raises:
            ConfigurationError: that fails; the message names the distribution and the cause.
        """
        if not self.installed:
            return self.source
        try:
            return self.source.load()
        except Exception as error:
            if self.kind == "telemetry" and isinstance(error, ModuleNotFoundError):
                raise ConfigurationError(
                    f"the {self} needs {error.name}, which is not installed: "
                    f'pip install "kai-tracing-core[{self.name}]"'
                ) from error
            raise ConfigurationError(
                f"the {self} cannot be imported: {type(error).__name__}: {error}. "
                f"Repair or reinstall {self.distribution.partition(' ')[0]}, or "
                f"{'uninstall it' if self.kind in {'plugins', 'commands'} else 'choose another one'}."
            ) from error

    def __str__(self) -> str:
        of = "of " if self.installed else ""
        return f"{_SINGULAR[self.kind]} {self.name!r} {of}{self.distribution}"


_registered: dict[tuple[Kind, str], object] = {}


def register_plugin(plugin: object, *, name: str, kind: Kind = "plugins") -> None:
    """Register a class, module or object in this process, before an installed one of the same name.

    For tests and for applications that keep a plugin to themselves; takes effect with the next
    `initialize_tracing`.
    """
    _registered[kind, name] = plugin


def unregister_plugin(name: str, kind: Kind = "plugins") -> None:
    """Take back what `register_plugin` did. No error where there is nothing."""
    _registered.pop((kind, name), None)


def find(kind: Kind) -> list[Plugin]:
    """All plugins of a kind by name, without importing them. A name may be there twice: two distributions have it."""
    own = {
        name: Plugin(kind, name, plugin, installed=False)
        for (its_kind, name), plugin in _registered.items()
        if its_kind == kind
    }
    # The application's word goes first.
    found = [*own.values(), *(Plugin(kind, entry.name, entry) for entry in installed(kind) if entry.name not in own)]
    if kind == "providers" and not any(plugin.name == "noop" for plugin in found):
        found.append(Plugin(kind, "noop", _NOOP))
    return sorted(found, key=lambda plugin: (plugin.name, plugin.source.place if plugin.installed else ""))


def names(kind: Kind) -> list[str]:
    """The names that can be chosen."""
    return list(dict.fromkeys(plugin.name for plugin in find(kind)))


def choose(kind: Kind, name: str, setting: str) -> Plugin:
    """The one plugin of this name, which `setting` says.

    Raises:
        ConfigurationError: there is none, or there are several.
    """
    asked, found = name, find(kind)
    matches = [plugin for plugin in found if plugin.name == name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        owners = " and ".join(plugin.distribution for plugin in matches)
        raise ConfigurationError(
            f"{setting}: the {_SINGULAR[kind]} {name!r} is installed twice, by {owners}. Uninstall one of them."
        )
    known = list(dict.fromkeys(plugin.name for plugin in found))
    others = [other for other in (*known, *_extras(kind)) if other != name]
    meant = _OTHER_NAMES.get(name.lower())
    name = meant if meant in others else name
    hint = f" Did you mean {meant}?" if meant in others else did_you_mean(name, others)
    raise ConfigurationError(
        f"{setting}: no {_SINGULAR[kind]} {asked!r} is installed.{hint} "
        f"Installed: {', '.join(known) or 'none'}.{_install(kind, name)}"
    )


def _extras(kind: Kind) -> Sequence[str]:
    return _EXTRAS.get(kind, ())


def _install(kind: Kind, name: str) -> str:
    extra = name if name in _extras(kind) else nearest(name, _extras(kind))
    if extra is None or extra in names(kind):
        return ""
    return f' To install {extra}: pip install "kai-tracing-core[{extra}]"'


# -- loading -----------------------------------------------------------------------------------------------------------


def _new_manager() -> pluggy.PluginManager:
    import pluggy

    from kai_tracing_core import hookspecs

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _register(manager: pluggy.PluginManager, plugin: Plugin, loaded: object) -> None:
    """Raises ConfigurationError for a hook that is mistyped or has arguments that there are not."""
    import pluggy

    from kai_tracing_core import hookspecs

    try:
        manager.register(loaded, name=f"{plugin.name} {plugin.source.place if plugin.installed else ''}")
        manager.check_pending()
    except ValueError as error:  # it is registered already, under another name
        raise ConfigurationError(f"the {plugin} cannot be used: {error}") from error
    except pluggy.PluginValidationError as error:
        known = [name for name in vars(hookspecs) if name.startswith("kai_tracing_")]
        mistyped = next((name for name in str(error).replace("'", " ").split() if name.startswith("kai_tracing_")), "")
        hint = did_you_mean(mistyped, known) if mistyped not in known else ""
        said = " ".join(str(error).split()).rstrip(".")
        raise ConfigurationError(f"the {plugin} has a hook that does not fit: {said}.{hint}") from error


def load(plugin: Plugin, hook: str, base: type[T], make: Callable[[type[T]], T], **arguments: Any) -> T:
    """An object of the plugin: `make` makes it of a class; a function is called with the arguments that it names.

    Anything else is asked by its `hook`, with the same arguments.

    Raises:
        ConfigurationError: the plugin cannot be imported, has no such hook, or makes something else.
    """
    loaded = plugin.load()
    if isinstance(loaded, type) and issubclass(loaded, base):
        made: Any = make(loaded)
    elif callable(loaded) and not isinstance(loaded, type):
        made = loaded(**{name: arguments[name] for name in _parameters(loaded) if name in arguments})
    else:
        manager = _new_manager()
        _register(manager, plugin, loaded)
        made = getattr(manager.hook, hook)(**arguments)
    if not isinstance(made, base):
        raise ConfigurationError(
            f"the {plugin} gives {made!r}: its entry point must name a {base.__name__} class, or something with the "
            f"hook {hook} that returns one, or a function that does."
        )
    return made


def _parameters(function: Callable[..., Any]) -> Sequence[str]:
    """Their names. `inspect`, which takes a tenth of a start to import, is asked about what is no plain function."""
    code = getattr(function, "__code__", None)
    if code is not None and not hasattr(function, "__wrapped__"):
        names: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return names
    from inspect import signature

    return tuple(signature(function).parameters)


def create_provider(
    settings: TracingSettings, config: PipelineConfig, propagator: Propagator | None
) -> TracingProvider:
    """The provider that `TRACING_TYPE` names. Raises ConfigurationError where that cannot be."""
    plugin = choose("providers", settings.type, settings.describe("type"))
    try:
        return load(
            plugin,
            "kai_tracing_create_provider",
            TracingProvider,  # type: ignore[type-abstract]  # only subclasses are made
            lambda provider: provider.from_settings(settings, config, propagator),
            settings=settings,
            config=config,
            propagator=propagator,
        )
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"the {plugin} cannot be started: {type(error).__name__}: {error}") from error


def create_sampler(settings: TracingSettings, said_by: TracingSettings | None = None) -> Sampler:
    """The sampler that `TRACING_SAMPLER` names. Raises ConfigurationError where that cannot be.

    Of a sampler inside another, `said_by` are the settings that the user knows.
    """
    said = (
        f"{said_by.describe('sampler')}, {said_by.describe('sampler_arg')}" if said_by else settings.describe("sampler")
    )
    name = settings.sampler if isinstance(settings.sampler, str) else str(settings.sampler.get("type", ""))
    plugin = choose("samplers", name, said)
    argument = settings.sampler_arg
    try:
        return load(
            plugin,
            "kai_tracing_create_sampler",
            Sampler,  # type: ignore[type-abstract]  # only subclasses are made
            lambda sampler: sampler() if argument is None else sampler(argument),  # type: ignore[call-arg]  # documented
            settings=settings,
            argument=argument,
        )
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{settings.describe('sampler')}, {settings.describe('sampler_arg')}: the {plugin} cannot be made: {error}"
        ) from error


def create_propagator(settings: TracingSettings, chosen: Sequence[str]) -> Propagator:
    """The propagation formats of these names as one; of none, one that reads and writes nothing."""
    made = [
        load(
            choose("propagators", name, settings.describe("propagators")),
            "kai_tracing_create_propagator",
            Propagator,  # type: ignore[type-abstract]  # only subclasses are made
            lambda propagator: propagator(),
            settings=settings,
        )
        for name in chosen
    ]
    return made[0] if len(made) == 1 else CompositePropagator(made)


class Extensions:
    """Plugins all of which have their say. pluggy is imported with the first of them."""

    def __init__(self) -> None:
        self._manager: pluggy.PluginManager | None = None
        self._plugins: list[tuple[Plugin, object]] = []

    def add(self, plugin: Plugin, loaded: object) -> None:
        """Have it take part. Raises ConfigurationError for a hook that is mistyped or has unknown arguments."""
        if self._manager is None:
            self._manager = _new_manager()
        _register(self._manager, plugin, loaded)
        self._plugins.append((plugin, loaded))

    def caller(self, hook: str) -> Callable[..., Any] | None:
        """What calls a hook on all that implement it; None where nobody does, which then costs nothing."""
        caller = getattr(self._manager.hook, hook) if self._manager is not None else None
        return caller if caller is not None and caller.get_hookimpls() else None

    def call_each(self, hook: str, **arguments: Any) -> None:
        """Call a hook on every plugin, each whatever the others raise, which is logged."""
        manager = self._manager
        if manager is None:
            return
        for plugin, loaded in self._plugins:
            others = [other for _, other in self._plugins if other is not loaded]
            try:
                manager.subset_hook_caller(hook, others)(**arguments)
            except Exception:
                logger.exception("%s: %s raised", plugin, hook)


def extensions(*kinds: Kind) -> Extensions:
    """Load all plugins of these kinds, by default `plugins`; one that cannot be imported is logged and left out.

    Raises:
        ConfigurationError: one has a mistyped hook.
    """
    found = Extensions()
    for plugin in itertools.chain.from_iterable(map(find, kinds or ("plugins",))):
        try:
            loaded = plugin.load()
        except ConfigurationError as error:
            logger.warning("%s", error)
        else:
            found.add(plugin, loaded() if isinstance(loaded, type) else loaded)
    return found
