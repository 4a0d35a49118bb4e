"""Networks as PyTorch computes them, for the tests of fedact-nets to compare with.

    python networks.py cases FOLDER       # a folder a network: weights, a clip set, what PyTorch says of it
    python networks.py fixtures FOLDER    # the small checkpoints in tests/checkpoints

Needs torch 2 and torchvision. The residual networks and MobileNetV2 are torchvision's own. Hara's residual networks,
X3D and the temporal shift are written here from the papers, with the names that the published checkpoints have.
"""

import array
import collections
import json
import pathlib
import struct
import sys

import torch
import torchvision
from torch import nn
from torch.nn import functional
from torchvision.models.video import resnet as video


# Hara et al. 2018: a 7x7x7 stem, a max-pool, and shortcuts without parameters (A) or with a convolution (B).


class HaraBlock(nn.Module):
    def __init__(self, inputs, channels, stride, bottleneck, shortcut):
        super().__init__()
        self.outputs = channels * 4 if bottleneck else channels
        self.stride = stride
        plan = [(1, 1), (3, stride), (1, 1)] if bottleneck else [(3, stride), (3, 1)]
        self.depth = len(plan)
        before = inputs
        for at, (kernel, step) in enumerate(plan, 1):
            after = self.outputs if at == len(plan) else channels
            conv = nn.Conv3d(before, after, kernel, step, kernel // 2, bias=False)
            setattr(self, f"conv{at}", conv)
            setattr(self, f"bn{at}", nn.BatchNorm3d(after))
            before = after
        self.changes = stride != 1 or inputs != self.outputs
        if self.changes and shortcut == "B":
            conv = nn.Conv3d(inputs, self.outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm3d(self.outputs))

    def around(self, x):
        if not self.changes:
            return x
        if hasattr(self, "downsample"):
            return self.downsample(x)
        kept = functional.avg_pool3d(x, 1, self.stride)
        shape = (x.shape[0], self.outputs - x.shape[1], *kept.shape[2:])
        return torch.cat([kept, torch.zeros(shape)], 1)

    def forward(self, x):
        state = x
        for at in range(1, self.depth + 1):
            state = getattr(self, f"bn{at}")(getattr(self, f"conv{at}")(state))
            if at < self.depth:
                state = state.relu()
        return (state + self.around(x)).relu()


class Hara(nn.Module):
    BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}

    def __init__(self, depth, width, shortcut, classes):
        super().__init__()
        self.conv1 = nn.Conv3d(3, width, 7, (1, 2, 2), 3, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        inputs = width
        for stage, count in enumerate(self.BLOCKS[depth]):
            blocks = []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                block = HaraBlock(inputs, width << stage, stride, depth == 50, shortcut)
                inputs = block.outputs
                blocks.append(block)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = functional.max_pool3d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3, 4)))


# Feichtenhofer 2020.


class Weighing(nn.Module):
    def __init__(self, channels, between):
        super().__init__()
        layers = [nn.Conv3d(channels, between, 1), nn.ReLU(), nn.Conv3d(between, channels, 1), nn.Sigmoid()]
        self.block = nn.Sequential(*layers)

    def forward(self, x):
        return x * self.block(x.mean((2, 3, 4), keepdim=True))


