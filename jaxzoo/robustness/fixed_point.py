"""Training in integers: a multilayer perceptron whose every number is a multiple of 2^-R, exact and the same anywhere.

    Z_l = A_{l-1} W_l,   A_l = relu(rescale Z_l) for l < L                                      (forward)
    G_Z^L = rescale(Z_L) - Y,   G_A^l = G_Z^{l+1} W_{l+1}',   G_Z^l = [rescale Z_l >= 0] rescale(G_A^l)
    G_W^l = A_{l-1}' G_Z^l,   W_l <- W_l - rescale_k(G_W^l),   k = R + log2(batch) + log2(1 / rate)

It is SGD on half the squared error, averaged over the batch. Integers are NumPy or JAX arrays, int64 where the products
need it; nothing here checks for overflow but `zkdl.witness`, which a proof goes through.
"""


def quantise(x, bits: int):
    """x 2^bits, rounded to the nearest integer, ties to even.

    Args:
      x: [...] real, NumPy or JAX.
      bits: R.

    Returns:
      [...] int64; int32 from JAX arrays without 64 bits.
    """
    return (x * 2**bits).round().astype(int)


def rescale(v, bits: int):
    """v / 2^bits rounded to the nearest integer, ties up: v = 2^bits v' + rem, rem in [-2^(bits-1), 2^(bits-1)).

    Args:
      v: [...] signed integers.
      bits: at least 1; may be traced.

    Returns:
      [...] of v's dtype.
    """
    return (v + (1 << (bits - 1))) >> bits  # an arithmetic shift rounds down


def forward(weights, x, bits: int):
    """The layers' inputs and products.

    Args:
      weights: W_1 .. W_L, [n_{l-1}, n_l] integers.
      x: [b, n_0] integers, A_0.
      bits: R.

    Returns:
      `(inputs, products)`: A_0 .. A_{L-1} [b, n_{l-1}], and Z_1 .. Z_L [b, n_l].
    """
    inputs, products = [x], []
    for w in weights:
        products.append(inputs[-1] @ w)
        inputs.append(rescale(products[-1], bits).clip(0))
    return inputs[:-1], products


def backward(weights, products, y, bits: int):
    """The gradients of half the squared error.

    Args:
      weights: as in `forward`.
      products: Z_1 .. Z_L.
      y: [b, n_L] integers.
      bits: R.

    Returns:
      `(raw, grads)`: G_A^1 .. G_A^{L-1} before rescaling, and G_Z^1 .. G_Z^L.
    """
    grads, raw = [rescale(products[-1], bits) - y], []
    for w, z in zip(weights[:0:-1], products[-2::-1], strict=True):
        raw.append(grads[-1] @ w.T)
        # The sign is that of the rescaled product: the two differ for Z in (-2^(R-1), 0).
        grads.append(rescale(raw[-1], bits) * (rescale(z, bits) >= 0))
    return raw[::-1], grads[::-1]


def weight_grads(inputs, grads):
    """G_W^l = A_{l-1}' G_Z^l, summed over the batch, for every layer."""
    return [a.T @ g for a, g in zip(inputs, grads, strict=True)]


def train_step_int(weights, x, y, *, bits: int, shift):
    """One step of SGD in integers.

    Args:
      weights: W_1 .. W_L, [n_{l-1}, n_l] integers, 2^-R being 1.
      x: [b, n_0] integers, likewise.
      y: [b, n_L] integers, likewise.
      bits: R.
      shift: k = R + log2(b) + log2(1 / learning rate); may be traced.

    Returns:
      The new weights, and the step's tensors `(inputs, products, raw, grads, weight_grads)`, each a list over layers.
    """
    inputs, products = forward(weights, x, bits)
    raw, grads = backward(weights, products, y, bits)
    steps = weight_grads(inputs, grads)
    return [w - rescale(g, shift) for w, g in zip(weights, steps, strict=True)], (inputs, products, raw, grads, steps)
