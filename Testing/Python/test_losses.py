"""Losses: VGG trunks hold the right layers, and every loss equals what its formula gives by hand."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from MedSRLib.acquisition.batched import BOX, GAUSSIAN, profile_matrices
from MedSRLib.errors import ModelError, UsageError
from MedSRLib.networks.vgg import VGGTrunk, layer_names, load_trunk
from MedSRLib.training.losses import PerceptualLoss, RelativisticAverageLoss, pixel_loss
from MedSRLib.training.pairs import Acquired


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Random weights of VGG16's first convolutions, in half precision, with a classifier that must not matter."""
    torch.manual_seed(0)
    state = {name: value.half() for name, value in VGGTrunk("vgg16", ["conv2_1"]).state_dict().items()}
    path = tmp_path / "vgg.safetensors"
    save_file({**state, "classifier.0.bias": torch.zeros(3)}, path)
    return path


@pytest.mark.parametrize(
    ("trunk", "layer", "key"),
    [
        ("vgg16", "conv1_2", 2),
        ("vgg16", "conv3_3", 14),
        ("vgg16", "conv5_3", 28),
        ("vgg19", "conv3_4", 16),
        ("vgg19", "conv5_4", 34),
    ],
)
def test_layers_have_the_numbers_of_torchvision(trunk: str, layer: str, key: int) -> None:
    network = VGGTrunk(trunk, [layer])  # type: ignore[arg-type]
    last = max(int(name.split(".")[1]) for name in network.state_dict())
    assert last == key
    assert len(layer_names("vgg19")) == 16


def test_features_before_the_activation_may_be_negative_and_after_it_may_not() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 1, 16, 16)
    before = VGGTrunk("vgg16", ["conv1_2", "conv2_1"])
    after = VGGTrunk("vgg16", ["conv1_2", "conv2_1"], before_relu=False)
    after.load_state_dict(before.state_dict())
    for raw, active in zip(before(x), after(x), strict=True):
        assert raw.min() < 0
        assert torch.equal(raw.clamp_min(0), active)


@pytest.mark.parametrize(
    ("convention", "values"),
    [
        ("caffe", (127.5 - 103.939, 127.5 - 116.779, 127.5 - 123.68)),
        ("torchvision", (0.015 / 0.229, 0.044 / 0.224, 0.094 / 0.225)),
    ],
)
def test_grey_is_given_to_three_channels_by_the_convention(convention: str, values: tuple[float, ...]) -> None:
    trunk = VGGTrunk("vgg16", ["conv1_1"], convention=convention)
    with torch.no_grad():
        trunk.features[0].weight.zero_()
        trunk.features[0].bias.zero_()
        for channel in range(3):
            trunk.features[0].weight[channel, channel, 1, 1] = 1.0
    features = trunk(torch.full((1, 1, 4, 4), 0.5))[0]
    assert features[0, :3, 1, 1].tolist() == pytest.approx(values, abs=1e-4)


def test_weights_are_read_from_a_file_whose_hash_fits(weights: Path) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    trunk = load_trunk("vgg16", ["conv1_1", "conv2_1"], str(weights), sha256=digest)
    assert trunk.features[0].weight.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in trunk.parameters())
    with pytest.raises(ModelError, match="SHA-256"):
        load_trunk("vgg16", ["conv1_1"], str(weights), sha256="0" * 64)


