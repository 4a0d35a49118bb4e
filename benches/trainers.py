"""A step of training in PyTorch, in a process of its own: `trainers.py MODE FRAMES SIDE BATCH THREADS STEPS`.

Prints one line of JSON: the milliseconds of each step after two that do not count, those that
processors worked for a step, and the most memory in KiB.
"""

import json
import sys
import time

MODES = ("float32", "float32-last", "autocast", "autocast-last", "cast-last")


def main():
    mode, *numbers = sys.argv[1:]
    frames, side, batch, threads, steps = map(int, numbers)
    import torch
    import torchvision

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = torchvision.models.video.r3d_18(num_classes=12)
    clips = torch.randn(batch, 3, frames, side, side)
    labels = torch.randint(0, 12, (batch,))
    if mode.endswith("-last"):
        network, clips = (one.to(memory_format=torch.channels_last_3d) for one in (network, clips))
    if mode.startswith("cast"):
        network, clips = network.bfloat16(), clips.bfloat16()
    numbers = torch.autocast("cpu", torch.bfloat16, enabled=mode.startswith("autocast"))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    objective = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    milliseconds = []
    for step in range(steps + 2):
        if step == 2:
            worked = time.process_time()
        began = time.perf_counter()
        optimizer.zero_grad()
        with numbers:
            logits = network(clips)
        objective(logits.float(), labels).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if step >= 2:
            milliseconds.append(1000 * (time.perf_counter() - began))
    worked = 1000 * (time.process_time() - worked) / steps
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({"milliseconds": milliseconds, "processor": worked, "peak_kib": peak}))


if __name__ == "__main__":
    main()
