"""Batch-norm statistics at x."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from deeprelax.data.batches import Batches, Images
from deeprelax.data.images import Split
from deeprelax.data.normalize import fit
from deeprelax.optim.batchnorm import reestimate_batchnorm

CPU = torch.device("cpu")


def images(n: int = 2345, channels: int = 1) -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, channels, 4, 4), dtype=torch.uint8, generator=generator)
    return Images(Split(pixels, torch.randint(3, (n,), generator=generator)), fit("mean_std", pixels), CPU)


def network() -> nn.Module:
    return nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


def test_reestimated_statistics_are_the_mean_over_the_batches_and_all_else_is_as_before() -> None:
    data, net = images(400), network()
    batches = Batches(data, 100, 0)
    reestimate_batchnorm(net, (batches[k] for k in range(4)))
    layer = net[3]
    with torch.no_grad():
        outputs = [net[2](batches[k][0].flatten(1)) for k in range(4)]  # no dropout
    torch.testing.assert_close(layer.running_mean, torch.stack([o.mean(0) for o in outputs]).mean(0))
    torch.testing.assert_close(layer.running_var, torch.stack([o.var(0) for o in outputs]).mean(0))
    assert layer.momentum == 0.1
    assert all(module.training for module in net.modules())


def test_reestimation_takes_a_dataloader() -> None:
    data, nets = images(400), (network(), network())
    nets[1].load_state_dict(nets[0].state_dict())
    inputs, labels = data.chunk(0, 400)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), 100)
    reestimate_batchnorm(nets[0], loader, device="cpu")
    reestimate_batchnorm(nets[1], inputs.split(100))
    for one, other in zip(nets[0].buffers(), nets[1].buffers(), strict=True):
        assert torch.equal(one, other)
    assert nets[0][3].num_batches_tracked == 4


def test_reestimation_restores_everything_when_a_batch_fails() -> None:
    def broken() -> Iterator[torch.Tensor]:
        yield images(100).chunk(0, 10)[0]
        raise RuntimeError("broken")

    net = network()
    with pytest.raises(RuntimeError, match="broken"):
        reestimate_batchnorm(net, broken())
    assert net[3].momentum == 0.1
    assert all(module.training for module in net.modules())


def test_reestimation_puts_back_each_modules_own_mode_and_needs_a_batch() -> None:
    net = network()
    net[3].eval()
    reestimate_batchnorm(net, [images(100).chunk(0, 100)[0]])
    assert net[3].num_batches_tracked == 1
    assert [module.training for module in net] == [True, True, True, False, True]
    before = net[3].running_mean.clone()
    with pytest.raises(ValueError, match="batches must hold at least one"):
        reestimate_batchnorm(net, iter(()))
    assert torch.equal(net[3].running_mean, before)