class X3dBranch(nn.Module):
    def __init__(self, inputs, inner, outputs, stride, between):
        super().__init__()
        self.conv_a = nn.Conv3d(inputs, inner, 1, bias=False)
        self.norm_a = nn.BatchNorm3d(inner)
        self.conv_b = nn.Conv3d(inner, inner, 3, (1, stride, stride), 1, groups=inner, bias=False)
        weighing = Weighing(inner, between) if between else nn.Identity()
        self.norm_b = nn.Sequential(nn.BatchNorm3d(inner), weighing)
        self.conv_c = nn.Conv3d(inner, outputs, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(outputs)

    def forward(self, x):
        x = self.norm_a(self.conv_a(x)).relu()
        x = self.norm_b(self.conv_b(x))
        return self.norm_c(self.conv_c(x * x.sigmoid()))


class X3dBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, between):
        super().__init__()
        if stride > 1:
            self.branch1_conv = nn.Conv3d(inputs, outputs, 1, (1, stride, stride), bias=False)
        if inputs != outputs:
            self.branch1_norm = nn.BatchNorm3d(outputs)
        self.branch2 = X3dBranch(inputs, outputs * 9 // 4, outputs, stride, between)

    def forward(self, x):
        around = x
        for part in ("branch1_conv", "branch1_norm"):
            around = getattr(self, part)(around) if hasattr(self, part) else around
        return (around + self.branch2(x)).relu()


class Parts(nn.Module):
    """Parts by name, to be called one by one."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class X3d(nn.Module):
    def __init__(self, classes):
        super().__init__()
        across = nn.Conv3d(3, 24, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        through = nn.Conv3d(24, 24, (5, 1, 1), 1, (2, 0, 0), groups=24, bias=False)
        blocks = [Parts(conv=Parts(conv_t=across, conv_xy=through), norm=nn.BatchNorm3d(24))]
        inputs = 24
        # Channels, blocks, and channels in the middle of squeeze and excitation.
        for outputs, count, between in [(24, 3, 8), (48, 5, 8), (96, 11, 16), (192, 7, 32)]:
            stage = []
            for index in range(count):
                stride = 2 if index == 0 else 1
                stage.append(X3dBlock(inputs, outputs, stride, 0 if index % 2 else between))
                inputs = outputs
            blocks.append(Parts(res_blocks=nn.ModuleList(stage)))
        widen = nn.Conv3d(192, 432, 1, bias=False)
        lift = nn.Conv3d(432, 2048, 1, bias=False)
        pool = Parts(pre_conv=widen, pre_norm=nn.BatchNorm3d(432), post_conv=lift)
        blocks.append(Parts(pool=pool, proj=nn.Linear(2048, classes)))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        stem, *stages, head = self.blocks
        x = stem.norm(stem.conv.conv_xy(stem.conv.conv_t(x))).relu()
        for stage in stages:
            for block in stage.res_blocks:
                x = block(x)
        x = head.pool.pre_norm(head.pool.pre_conv(x)).relu()
        x = head.pool.post_conv(x.mean((2, 3, 4), keepdim=True)).relu()
        return head.proj(x.flatten(1))


# Lin et al. 2019, on torchvision's MobileNetV2.


class Tsm(nn.Module):
    def __init__(self, classes, width_mult):
        super().__init__()
        self.net = torchvision.models.mobilenet_v2(num_classes=classes, width_mult=width_mult)

    @staticmethod
    def shift(x):
        """[clips, frames, channels, height, width]"""
        eighth = x.shape[2] // 8
        moved = x.clone()
        moved[:, :, : 2 * eighth] = 0
        moved[:, :-1, :eighth] = x[:, 1:, :eighth]
        moved[:, 1:, eighth : 2 * eighth] = x[:, :-1, eighth : 2 * eighth]
        return moved

    def forward(self, x):
        clips, _, frames = x.shape[:3]
        x = x.transpose(1, 2).flatten(0, 1)
        for block in self.net.features:
            if getattr(block, "use_res_connect", False):
                moved = self.shift(x.unflatten(0, (clips, frames))).flatten(0, 1)
                x = x + block.conv(moved)
            else:
                x = block(x)
        logits = self.net.classifier(x.mean((2, 3)))
        return logits.unflatten(0, (clips, frames)).mean(1)

    def state_dict(self):
        return self.net.state_dict()


def torchvisions(convolutions, bottlenecks, counts, classes):
    """A VideoResNet of a depth that torchvision has no name for."""
    block = video.Bottleneck if bottlenecks else video.BasicBlock
    stem = video.R2Plus1dStem if convolutions[0] is video.Conv2Plus1D else video.BasicStem
    return video.VideoResNet(block, convolutions, counts, stem, num_classes=classes)


# How others have saved such networks.


def save_plain(state, path):
    torch.save(state, path.with_suffix(".pth"))


def save_legacy(state, path):
    torch.save(state, path.with_suffix(".pth"), _use_new_zipfile_serialization=False)


def wrapped(state):
    return collections.OrderedDict((f"module.{name}", tensor) for name, tensor in state.items())


def trained(state):
    """What a training program saves: weights of a DataParallel, the optimizer's state, and more."""
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return {"epoch": 7, "arch": "network", "state_dict": wrapped(state), "optimizer": optimizer}


def save_trained(state, path):
    save_plain(trained(state), path)


def save_trained_legacy(state, path):
    torch.save(trained(state), path.with_suffix(".pth.tar"), _use_new_zipfile_serialization=False)


def save_model_state(state, path):
    torch.save({"model_state": state}, path.with_suffix(".pyth"))


def save_safetensors(state, path):
    header, data = {}, b""
    for name, tensor in state.items():
        code, dtype = ("q", "I64") if tensor.dtype == torch.int64 else ("f", "F32")
        raw = array.array(code, tensor.flatten().tolist()).tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    with open(path.with_suffix(".safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


CLASSES = 5


def cases():
    """Name, settings of fedact, network, how it is saved, and frames, height and width of a clip."""
    simple, flat, factored = video.Conv3DSimple, video.Conv3DNoTemporal, video.Conv2Plus1D
    wide = {"width": 64}
    hara = {**wide, "stem": "hara"}
    size = (8, 48, 40)
    yield "r3d_18", {"arch": "r3d", **wide}, video.r3d_18(num_classes=CLASSES), save_plain, size
    yield "mc3_18", {"arch": "mc3", **wide}, video.mc3_18(num_classes=CLASSES), save_safetensors, size
    yield "r2plus1d_18", {"arch": "r2plus1d", **wide}, video.r2plus1d_18(num_classes=CLASSES), save_trained, size
    for arch, convolutions, save in [
        ("r3d", [simple] * 4, save_legacy),
        ("mc3", [simple] + [flat] * 3, save_plain),
        ("r2plus1d", [factored] * 4, save_plain),
    ]:
        for depth, counts in [(10, [1] * 4), (50, [3, 4, 6, 3])]:
            network = torchvisions(convolutions, depth == 50, counts, CLASSES)
            yield f"{arch}_{depth}", {"arch": arch, "depth": depth, **wide}, network, save, size
    for depth, shortcut in [(18, "A"), (34, "A"), (50, "B")]:
        kind = {"A": "pad", "B": "convolution"}[shortcut]
        settings = {"arch": "r3d", "depth": depth, **hara, "shortcut": kind}
        network = Hara(depth, 64, shortcut, CLASSES)
        yield f"hara_{depth}", settings, network, save_trained_legacy, (16, 48, 40)
    yield "x3d", {"arch": "x3d"}, X3d(CLASSES), save_model_state, (4, 64, 48)
    yield "tsm", {"arch": "tsm"}, Tsm(CLASSES, 1.0), save_plain, (4, 64, 48)
    yield "tsm_half", {"arch": "tsm", "width": 16}, Tsm(CLASSES, 0.5), save_trained, (3, 40, 64)


def shake(network):
    """Batch norms as unlike fresh ones as those of a trained network."""
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def numbers(tensor):
    return tensor.flatten().tolist()


def write_cases(folder):
    for name, settings, network, save, (frames, height, width) in cases():
        torch.manual_seed(len(name))
        shake(network)
        network.eval()
        clips = torch.randn(2, 3, frames, height, width)
        with torch.no_grad():
            logits = network(clips)
        place = folder / name
        place.mkdir()
        save(network.state_dict(), place / "weights")
        (place / "clips.f32").write_bytes(array.array("f", numbers(clips)).tobytes())
        parameters = sum(parameter.numel() for parameter in network.parameters())
        case = {
            "architecture": settings,
            "input": {"frames": frames, "height": height, "width": width},
            "parameters": parameters,
            "logits": numbers(logits),
        }
        (place / "case.json").write_text(json.dumps(case))


def write_fixtures(folder):
    torch.manual_seed(0)
    network = Hara(10, 1, "A", 3)
    shake(network)
    network.eval()
    clips = torch.arange(2 * 3 * 8 * 24 * 20, dtype=torch.float32).sin().reshape(2, 3, 8, 24, 20)
    with torch.no_grad():
        logits = network(clips)
    state = network.state_dict()
    torch.save(trained(state), folder / "zip.pth")
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    (folder / "logits.json").write_text(json.dumps(numbers(logits)) + "\n")


if __name__ == "__main__":
    write = {"cases": write_cases, "fixtures": write_fixtures}[sys.argv[1]]
    write(pathlib.Path(sys.argv[2]))
