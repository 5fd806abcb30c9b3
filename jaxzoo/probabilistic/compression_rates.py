"""What compressors make of test images, in bits per dimension: by likelihood, and in real files."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxzoo.probabilistic import bits_back, counted
from jaxzoo.probabilistic import probabilistic_circuits as pc
from jaxzoo.probabilistic.chow_liu import Tree, chow_liu_tree
from jaxzoo.probabilistic.file_compressors import compressed_bits, png_bits
from jaxzoo.probabilistic.hclt import HCLT, hclt_loglik

LN2 = np.log(2)
LOGLIKS = jax.jit(jax.vmap(hclt_loglik, (None, None, 0)))
WAYS = {
    "partial": jax.jit(jax.vmap(pc.conditionals, (None, 0))),
    "naive": jax.jit(jax.vmap(lambda circuit, x: pc.conditionals(circuit, x, naive=True), (None, 0))),
}


def circuit_rates(tree: Tree, params: HCLT, parts: dict, *, at_once: int = 200) -> dict:
    """-log2 p per dimension, the mean of each part; traceable.

    Args:
      tree, params: of the circuit.
      parts: images [n, d] by name.
      at_once: images that are evaluated together; all parts share one program.

    Returns:
      A scalar for each part.
    """
    images = jnp.concatenate(list(parts.values())).astype(jnp.int32)
    n, d = images.shape
    batches = jnp.pad(images, ((0, -n % at_once), (0, 0))).reshape(-1, at_once, d)
    logliks = jax.lax.map(lambda x: jax.vmap(hclt_loglik, (None, None, 0))(tree, params, x), batches).reshape(-1)
    ends = np.cumsum([len(x) for x in parts.values()])
    return {
        name: -logliks[end - len(x) : end].mean() / (d * LN2)
        for (name, x), end in zip(parts.items(), ends.tolist(), strict=True)
    }


def baseline_rates(train, valid, test, *, levels: int, shape: tuple[int, int]) -> dict[str, float]:
    """Without a circuit: compressors of files, PNG, independent pixels and a Chow-Liu tree without latents.

    Args:
      train, valid, test: [n, d] uint8.
      levels: k.
      shape: (height, width) of an image.
    """
    train, valid, test = map(np.asarray, (train, valid, test))
    found = compressed_bits(test) | {"png": png_bits(test.reshape(-1, *shape))}
    found["chow-liu"] = counted.chow_liu_bits(chow_liu_tree(train), train, valid, test, levels=levels)
    found["independent"] = counted.independent_bits(train, valid, test, levels=levels)
    return found


def coded_rates(tree: Tree, params: HCLT, test, *, lanes: int, singles: int) -> dict[str, float]:
    """Real files by a circuit: of all images in one, and of the first ones in a file each; all are decoded again.

    Args:
      tree, params: of the circuit.
      test: [n, d] uint8.
      lanes: of the file with all images.
      singles: number of files of single images.

    Returns:
      "coded" and "single" bits per dimension of files, "coded model" and "single model" of the likelihood of the same
      images; "exact", the share of files that were decoded without an error; "encoding seconds" and "decoding seconds"
      per image, in the file with all.
    """
    images, d = np.asarray(test, np.int64), test.shape[1]
    bits = -np.asarray(LOGLIKS(tree, params, images.astype(np.int32)), np.float64) / LN2
    together, alone = pc.coder(tree, params, images=len(images), lanes=lanes), pc.coder(tree, params, images=1)
    together.decode(together.encode(images))  # compiles
    begin = time.perf_counter()
    content = together.encode(images)
    middle = time.perf_counter()
    exact = [(together.decode(content) == images).all()]
    end = time.perf_counter()
    few = images[:singles, None]
    files = [alone.encode(image) for image in few]
    exact += [(alone.decode(file) == image).all() for file, image in zip(files, few, strict=True)]
    return {
        "coded": 8 * len(content) / images.size,
        "coded model": bits.mean() / d,
        "single": 8 * sum(map(len, files)) / few.size,
        "single model": bits[:singles].mean() / d,
        "exact": np.mean(exact),
        "encoding seconds": (middle - begin) / len(images),
        "decoding seconds": (end - middle) / len(images),
    }


def bits_back_rates(key, networks, params, valid, test, *, singles: int, bins=(4, 5, 6, 8)) -> dict[str, float]:
    """A variational autoencoder's rate by bits-back, and what it pays in files of single images.

    Args:
      key: of the draws of the bound.
      networks: `(model, encode, decode)`, as from `bits_back.vae`.
      params: of the model.
      valid, test: [n, d] uint8.
      singles: number of files.
      bins: choices for log2 of the number of bins of a latent; that with the smallest files of validation images is
        taken, for finer bins cost initial bits.

    Returns:
      Bits per dimension: "vae" by the bound on all test images; "vae file", "vae net" and "vae initial" of the first
      ones, as in `bits_back.single_files`.
    """
    model, encode, decode = networks
    pmf = jax.jit(jax.vmap(lambda z: jax.nn.softmax(decode(params, z))))

    def files(images, bits):
        images = np.asarray(images[:singles])
        mean, log_scale = jax.vmap(encode, (None, 0))(params, images.astype(np.float32))
        return bits_back.single_files(images, mean, log_scale, pmf, np.random.default_rng(0), bits=bits)

    bits, d = min(bins, key=lambda bits: files(valid, bits)["file"].mean()), test.shape[1]
    keys = jax.random.split(key, len(test))
    bound = lambda at: model.apply(params, at[0], key=at[1])  # noqa: E731
    nats = jax.jit(lambda at: jax.lax.map(bound, at, batch_size=200))((test, keys)).mean()
    return {"vae": nats / (d * LN2)} | {f"vae {name}": v.mean() / d for name, v in files(test, bits).items()}


def conditional_times(tree: Tree, params: HCLT, x, *, repeats: int = 5) -> dict[str, float]:
    """Times all conditionals of images by either way, in turns.

    Args:
      tree, params: of the circuit.
      x: [n, d] images, that many at once.
      repeats: of which the fastest counts.

    Returns:
      "seconds partial" and "seconds naive"; "difference", the largest between their conditionals; "edges ..." visited
      per pixel, as from `operations`; "pixels" d.
    """
    circuit, x = jax.jit(pc.prepare)(tree, params), jnp.asarray(x, jnp.int32)
    found = {name: way(circuit, x) for name, way in WAYS.items()}
    seconds = {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, way in WAYS.items():
            begin = time.perf_counter()
            jax.block_until_ready(way(circuit, x))
            seconds[name].append(time.perf_counter() - begin)
    out = {f"seconds {name}": min(times) for name, times in seconds.items()}
    out |= {f"edges {name}": count for name, count in pc.operations(tree).items()}
    return out | {"difference": jnp.abs(found["partial"] - found["naive"]).max(), "pixels": x.shape[1]}
