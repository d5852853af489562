"""The equations that a network may be asked to solve, by name."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from ...errors import UserError, did_you_mean
from .derivatives import Field
from .equation import Equation
from .quadrature import cole_hopf_cosine

T, X = 0, 1  # the inputs' numbers


class Heat(Equation):
    """u_t = a u_xx on [0, 1], u = exp(-a pi^2 t) sin(pi x), zero at both ends."""

    name = "heat"
    description = "u_t = a u_xx from sin(pi x), one mode that decays; coefficient: the diffusivity a"
    symbol, default, lowest, highest = "a", 0.4, 0.001, 2.0
    low, high, boundary = (0.0, 0.0), (1.0, 1.0), "zero"

    def residual(self, field: Field) -> Tensor:
        return (field.d(0, T) - self.coefficient * field.d(0, X, X))[:, None]

    def exact(self, points: Tensor) -> Tensor:
        t, x = points.unbind(1)
        return ((-self.coefficient * math.pi**2 * t).exp() * (math.pi * x).sin())[:, None]


class Convection(Equation):
    """u_t + beta u_x = 0 on [0, 2 pi], periodic, u = sin(x - beta t).

    Source: arXiv 2402.01868, where beta is 40; networks get stuck from some 30 on.
    """

    name = "convection"
    description = "u_t + beta u_x = 0 from sin x, a wave carried along; coefficient: the speed beta, hard from 30 on"
    symbol, default, lowest, highest = "beta", 5.0, 0.0, 100.0
    low, high, boundary = (0.0, 0.0), (1.0, 2 * math.pi), "periodic"
    order_in_space = 1

    def residual(self, field: Field) -> Tensor:
        return (field.d(0, T) + self.coefficient * field.d(0, X))[:, None]

    def exact(self, points: Tensor) -> Tensor:
        t, x = points.unbind(1)
        return (x - self.coefficient * t).sin()[:, None]


class Reaction(Equation):
    """u_t = rho u (1 - u) on [0, 2 pi], u(0, x) = h(x) = exp(-(x - pi)^2 / (2 (pi/4)^2)), periodic in its values.

    u = h e^(rho t) / (h e^(rho t) + 1 - h). Source: arXiv 2402.01868.
    """

    name = "reaction"
    description = "u_t = rho u (1 - u) from a bell, an ordinary equation at each x; coefficient: the rate rho"
    symbol, default, lowest, highest = "rho", 5.0, 0.0, 50.0
    low, high, boundary = (0.0, 0.0), (1.0, 2 * math.pi), "periodic"
    order_in_space = 1

    def residual(self, field: Field) -> Tensor:
        u = field.d(0)
        return (field.d(0, T) - self.coefficient * u * (1 - u))[:, None]

    def exact(self, points: Tensor) -> Tensor:
        t, x = points.unbind(1)
        exponent = -8 * ((x - math.pi) / math.pi).square()
        h, rest = exponent.exp(), -exponent.expm1()  # with 1 - h to all its digits
        return (h / (h + rest * (-self.coefficient * t).exp()))[:, None]


class Wave(Equation):
    """u_tt = 4 u_xx on [0, 1], u = sin(pi x) cos(2 pi t) + 1/2 sin(beta pi x) cos(2 beta pi t), zero at both ends.

    It starts at rest. Source: arXiv 2402.01868, with beta = 5; an integer, or the boundary would not be zero.
    """

    name = "wave"
    description = "u_tt = 4 u_xx, two standing waves; coefficient: the number of half waves beta of the second"
    symbol, default, lowest, highest, integral = "beta", 3.0, 1.0, 20.0, True
    low, high, boundary = (0.0, 0.0), (1.0, 1.0), "zero"
    order_in_time = 2

    def residual(self, field: Field) -> Tensor:
        return (field.d(0, T, T) - 4 * field.d(0, X, X))[:, None]

    def exact(self, points: Tensor) -> Tensor:
        t, x = (math.pi * points).unbind(1)
        beta = self.coefficient
        return (x.sin() * (2 * t).cos() + 0.5 * (beta * x).sin() * (2 * beta * t).cos())[:, None]


class Burgers(Equation):
    """u_t + u u_x = nu u_xx on [-1, 1], u(0, x) = -sin(pi x), zero at both ends; a shock at x = 0 from t = 1/pi on.

    u is the slope of the viscous Hamilton-Jacobi solution from cos(pi x)/pi at temperature 2 nu. Source: Raissi,
    Perdikaris and Karniadakis, J. Comput. Phys. 378 (2019) 686, with nu = 0.01/pi.
    """

    name = "burgers"
    description = "u_t + u u_x = nu u_xx from -sin(pi x), which steepens to a shock; coefficient: the viscosity nu"
    symbol, default, lowest, highest = "nu", 0.01 / math.pi, 0.001, 1.0
    low, high, boundary = (0.0, -1.0), (1.0, 1.0), "zero"

    def residual(self, field: Field) -> Tensor:
        diffusion = self.coefficient * field.d(0, X, X)  # first: in forward mode u_x and u come with it
        return (field.d(0, T) + field.d(0) * field.d(0, X) - diffusion)[:, None]

    def exact(self, points: Tensor) -> Tensor:
        return cole_hopf_cosine(points, 1 / math.pi, 2 * self.coefficient, self.high[T])[:, 1:]

    def initial(self, points: Tensor) -> Tensor:
        return -(math.pi * points[:, X:]).sin()


class ViscousHJ(Equation):
    """u_t + 1/2 u_x^2 = T/2 u_xx on [-1, 1], periodic, u(0, x) = cos(pi x).

    The equation of Entropy-SGD (arXiv 1704.04932, section 2): u is the local entropy of the loss cos(pi x), t its
    gamma and T its temperature; u = -T log E exp(-f(x + sqrt(T t) z)/T) by Cole and Hopf.
    """

    name = "viscous_hj"
    description = "u_t + u_x^2/2 = T/2 u_xx from cos(pi x), local entropy as in Entropy-SGD; coefficient: temperature T"
    symbol, default, lowest, highest = "T", 0.2, 0.01, 10.0
    low, high, boundary = (0.0, -1.0), (1.0, 1.0), "periodic"

    def residual(self, field: Field) -> Tensor:
        diffusion = self.coefficient / 2 * field.d(0, X, X)
        return (field.d(0, T) + field.d(0, X).square() / 2 - diffusion)[:, None]

    def exact(self, points: Tensor) -> Tensor:
        return cole_hopf_cosine(points, 1.0, self.coefficient, self.high[T])[:, :1]

    def initial(self, points: Tensor) -> Tensor:
        return (math.pi * points[:, X:]).cos()


class Oscillator(Equation):
    """The quantum harmonic oscillator: i psi_t = -1/2 psi_xx + 1/2 omega^2 x^2 psi, psi = u + i v, x in [-5, 5].

    psi = (phi_0 e^(-i omega t/2) + phi_1 e^(-3 i omega t/2)) / sqrt 2 with the lowest two states, t from 0 to pi/2. On
    the boundary |psi| is about 1e-5 for omega = 1. Source: Stiller et al., arXiv 2009.03730, for the equation (their
    code has omega where we have omega^2); domain and superposition are ours.
    """

    name = "oscillator"
    description = "i psi_t = -1/2 psi_xx + omega^2/2 x^2 psi, a swinging wave packet; coefficient: the frequency omega"
    symbol, default, lowest, highest = "omega", 1.0, 0.5, 5.0
    outputs = ("u", "v")
    low: ClassVar[tuple[float, ...]] = (0.0, -5.0)
    high: ClassVar[tuple[float, ...]] = (math.pi / 2, 5.0)
    boundary = "exact"

    def residual(self, field: Field) -> Tensor:
        """The equation's real and its imaginary part: v_t - 1/2 lap u + V u and u_t + 1/2 lap v - V v."""
        potential = 0.5 * self.coefficient**2 * field.points[:, 1:].square().sum(1)
        u, v = (
            sum(-0.5 * field.d(output, dim, dim) for dim in range(1, len(self.inputs))) + potential * field.d(output)
            for output in (0, 1)
        )
        return torch.stack((field.d(1, T) + u, field.d(0, T) - v), 1)

    def exact(self, points: Tensor) -> Tensor:
        omega, t, x, space = self.coefficient, points[:, T], points[:, X], points[:, 1:]
        d = space.shape[1]
        ground = (omega / math.pi) ** (d / 4) * (-0.5 * omega * space.square().sum(1)).exp() / math.sqrt(2)
        excited = math.sqrt(2 * omega) * x * ground
        low, high = 0.5 * d * omega * t, (0.5 * d + 1) * omega * t
        return torch.stack((ground * low.cos() + excited * high.cos(), -ground * low.sin() - excited * high.sin()), 1)


class Oscillator2D(Oscillator):
    """The oscillator in the plane, [-5, 5]^2: 1/2 omega^2 (x^2 + y^2), psi from phi_00 and phi_10 of energies omega and
    2 omega. Source: as above."""

    name = "oscillator_2d"
    description = "the oscillator in the plane, with points t, x, y; coefficient: the frequency omega"
    inputs = ("t", "x", "y")
    low, high = (0.0, -5.0, -5.0), (math.pi / 2, 5.0, 5.0)


CATALOG: dict[str, type[Equation]] = {
    kind.name: kind for kind in (Heat, Convection, Reaction, Wave, Burgers, Oscillator, Oscillator2D, ViscousHJ)
}


def equation(name: str, coefficient: float | None = None) -> Equation:
    """The equation called so, with its default coefficient for None.

    Raises UserError, a ValueError, for an unknown name and for a coefficient outside the equation's range.
    """
    if name not in CATALOG:
        known = ", ".join(CATALOG)
        raise UserError(f"there is no equation {name!r}{did_you_mean(name, CATALOG)}: choose one of {known}")
    kind = CATALOG[name]
    return kind(kind.default if coefficient is None else coefficient)