def test_weights_are_read_from_a_pytorch_file_without_executing_it(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(VGGTrunk("vgg16", ["conv1_2"]).state_dict(), path)
    assert load_trunk("vgg16", ["conv1_2"], str(path)).layers == ("conv1_2",)
    torch.save({"features.0.weight": Path("x")}, path)
    with pytest.raises(ModelError, match="safetensors"):
        load_trunk("vgg16", ["conv1_2"], str(path))


def test_a_url_is_downloaded_once_and_checked(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    asked: list[str] = []

    def download(url: str, target: str, *, hash_prefix: str, progress: bool) -> None:
        asked.append(hash_prefix)
        Path(target).write_bytes(weights.read_bytes())

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        load_trunk("vgg16", ["conv1_1"], "https://example.org/vgg.safetensors", sha256=digest)
    assert asked == [digest]
    with pytest.raises(UsageError, match="sha256"):
        load_trunk("vgg16", ["conv1_1"], "https://example.org/vgg.safetensors")


@pytest.mark.parametrize("source", ["", "nowhere.safetensors"])
def test_missing_weights_say_which_setting_to_change(source: str) -> None:
    with pytest.raises((UsageError, ModelError), match=r"losses\.perceptual\.weights"):
        load_trunk("vgg16", ["conv1_1"], source)


def test_a_layer_beyond_the_weights_and_an_unknown_layer_are_named(weights: Path) -> None:
    with pytest.raises(ModelError, match=r"features\.7"):
        load_trunk("vgg16", ["conv2_2"], str(weights))
    with pytest.raises(UsageError, match="conv5_4"):
        VGGTrunk("vgg16", ["conv5_4"])


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_perceptual_loss_is_the_weighted_sum_over_layers(norm: str) -> None:
    torch.manual_seed(0)
    trunk = VGGTrunk("vgg16", ["conv1_2", "conv2_1"])
    x, y = torch.rand(2, 2, 1, 16, 16)
    loss = PerceptualLoss(trunk, (0.5, 2.0), norm=norm)(x, y)  # type: ignore[arg-type]
    power = 1 if norm == "l1" else 2
    by_hand = sum(
        weight * (a - b).abs().pow(power).mean() for weight, a, b in zip((0.5, 2.0), trunk(x), trunk(y), strict=True)
    )
    assert loss.item() == pytest.approx(float(by_hand), rel=1e-5)


def test_the_perceptual_loss_reaches_the_estimate_and_not_the_reference() -> None:
    trunk = VGGTrunk("vgg16", ["conv1_2"])
    x = torch.rand(1, 1, 8, 8, requires_grad=True)
    y = torch.rand(1, 1, 8, 8, requires_grad=True)
    PerceptualLoss(trunk, (1.0,))(x, y).backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert y.grad is None


def test_volumes_are_compared_in_slices_of_all_three_planes() -> None:
    torch.manual_seed(0)
    trunk = VGGTrunk("vgg16", ["conv1_1"])
    x = torch.rand(2, 1, 6, 8, 10)
    loss = PerceptualLoss(trunk, (1.0,), slices=2)
    assert loss(x, x).item() == 0
    for axis in (2, 3, 4):
        changed = x.clone()
        changed.select(axis, 0).add_(1.0)
        planes = torch.stack([loss(changed, x) for _ in range(4)])
        assert planes.max() > 0


def test_the_relativistic_average_loss_has_the_value_worked_out_by_hand() -> None:
    """C(real) = 2, 0 and C(fake) = -1, 0: means 1 and -0.5; relative real 2.5, 0.5, relative fake -2, -1."""
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 0.0])

    def softplus(z: float) -> float:
        return math.log1p(math.exp(z))

    of_real = (softplus(-2.5) + softplus(-0.5)) / 2
    of_fake = (softplus(-2.0) + softplus(-1.0)) / 2
    swapped = (softplus(2.5) + softplus(0.5)) / 2 + (softplus(2.0) + softplus(1.0)) / 2
    loss = RelativisticAverageLoss()
    assert loss.of_real(real, fake).item() == pytest.approx(of_real / 2)
    assert loss.of_fake(real, fake).item() == pytest.approx(of_fake / 2)
    assert loss.of_generator(real, fake).item() == pytest.approx(swapped / 2)


def test_an_undecided_discriminator_costs_log_two() -> None:
    loss = RelativisticAverageLoss()
    same = torch.full((3, 1, 4, 4), 0.7)
    assert (loss.of_real(same, same) + loss.of_fake(same, same)).item() == pytest.approx(math.log(2))
    assert loss.of_generator(same, same).item() == pytest.approx(math.log(2))


