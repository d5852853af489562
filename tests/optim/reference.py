"""The rules of all optimizers in a plain, slow form, one parameter tensor at a time: to learn them from and to adapt.

Each rule is a generator for one tensor. `gradient = yield y` asks for grad f(y) on the next mini-batch, weight decay
included, `yield Again(y)` on the same one once more, and `yield Norm(t)` for the Euclidean norm of all tensors' t. What
it returns is the direction d:

    x <- x - lr d(x)                                               (with momentum or AdamW: `OUTER`)

x are the weights at the start of the outer step, y a place where a gradient is taken, mu the average of y, gamma the
time of the equation, `xi` a sequence of standard Gaussians like x, k the number of outer steps done. Keywords mean what
they mean in the package. `kept` is a dictionary of the tensor's own that lasts from step to step. Methods with replicas
are in `reference_replicas.py`. `Reference` in `reference_optimizer.py` runs the generators of all tensors side by side,
for a gradient is one of the whole network. `tests/optim/test_reference.py` holds the optimizers of the package to these
rules.

`y.add(force, alpha=-h)` is y - h force with one rounding where the processor has a fused multiply-add.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Again(NamedTuple):
    """A place where the gradient is taken on the mini-batch of the one before."""

    y: Tensor


class Norm(NamedTuple):
    """What a rule asks the norm of, over all tensors."""

    part: Tensor


class Loss(NamedTuple):
    """A rule asks f where the last gradient was taken, weight decay included."""


Direction = Generator[Tensor | Again | Norm | Loss, Tensor, Tensor]  # yields y, is sent grad f(y), returns d
Rule = Callable[..., Direction]


def sgd(x: Tensor, xi: Iterator[Tensor], k: int, **_: Any) -> Direction:
    """d = grad f(x)."""
    return (yield x)


def entropy_sgd(
    x: Tensor, xi: Iterator[Tensor], k: int, *, gamma: float, scoping: float, inner_steps: int, inner_lr: float,
    inner_momentum: float, temperature: float, averaging: float, inner: str, kept: dict[str, Any], **group: Any,
) -> Direction:  # fmt: skip
    """d = x - mu, mu the average of a Langevin chain in exp(-(f(y) + |x - y|^2/(2 gamma_k))/T); d ~ gamma_k grad u.

    gamma_k = gamma/(1 + scoping)^k;  y, mu <- x;  v <- 0;  then inner_steps times, with h = inner_lr:
    G <- grad f(y) + (y - x)/gamma_k
    v <- m v + G;  y <- y - h (G + m v) + sqrt(2 h T) xi
    mu <- a mu + (1 - a) y

    With inner="adamw" a step of AdamW on G is the second line. With inner_state="keep" v, or the moments, are those
    that the last step left.
    """
    gamma = gamma / (1 + scoping) ** k
    if group["inner_state"] == "reset":
        kept.clear()
    y = mu = x
    for _ in range(inner_steps):
        gradient = yield y
        force = gradient.add(y - x, alpha=1 / gamma)
        if inner == "adamw":
            decay, betas = group["decoupled_weight_decay"], group["inner_betas"]
            y = adamw(y, force, kept, lr=inner_lr, betas=betas, eps=group["inner_eps"], decay=decay)
        else:
            v = kept["v"] = inner_momentum * kept.get("v", torch.zeros_like(x)) + force
            y = y.add(force.add(v, alpha=inner_momentum), alpha=-inner_lr)
        y = y.add(next(xi), alpha=math.sqrt(2 * inner_lr * temperature))
        mu = averaging * mu + (1 - averaging) * y
    return x - mu


def lookahead(x: Tensor, xi: Iterator[Tensor], k: int, **group: Any) -> Direction:
    """d = x - y_L, y_L the end of inner_steps steps of the inner rule from x: Entropy-SGD without its relaxation."""
    without = {"gamma": math.inf, "scoping": 0.0, "averaging": 0.0, "temperature": 0.0}
    return (yield from entropy_sgd(x, xi, k, **group, **without))


snoo = diloco = lookahead


def hj_fixed_point(
    x: Tensor, xi: Iterator[Tensor], k: int, *, gamma: float, scoping: float, inner_steps: int, averaging: float,
    **_: Any,
) -> Direction:  # fmt: skip
    """d = p ~ grad u = grad f(prox): the fixed point of p = grad f(x - gamma_k p), approached with damping.

    p <- grad f(x);  inner_steps - 1 times: p <- a p + (1 - a) grad f(x - gamma_k p)
    """
    gamma = gamma / (1 + scoping) ** k
    p = yield x
    for _ in range(inner_steps - 1):
        gradient = yield x.add(p, alpha=-gamma)
        p = averaging * p + (1 - averaging) * gradient
    return p


def hj_proximal(x: Tensor, xi: Iterator[Tensor], k: int, **group: Any) -> Direction:
    """d = x - y ~ gamma_k grad u, y descending on f(y) + |x - y|^2/(2 gamma_k) from x: Entropy-SGD without its noise.

    G <- grad f(y) + (y - x)/gamma_k;  v <- m v + G;  y <- y - h (G + m v),  inner_steps times
    """
    return (yield from entropy_sgd(x, xi, k, **{**group, "temperature": 0.0, "averaging": 0.0}))


def heat(
    x: Tensor, xi: Iterator[Tensor], k: int, *, sigma: float, samples: int, filter_normalized: bool, **_: Any
) -> Direction:
    """d = the mean over the samples of grad f(x + sigma z): an unbiased estimate of grad u, u = E f(x + sigma z).

    Filter-normalised, sigma multiplies the norm of each filter (a row of the flattened weight; all of a 1-D tensor).
    """
    total = torch.zeros_like(x)
    for _ in range(samples):
        z = next(xi)
        if filter_normalized:
            within_a_filter = tuple(range(1, x.ndim)) or (0,)
            z = z * x.square().sum(within_a_filter, keepdim=True).sqrt()
        total = total + (yield x.add(z, alpha=sigma))
    return total / samples


def sam(x: Tensor, xi: Iterator[Tensor], k: int, *, rho: float, **_: Any) -> Direction:
    """d = grad f(x + e) on the mini-batch of g = grad f(x), e = rho g/|g|; the norm is over all tensors."""
    g = yield x
    norm = yield Norm(g)
    return (yield Again(x.add(g, alpha=rho / norm.item())))


def asam(x: Tensor, xi: Iterator[Tensor], k: int, *, rho: float, **_: Any) -> Direction:
    """The same with e = rho |x| (|x| g)/| |x| g |, products by number: in proportion to the weights."""
    scaled = x.abs() * (yield x)
    norm = yield Norm(scaled)
    return (yield Again(x.add(scaled * x.abs(), alpha=rho / norm.item())))


def msam(
    x: Tensor, xi: Iterator[Tensor], k: int, *, rho: float, momentum: float, outer_state: dict[str, Any], **_: Any
) -> Direction:
    """d = grad f(x - rho v/|v|), v the momentum of the outer rule; the norm is over all tensors."""
    v = outer_state["v"] if momentum and k else torch.zeros_like(x)
    norm = yield Norm(v)
    return (yield x.add(v, alpha=-rho / norm.item()) if norm else x)


def m_rwp(
    x: Tensor, xi: Iterator[Tensor], k: int, *, sigma: float, mixing: float, filter_normalized: bool, **_: Any
) -> Direction:
    """d = (1 - a) grad f(x) + a grad f(x + sigma z), a the mixing, of two mini-batches."""
    at_x = yield x
    perturbed = yield from heat(x, xi, k, sigma=sigma, samples=1, filter_normalized=filter_normalized)
    return ((1 - mixing) * at_x).add(perturbed, alpha=mixing)


def pde_relaxed(
    x: Tensor, xi: Iterator[Tensor], k: int, *, equation: str, gamma: float, temperature: float, inner_steps: int,
    **_: Any,
) -> Direction:  # fmt: skip
    """d ~ grad u(x, gamma), whichever the equation, u(x, 0) = f(x):

    viscous_hj   u_t = -1/2 |grad u|^2 + T/2 lap u    y <- y - h (grad f(y) + (y - x)/gamma) + sqrt(2 h T) xi from y = x
                                                      with h = gamma/2;  d = (x - y)/gamma
    hj           u_t = -1/2 |grad u|^2                the fixed point, a = 0.75
    heat         u_t = T/2 lap u                      sigma^2 = gamma T
    """
    if equation == "hj":
        return (yield from hj_fixed_point(x, xi, k, gamma=gamma, scoping=0, inner_steps=inner_steps, averaging=0.75))
    if equation == "heat":
        sigma = math.sqrt(gamma * temperature)
        return (yield from heat(x, xi, k, sigma=sigma, samples=inner_steps, filter_normalized=False))
    y = x
    for _ in range(inner_steps):
        gradient = yield y
        y = y - gamma / 2 * (gradient + (y - x) / gamma) + math.sqrt(gamma * temperature) * next(xi)
    return (x - y) / gamma


def pme(
    x: Tensor, xi: Iterator[Tensor], k: int, *, sigma: float, strength: float, bound: float, samples: int, **_: Any
) -> Direction:  # fmt: skip
    """d = (1 - B w(x)) grad f(x) + B <w(y) grad f(y)>, w = max(bound - f, 0), all on one mini-batch.

    y = x + sigma |grad f(x)| r, r ~ N(0, I/N) with N the number of weights; the mean is over the samples.
    """
    g = yield x
    w = strength * (bound - (yield Loss())).clamp(min=0)
    d, h = (1 - w) * g, sigma * (yield Norm(g)) / (yield Norm(torch.ones_like(x)))
    for _sample in range(samples):
        gradient = yield Again(x + h * next(xi))
        w = strength * (bound - (yield Loss())).clamp(min=0)
        d = d + w / samples * gradient
    return d


def sgld(x: Tensor, xi: Iterator[Tensor], k: int, *, lr: float, temperature: float, **_: Any) -> Direction:
    """d = grad f(x) + sqrt(2 T/lr) xi, so that x <- x - lr grad f(x) + sqrt(2 lr T) xi."""
    noise = math.sqrt(2 * temperature / lr) * next(xi)
    return noise + (yield x)


def schedule_free(
    x: Tensor, xi: Iterator[Tensor], k: int, *, outer: str, betas: tuple[float, float] = (0.0, 0.0),
    momentum: float = 0.0, kept: dict[str, Any], **_: Any,
) -> Direction:  # fmt: skip
    """d = grad f(y), y = b x + (1 - b) z; what becomes of z and x is `mean_of_z`."""
    b = betas[0] if outer == "adamw" else momentum
    kept["y"] = b * x + (1 - b) * kept.get("z", x)
    return (yield kept["y"])


def mean_of_z(
    x: Tensor, d: Tensor, state: dict[str, Any], *, lr: float, decay: float, outer: str, kept: dict[str, Any],
    betas: tuple[float, float] = (0.0, 0.0), eps: float = 0.0, **_: Any,
) -> Tensor:  # fmt: skip
    """z <- z - lr (d + c y);  x <- (1 - w) x + w z,  w = lr^2 / sum of lr^2;  outer="adamw": d / (sqrt(v^) + eps)."""
    if outer == "adamw":
        t = state["t"] = state.get("t", 0) + 1
        v = state["v"] = betas[1] * state.get("v", torch.zeros_like(x)) + (1 - betas[1]) * d**2
        d = d / ((v / (1 - betas[1] ** t)).sqrt() + eps)
    z = kept["z"] = kept.get("z", x) - lr * (d + decay * kept["y"])
    total = state["total"] = state.get("total", 0.0) + lr**2
    w = lr**2 / total
    return (1 - w) * x + w * z


def momentum(
    x: Tensor, d: Tensor, state: dict[str, Any], *, lr: float, momentum: float = 0.0, nesterov: bool = True,
    decay: float, **_: Any,
) -> Tensor:  # fmt: skip
    """v <- m v + d;  x <- (1 - lr c) x - lr (d + m v), or x - lr v without Nesterov's look-ahead."""
    v = state["v"] = momentum * state.get("v", torch.zeros_like(x)) + d
    return (x * (1 - lr * decay)).add(d.add(v, alpha=momentum) if nesterov else v, alpha=-lr)


def adamw(
    x: Tensor, d: Tensor, state: dict[str, Any], *, lr: float, betas: tuple[float, float], eps: float, decay: float,
    **_: Any,
) -> Tensor:  # fmt: skip
    """m <- b1 m + (1 - b1) d;  v <- b2 v + (1 - b2) d^2;  x <- (1 - lr c) x - lr m^ / (sqrt(v^) + eps).

    m^ = m/(1 - b1^t), v^ = v/(1 - b2^t), t the number of this step.
    """
    b1, b2 = betas
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = torch.lerp(state.get("m", torch.zeros_like(x)), d, 1 - b1)
    v = state["second"] = (b2 * state.get("second", torch.zeros_like(x))).addcmul(d, d, value=1 - b2)
    return (x * (1 - lr * decay)).addcdiv(m, v.sqrt() / (1 - b2**t) ** 0.5 + eps, value=-(lr / (1 - b1**t)))


OUTER = {"momentum": momentum, "adamw": adamw}
