"""Rules for torch: a tensor is its dtype, shape, device, elements, and its part in differentiation.

Modules need no rule: they are plain objects made of tensors.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import torch  # type: ignore[import-not-found, unused-ignore]

from kept.fingerprint.builtins import no_content
from kept.fingerprint.canonical import NoContent, Node
from kept.fingerprint.plain import new_buffer_hash

Rule = Callable[[Any], Node]

_COPY_BYTES = 1 << 24


def rule_for(kind: type) -> Rule | None:
    """Return the rule for tensors and generators."""
    if issubclass(kind, torch.Tensor):
        return _tensor
    if issubclass(kind, (torch.UntypedStorage, torch.TypedStorage)):
        return no_content("a storage", "is not supported; pass the tensor")
    return _generator if issubclass(kind, torch.Generator) else None


def _tensor(value: Any) -> Node:
    kind = type(value)
    header = (f"{kind.__module__}:{kind.__qualname__}", str(value.dtype), tuple(value.shape))
    header += (str(value.device), bool(value.requires_grad))  # type: ignore[assignment]
    grad = value.grad if value.is_leaf else None
    if value.layout is torch.sparse_coo:
        whole = value.detach().coalesce()
        return Node("torch.sparse", header, (whole.indices(), whole.values(), grad))
    if value.layout is not torch.strided or value.is_quantized:
        raise NoContent(f"a tensor of layout {value.layout} is not supported; pass to_dense() of it")
    return Node("torch.Tensor", (*header, _digest(value.detach())), () if grad is None else (grad,), heavy=True)


def _digest(tensor: Any) -> bytes:
    running = new_buffer_hash(tensor.numel() * tensor.element_size())
    for piece in _pieces(tensor):
        plain = piece.resolve_conj().resolve_neg().cpu().contiguous()
        size = plain.numel() * plain.element_size()
        # By address: numpy may be missing, and does not know all dtypes.
        place = (ctypes.c_ubyte * size).from_address(plain.data_ptr()) if size else b""
        running.update(memoryview(place).cast("B"))
    return running.digest()


def _pieces(tensor: Any) -> Iterator[Any]:
    """Yield the tensor as it is, or in pieces of bounded size where it has to be copied."""
    if tensor.is_contiguous() or not tensor.dim():
        yield tensor
        return
    row = max(1, tensor[:1].numel() * tensor.element_size())
    step = max(1, _COPY_BYTES // row)
    for at in range(0, tensor.shape[0], step):
        yield tensor[at : at + step]


def _generator(value: Any) -> Node:
    return Node("torch.Generator", str(value.device), (value.get_state(),), lambda _: ".get_state()")
