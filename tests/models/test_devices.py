from types import SimpleNamespace

import torch

from culture_neurons.models import devices


def test_device_of_a_cpu_and_of_two_cards(one, monkeypatch):
    description = devices.describe(one)
    assert description.pop("device")
    assert description == {"device_type": "cpu", "devices": 1, "peak_device_bytes": None}
    cards = [torch.device("cuda:0"), torch.device("cuda:1"), torch.device("cpu")]
    monkeypatch.setattr(devices, "devices_of", lambda loaded: cards)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 10 + device.index)
    assert devices.describe(one) == {
        "device": "Card", "device_type": "cuda", "devices": 2, "peak_device_bytes": 11,
    }  # fmt: skip


def test_weights_that_lie_elsewhere_are_on_no_device(one):
    assert devices.devices_of(one) == [torch.device("cpu")]
    offloaded = SimpleNamespace(model=torch.nn.Linear(2, 2, device="meta"))
    assert devices.devices_of(offloaded) == [torch.device("cpu")]
