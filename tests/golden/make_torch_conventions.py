"""Makes torch_conventions.npz and .json: what PyTorch computes where JAX libraries may have other defaults.

    pip install torch==2.13.0 numpy
    python tests/golden/make_torch_conventions.py

Each entry is an array with the function that made it; `tests/test_torch_conventions.py` compares. Inputs are named x...
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

SEED = 0
STEPS = 50
RATE = 0.05

OPTIMIZERS = {
    "sgd_momentum": lambda p: torch.optim.SGD(p, RATE, momentum=0.9),
    "sgd_nesterov": lambda p: torch.optim.SGD(p, RATE, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, RATE),
    "adamw": lambda p: torch.optim.AdamW(p, RATE),
    "adamax": lambda p: torch.optim.Adamax(p, RATE),
    "nadam": lambda p: torch.optim.NAdam(p, RATE),
    "radam": lambda p: torch.optim.RAdam(p, RATE),
    "adadelta": lambda p: torch.optim.Adadelta(p, RATE),
    "adagrad": lambda p: torch.optim.Adagrad(p, RATE),
    "rmsprop": lambda p: torch.optim.RMSprop(p, RATE),
    "rprop": lambda p: torch.optim.Rprop(p, RATE),
}


def descend(make, start, curvature, centre):
    """STEPS steps on sum(curvature (p - centre)^2 / 2 + p^4 / 10), in float64."""
    p = torch.nn.Parameter(torch.tensor(start))
    optimizer = make([p])
    for _ in range(STEPS):
        p.grad = torch.tensor(curvature) * (p.detach() - torch.tensor(centre)) + 0.4 * p.detach() ** 3
        optimizer.step()
    return p.detach()


def batch_norm(x):
    """Running statistics after three batches."""
    module = torch.nn.BatchNorm1d(x.shape[-1])
    for batch in x:
        module(batch)
    return torch.stack([module.running_mean, module.running_var])


def max_pool_gradient(x):
    x = x.clone().requires_grad_()
    F.max_pool2d(x, 2).sum().backward()
    return x.grad


def linear_init():
    """Standard deviation and largest size of the weights of nn.Linear(400, 300)."""
    weight = torch.nn.Linear(400, 300).weight.detach()
    return torch.stack([weight.std(), weight.abs().max()])


def functions(x, image, kernel, batches, tied, q, k, v):
    """Name: (the call as it would be written, its result). Images are [c, h, w] here and [h, w, c] in the file."""
    last = lambda y: y.movedim(-3, -1)  # noqa: E731
    return {
        "layer_norm": ("F.layer_norm(1e-3 * x, [5])", F.layer_norm(1e-3 * x, [5])),
        "rms_norm": ("F.rms_norm(1e-3 * x, [5])", F.rms_norm(1e-3 * x, [5])),
        "group_norm": ("F.group_norm(1e-2 * x_image, 2)", last(F.group_norm(1e-2 * image[None], 2)[0])),
        "batch_norm": ("BatchNorm1d: running_mean, running_var after x_batches", batch_norm(batches)),
        "gelu": ("F.gelu(x)", F.gelu(x)),
        "leaky_relu": ("F.leaky_relu(x)", F.leaky_relu(x)),
        "std": ("x.std()", x.std()),
        "median": ("x_image[0].median()", image[0].median()),
        "cosine_similarity": (
            "F.cosine_similarity(x, x.roll(1, 0) with its first row 0)",
            F.cosine_similarity(x, x.roll(1, 0) * (torch.arange(len(x)) > 0)[:, None]),
        ),
        "conv_stride_2": (
            "F.conv2d(x_image, x_kernel, stride=2, padding=1)",
            last(F.conv2d(image[None], kernel, stride=2, padding=1)[0]),
        ),
        "avg_pool_padded": (
            "F.avg_pool2d(x_image, 3, stride=2, padding=1)",
            last(F.avg_pool2d(image[None], 3, stride=2, padding=1)[0]),
        ),
        "max_pool_ties": ("gradient of F.max_pool2d(x_tied, 2).sum()", last(max_pool_gradient(tied))),
        "bilinear_down": (
            'F.interpolate(x_image, (3, 3), mode="bilinear")',
            last(F.interpolate(image[None], (3, 3), mode="bilinear")[0]),
        ),
        "bicubic_up": (
            'F.interpolate(x_image, (16, 16), mode="bicubic")',
            last(F.interpolate(image[None], (16, 16), mode="bicubic")[0]),
        ),
        "causal_attention": (
            "F.scaled_dot_product_attention(x_q, x_k, x_v, is_causal=True)",
            F.scaled_dot_product_attention(q, k, v, is_causal=True),
        ),
        "linear_init": ("nn.Linear(400, 300).weight: standard deviation, largest size", linear_init()),
    }


def main():
    rng = np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    start, centre, curvature = rng.normal(size=6), rng.normal(size=6), rng.uniform(0.1, 3.0, 6)
    x = rng.normal(size=(4, 5)).astype(np.float32)
    image = rng.normal(size=(4, 8, 8)).astype(np.float32)  # [c, h, w]
    kernel = rng.normal(size=(3, 4, 3, 3)).astype(np.float32)  # [o, c, kh, kw]
    batches = rng.normal(2.0, 3.0, size=(3, 6, 4)).astype(np.float32)
    tied = rng.integers(0, 2, size=(2, 4, 4)).astype(np.float32)
    q, k, v = (rng.normal(size=(1, t, 4)).astype(np.float32) for t in (2, 5, 5))  # [h, t, d]

    arrays = {"x": x, "x_batches": batches, "x_start": start, "x_centre": centre, "x_curvature": curvature}
    arrays |= {"x_image": np.moveaxis(image, 0, -1), "x_kernel": kernel.transpose(2, 3, 1, 0)}
    arrays |= {"x_tied": np.moveaxis(tied, 0, -1), "x_q": q, "x_k": k, "x_v": v}
    made_by = dict.fromkeys(arrays, f"numpy.random.default_rng({SEED})")
    results = functions(*map(torch.tensor, (x, image, kernel, batches, tied, q, k, v)))
    for name, (call, result) in results.items():
        arrays[name], made_by[name] = result.numpy(), call
    for name, make in OPTIMIZERS.items():
        optimizer = type(make([torch.nn.Parameter(torch.zeros(1))])).__name__
        arrays[name] = descend(make, start, curvature, centre).numpy()
        made_by[name] = f"torch.optim.{optimizer}, defaults but lr={RATE}, {STEPS} steps"

    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    here = Path(__file__).parent
    np.savez(here / "torch_conventions.npz", **arrays)
    about = {
        "package": "torch",
        "version": torch.__version__.split("+")[0],
        "seed": SEED,
        "arrays": {
            name: {"function": made_by[name], "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
            for name, array in arrays.items()
        },
    }
    (here / "torch_conventions.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
