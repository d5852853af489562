"""L-BFGS with a line search: no relaxation and no outer rule, the one optimizer here that is not a `Relaxation`."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .closure import Closure, evaluate, refuse_scaler, refuse_zero
from .finite import Finiteness
from .hyperparameters import check_ranges, given
from .shards import is_sharded
from .state import check_state_dict
from .torch_lbfgs import OF_TORCH, TorchLBFGS, copied, norm_of, overshoot, tensors_of


class _NotFinite(Exception):  # noqa: N818 -- no error: it leaves torch's step in the middle
    """An evaluation's loss or gradient is not finite."""

    def __init__(self, loss: Tensor) -> None:
        self.loss = loss


class LBFGS(TorchLBFGS):
    """x <- x + t p, p = -H grad f(x): `torch.optim.LBFGS` with its strong-Wolfe line search, bit for bit.

    H is the inverse Hessian by the last `history_size` differences of x and of grad f. t meets the strong Wolfe
    conditions f(x + t p) <= f(x) + 1e-4 t <p, grad f(x)> and |<p, grad f(x + t p)>| <= 0.9 |<p, grad f(x)>|. An outer
    step is up to `max_iter` of these iterations, and begins with the differences that the ones before have left.

    Source: Nocedal and Wright, Numerical Optimization (2006), algorithms 7.4, 7.5, 3.5 and 3.6, by way of minFunc.

    f must be the same function at every evaluation: the closure takes the same batch with the same random numbers. A
    step whose loss or gradient is not finite, at a trial point of the line search too, or whose weights come out so,
    changes nothing but the count of steps; so does one whose closure raises, without the count.

    Args:
        params: parameters of one device, in one group.
        lr: the t that each line search tries first; the very first one tries it over the 1-norm of the gradient, if
            that is above 1. At 0 a step evaluates f once and stays.
        max_iter: iterations of an outer step, at most.
        max_eval: closure calls after which an outer step begins no further iteration; None: 1.25 max_iter. What it
            takes at most is `evaluations`.
        tolerance_grad: an outer step ends where no entry of the gradient is larger.
        tolerance_change: an outer step ends where f, or every weight, changes by no more.
        history_size: pairs that are kept, each two copies of the parameters.
    """

    finite: bool = True  # was the last step?
    left: int | None = None  # closure calls that the next step may take; None: as many as it likes

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
    ) -> None:
        refuse_zero()
        values = {key: value for key, value in given(locals()).items() if value is not None}
        check_ranges(values, "lbfgs")
        self.finiteness = Finiteness()
        torch.optim.LBFGS.__init__(self, params, line_search_fn="strong_wolfe", **values)
        self.defaults["outer_steps"] = 0
        self.group.setdefault("outer_steps", 0)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.finiteness = Finiteness()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self.param_groups:
            raise ValueError("LBFGS has one group of parameters, whose curvature it measures: give all in that one")
        check_ranges(param_group, "lbfgs")
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but each tensor keeps its data type, and so its bits. ValueError for another optimizer's."""
        ours = {key: value for key, value in self.defaults.items() if key not in OF_TORCH}
        check_state_dict("LBFGS", state_dict, ours)
        super().load_state_dict({**state_dict, "state": {}})
        for kept in state_dict["state"].values():  # one, that of the first parameter
            self.state[self._params[0]] = copied(kept, self._params[0].device)

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """One outer step: 1 to `evaluations` closure calls, and no more than `left`. Returns f at the x it began with.

        The gradients are cleared before each call and at the end. Of a step that is not finite it returns the loss that
        was not, or whose gradient was not.
        """
        refuse_scaler()
        if any(map(is_sharded, self._params)):
            raise ValueError("LBFGS takes inner products of whole parameters: take another optimizer for shards")
        with self.undone_by_errors() as before:
            try:
                loss = self.descend(functools.partial(self._evaluated, closure), self.left)
                norm = norm_of([p - x for p, x in zip(self._params, before.x, strict=True)])
            except _NotFinite as found:
                loss, norm = found.loss, math.nan
            self._examine(norm, loss.item())
            if not self.finite:
                before.back()
        self.group["outer_steps"] += 1
        return loss

    def _evaluated(self, closure: Closure) -> Tensor:
        self.clear()
        loss = evaluate(closure, self._params, [], lambda: True)
        for p in self._params:
            if p.grad is not None:
                p.grad = p.grad.to_dense().contiguous()  # torch takes a .view(-1), which channels_last refuses
        if not (math.isfinite(loss) and math.isfinite(norm_of([p.grad for p in self._params if p.grad is not None]))):
            raise _NotFinite(loss)
        return loss

    def _examine(self, norm: float, loss: float) -> None:
        self.finite = self.finiteness.decide(norm, loss, self.group["outer_steps"])

    # What a log or a loop may ask, as of a Relaxation ----------------------------------------------------------------

    @property
    def evaluations(self) -> int:
        """Closure calls of one step, at most."""
        return int(self.group["max_eval"]) + overshoot()

    @property
    def least(self) -> int:
        """What `left` must be for a step: its first evaluation, and a line search that is cut short at once."""
        return 1 + overshoot()

    def scalars(self) -> dict[str, float]:
        """The hyper-parameters in force, for a log."""
        return {"lr": float(self.group["lr"])}

    def direction_norm(self) -> Tensor:
        """Euclidean norm of the way that the last step went, a 0-dim tensor; NaN if an evaluation was not finite."""
        if self.finiteness.norm is None:
            raise RuntimeError("direction_norm() is known after a step only")
        return torch.as_tensor(self.finiteness.norm, dtype=torch.float64)

    def nonfinite_steps(self) -> tuple[int, int]:
        """How many outer steps since the last call were not finite, and the number of the first; (0, 0) if none."""
        return self.finiteness.count(self.group["outer_steps"])

    def memory(self) -> int:
        """Bytes that the optimizer holds between steps."""
        return sum(t.nbytes for kept in self.state.values() for t in tensors_of(kept))
