"""Tensors and modules, where torch is installed."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest

from kept.exceptions import HashError
from kept.fingerprint import fingerprint

torch: Any = pytest.importorskip("torch")


def assert_all_differ(*values: object) -> None:
    assert len({fingerprint(value) for value in values}) == len(values)


def test_the_layout_of_a_tensor_does_not_count() -> None:
    tensor = torch.arange(24.0).reshape(4, 6)
    assert fingerprint(tensor.T) == fingerprint(tensor.T.contiguous())
    assert fingerprint(tensor[::2, ::3]) == fingerprint(tensor[::2, ::3].clone())
    assert fingerprint(torch.ones(1).expand(5)) == fingerprint(torch.ones(5))


def test_dtype_shape_content_and_gradients_count() -> None:
    tensor = torch.arange(4.0)
    trained = tensor.clone().requires_grad_()
    (trained * 2).sum().backward()
    assert_all_differ(
        tensor, tensor + 1, tensor.reshape(2, 2), tensor.to(torch.bfloat16), tensor.to(torch.float64),
        tensor.clone().requires_grad_(), trained, torch.nn.Parameter(tensor), tensor.numpy(), tensor.tolist(),
        torch.zeros(0), torch.zeros(0, 1), torch.tensor(1), torch.tensor([1]), tensor.reshape(2, 2).to_sparse(),
    )  # fmt: skip


def test_modules_are_their_state() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.BatchNorm1d(3))
    other = copy.deepcopy(model)
    assert fingerprint(other) == fingerprint(model)
    other[0].weight.data[0, 0] += 1
    assert_all_differ(model, other, copy.deepcopy(model).eval())


def test_small_things_of_torch_are_told_apart() -> None:
    assert_all_differ(torch.float32, torch.float64, torch.device("cpu"), torch.device("cuda:0"), torch.Size([1]), (1,))
    assert_all_differ(torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))


def test_what_is_not_supported_names_its_cure() -> None:
    with pytest.raises(HashError, match=r"pass the tensor"):
        fingerprint(torch.zeros(1).untyped_storage())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        column_wise = torch.eye(2).to_sparse_csc()
    with pytest.raises(HashError, match=r"layout torch.sparse_csc is not supported; pass to_dense\(\) of it"):
        fingerprint(column_wise)