def test_each_half_of_the_discriminators_loss_has_its_own_gradients() -> None:
    real, fake = (torch.tensor([0.3, -0.2], requires_grad=True) for _ in range(2))
    loss = RelativisticAverageLoss()
    loss.of_real(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is None
    loss.of_generator(real, fake).backward()
    assert fake.grad is not None
    assert bool((fake.grad < 0).all()), "looking more real lowers the generator's loss"


def test_pixel_losses_follow_their_formulas() -> None:
    x, y = torch.tensor([0.0, 0.5]), torch.tensor([0.1, 0.5])
    assert pixel_loss(x, y, "l1").item() == pytest.approx(0.05)
    assert pixel_loss(x, y, "l2").item() == pytest.approx(0.005)
    assert pixel_loss(x, y, "l1+l2").item() == pytest.approx(0.05 + 10 * 0.005)
    assert pixel_loss(x, y, "charbonnier").item() == pytest.approx((math.hypot(0.1, 1e-3) + 1e-3) / 2)


def test_the_psnr_loss_is_the_mean_over_images_of_decibels_and_rmse() -> None:
    """MSE 0.01 and 0.0001: 10 dB are 0.05 ln 10 of the loss."""
    x = torch.zeros(2, 1, 3, 5)
    y = torch.stack([torch.full((1, 3, 5), 0.1), torch.full((1, 3, 5), 0.01)])
    by_hand = [0.05 * math.log(mse + 1e-6) + 2.5 * math.sqrt(mse + 1e-8) for mse in (0.01, 0.0001)]
    assert pixel_loss(x, y, "psnr").item() == pytest.approx(sum(by_hand) / 2, abs=1e-6)


def test_the_psnr_loss_has_gradients_where_nothing_differs() -> None:
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    pixel_loss(x, torch.zeros(1, 1, 4, 4), "psnr").backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


def test_rows_beyond_a_measurement_do_not_count_for_its_misfit() -> None:
    """Two thick slices of one image, four of another, in matrices of six rows."""
    rows = torch.tensor([2, 4])
    matrix = profile_matrices(12, rows, torch.ones(2), torch.full((2,), BOX), 6)
    x = torch.rand(2, 1, 12, 5)
    acquired = Acquired.of(matrix, x, (-2,), margin=1)
    assert acquired.misfit(x).item() == pytest.approx(0.0, abs=1e-6)
    assert acquired.misfit(x - 0.25).item() == pytest.approx(0.25, abs=1e-5)


def test_the_misfit_leaves_out_the_margin_where_the_patch_ends() -> None:
    matrix = profile_matrices(8, torch.tensor([4]), torch.ones(1), torch.tensor([GAUSSIAN]), 4)
    x = torch.rand(1, 1, 8, 8)
    changed = x.clone()
    changed[..., 0] += 1.0
    inside, whole = (Acquired.of(matrix, x, (-2, -1), margin).misfit(changed).item() for margin in (1, 0))
    assert inside < 0.1 * whole


def test_the_contrast_loss_weighs_images_by_what_is_seen_of_them() -> None:
    """Rows of the base differ by 0 and by 0.1: the same error counts a hundred and one times as much in the first."""
    base = torch.zeros(2, 1, 4, 4)
    base[1] = 0.1 * torch.arange(4.0)[:, None]
    flat, steep = (
        pixel_loss(base[i : i + 1] + 0.02, base[i : i + 1], "contrast", base[i : i + 1]).item() for i in (0, 1)
    )
    assert flat == pytest.approx(0.02**2 / 0.01**2)
    assert flat / steep == pytest.approx(101)


@pytest.mark.parametrize(("kind", "best"), [("contrast", 0.25), ("psnr", 0.0)])
def test_what_may_be_sharp_or_smooth_is_answered_by_its_mean_where_contrast_decides(kind: str, best: float) -> None:
    """Of what looks alike one image in four is sharp: decibels side with the smooth ones, and hold back."""
    sharp = torch.ones(1, 1, 4, 4) * 0.1
    truths = torch.cat([sharp, 0 * sharp, 0 * sharp, 0 * sharp])
    base = torch.zeros_like(truths)
    answers = [0.0, 0.125, 0.25, 0.5]
    losses = [pixel_loss(base + answer * sharp, truths, kind, base).item() for answer in answers]
    assert answers[losses.index(min(losses))] == best
