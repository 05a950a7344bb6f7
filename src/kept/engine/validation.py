"""Flow parameters against their annotations, by pydantic where there is something to convert or to check."""

from __future__ import annotations

from typing import Any

from kept.engine.spec import FlowSpec
from kept.exceptions import ValidationError
from kept.futures import KeptFuture
from kept.states import State

_NO_DEFAULT = object()
_PLAIN = frozenset({int, float, str, bool, bytes})


def validated(spec: FlowSpec, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters, converted to what their annotations say.

    A value that is exactly of its annotated builtin type needs no look, so that most flows never import pydantic. A
    default is taken as it stands, as pydantic does: `day: date = None` is what the author wrote.

    Raises:
        ValidationError: a value does not fit; names the flow, the parameter and the problem of each.
    """
    hints = spec.binder.hints
    defaults = spec.binder.defaults
    problems: list[str] = []
    result = dict(parameters)
    for name, value in parameters.items():
        hint = hints.get(name, Any)
        if hint is Any or hint is object or (hint in _PLAIN and type(value) is hint):
            continue
        if isinstance(value, (KeptFuture, State)) or value is defaults.get(name, _NO_DEFAULT):
            continue
        result[name] = _converted(name, value, hint, spec, problems)
    if problems:
        raise ValidationError(
            f"Flow {spec.name!r} received invalid parameters:\n - " + "\n - ".join(problems) + "\n"
            "Correct the call, or turn this check off with @flow(validate_parameters=False)."
        )
    return result


def _converted(name: str, value: Any, hint: Any, spec: FlowSpec, problems: list[str]) -> Any:
    import pydantic  # noqa: PLC0415 - 100 ms that a flow without conversions must not pay

    adapter = spec.memo.get(f"adapter {name}")
    if adapter is None:
        try:
            adapter = pydantic.TypeAdapter(hint, config=_config(hint, pydantic))
        except pydantic.errors.PydanticUserError:
            return value
        spec.memo[f"adapter {name}"] = adapter
    try:
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:
        for problem in error.errors(include_url=False):
            path = ".".join(map(str, (name, *problem["loc"])))
            problems.append(f"{path}: {problem['msg']} (got {_short(problem['input'])})")
        return value


def _config(hint: Any, pydantic: Any) -> Any:
    # Types that carry their own configuration refuse another one.
    if isinstance(hint, type) and (issubclass(hint, pydantic.BaseModel) or hasattr(hint, "__dataclass_fields__")):
        return None
    return {"arbitrary_types_allowed": True}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
