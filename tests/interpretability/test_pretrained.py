"""GPT-2 and GPT-NeoX against the same networks in plain NumPy, on files of the true layout with random weights."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.special import erf

from jaxzoo.data import DataError
from jaxzoo.experiment.discover import experiments_folder, load
from jaxzoo.experiment.runner import Runner
from jaxzoo.interpretability.gpt2 import GPT2
from jaxzoo.interpretability.gpt_neox import GPTNeoX
from jaxzoo.interpretability.harvest import dictionary_rows, harvest, harvest_sample
from jaxzoo.interpretability.pretrained import fold_norms, load_host, load_text_host
from jaxzoo.interpretability.transcoders import mlp_names, substitute
from jaxzoo.train import fit
from jaxzoo.transforms import as_model, capture

V, D, L, H, T, CONTEXT = 19, 16, 2, 2, 7, 9
K = D // H
GPT2_SIZES = {"model_type": "gpt2", "vocab_size": V, "n_embd": D, "n_layer": L, "n_head": H, "n_positions": CONTEXT,
              "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "n_inner": None}  # fmt: skip
NEOX_SIZES = {"model_type": "gpt_neox", "vocab_size": V, "hidden_size": D, "num_hidden_layers": L,
              "num_attention_heads": H, "max_position_embeddings": CONTEXT, "intermediate_size": 4 * D,
              "hidden_act": "gelu", "rotary_pct": 0.25, "rotary_emb_base": 10000}  # fmt: skip
TOKENS = np.array([3, 1, 4, 1, 5, 9, 2])


def gpt2_shapes():
    shapes = {"wte.weight": (V, D), "wpe.weight": (CONTEXT, D), "ln_f.weight": (D,), "ln_f.bias": (D,)}
    for i in range(L):
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{norm}.weight": (D,), f"h.{i}.{norm}.bias": (D,)}
        maps = {"attn.c_attn": (D, 3 * D), "attn.c_proj": (D, D), "mlp.c_fc": (D, 4 * D), "mlp.c_proj": (4 * D, D)}
        for name, shape in maps.items():  # Conv1D: inputs first
            shapes |= {f"h.{i}.{name}.weight": shape, f"h.{i}.{name}.bias": shape[1:]}
    return shapes


def neox_shapes():
    shapes = {"gpt_neox.embed_in.weight": (V, D), "embed_out.weight": (V, D)}
    shapes |= {f"gpt_neox.final_layer_norm.{part}": (D,) for part in ("weight", "bias")}
    for i in range(L):
        layer = f"gpt_neox.layers.{i}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes |= {f"{layer}.{norm}.weight": (D,), f"{layer}.{norm}.bias": (D,)}
        maps = {"attention.query_key_value": (3 * D, D), "attention.dense": (D, D)}
        maps |= {"mlp.dense_h_to_4h": (4 * D, D), "mlp.dense_4h_to_h": (D, 4 * D)}
        for name, shape in maps.items():  # Linear: outputs first
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
    return shapes


def drawn(shapes):
    rng = np.random.default_rng(0)
    return {name: (0.4 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def norm(x, w, name):
    x = x - x.mean(1, keepdims=True)
    return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def softmax_attention(q, k, v):
    """One head, [t, k] each, place by place."""
    rows = []
    for t in range(len(q)):
        p = np.exp(k[: t + 1] @ q[t] / np.sqrt(q.shape[1]))
        rows.append(p / p.sum() @ v[: t + 1])
    return np.stack(rows)


def numpy_gpt2(w, tokens):
    """Logits, and the MLPs' inputs and outputs."""
    linear = lambda x, name: x @ w[f"{name}.weight"] + w[f"{name}.bias"]  # noqa: E731
    x, seen = w["wte.weight"][tokens] + w["wpe.weight"][: len(tokens)], []
    for i in range(L):
        qkv = linear(norm(x, w, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn")
        q, k, v = qkv[:, :D], qkv[:, D : 2 * D], qkv[:, 2 * D :]
        heads = [softmax_attention(q[:, at], k[:, at], v[:, at]) for at in (slice(K * h, K * h + K) for h in range(H))]
        x = x + linear(np.concatenate(heads, 1), f"h.{i}.attn.c_proj")
        a = norm(x, w, f"h.{i}.ln_2")
        hidden = linear(a, f"h.{i}.mlp.c_fc")
        hidden = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        m = linear(hidden, f"h.{i}.mlp.c_proj")
        seen.append((a, m))
        x = x + m
    return norm(x, w, "ln_f") @ w["wte.weight"].T, seen


def numpy_neox(w, tokens):
    linear = lambda x, name: x @ w[f"{name}.weight"].T + w[f"{name}.bias"]  # noqa: E731
    turned = K // 4

    def turn(x):
        """Of one head: the pairs (i, i + turned / 2) among the first features, as complex numbers."""
        half = turned // 2
        frequency = 10000.0 ** (-2 * np.arange(half) / turned)
        z = (x[:, :half] + 1j * x[:, half:turned]) * np.exp(1j * np.arange(len(x))[:, None] * frequency)
        return np.concatenate([z.real, z.imag, x[:, turned:]], 1)

    x, seen = w["gpt_neox.embed_in.weight"][tokens], []
    for i in range(L):
        layer = f"gpt_neox.layers.{i}"
        qkv = linear(norm(x, w, f"{layer}.input_layernorm"), f"{layer}.attention.query_key_value")
        heads = []
        for h in range(H):
            q, k, v = np.split(qkv[:, 3 * K * h : 3 * K * (h + 1)], 3, 1)
            heads.append(softmax_attention(turn(q), turn(k), v))
        a = norm(x, w, f"{layer}.post_attention_layernorm")
        hidden = linear(a, f"{layer}.mlp.dense_h_to_4h")
        m = linear(hidden * (1 + erf(hidden / np.sqrt(2))) / 2, f"{layer}.mlp.dense_4h_to_h")
        seen.append((a, m))
        x = x + linear(np.concatenate(heads, 1), f"{layer}.attention.dense") + m
    return norm(x, w, "gpt_neox.final_layer_norm") @ w["embed_out.weight"].T, seen


NETS = {"gpt2": (GPT2_SIZES, gpt2_shapes, numpy_gpt2), "pythia": (NEOX_SIZES, neox_shapes, numpy_neox)}


def write(folder, name, arrays, sizes=None):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "config.json").write_text(json.dumps(sizes or NETS[name][0]))
    save_file(arrays, folder / name / "model.safetensors")


@pytest.fixture(scope="module", params=NETS)
def net(request, tmp_path_factory):
    """A network from its file, and what the same network in NumPy gives in float64."""
    folder, (_, shapes, oracle) = tmp_path_factory.mktemp("data"), NETS[request.param]
    arrays = drawn(shapes())
    write(folder, request.param, arrays)
    module, params = load_host(folder, request.param)
    logits, seen = oracle({name: array.astype(np.float64) for name, array in arrays.items()}, TOKENS)
    return module, params, logits, seen


def test_logits_and_what_the_mlps_read_and_write(net):
    module, params, logits, seen = net
    names = [name for layer in range(L) for name in mlp_names(layer)]
    found, taps = jax.jit(capture(module, *names))(params, TOKENS)
    np.testing.assert_allclose(found, logits, atol=2e-4 * np.abs(logits).max())
    for name, expected in zip(names, sum(seen, ()), strict=True):
        np.testing.assert_allclose(taps[name], expected, atol=2e-4 * np.abs(expected).max())


def test_the_file_has_every_parameter_of_the_module(net):
    module, params, _, _ = net
    fresh = jax.eval_shape(as_model(module).init, jax.random.key(0), TOKENS)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), params) == jax.tree.map(lambda x: (x.shape, x.dtype), fresh)


def test_an_mlp_takes_patches(net):
    module, params, _, seen = net
    apply = jax.jit(as_model(module).apply)
    exact = jax.jit(substitute(module, 1, lambda x, m: jnp.asarray(seen[1][1], jnp.float32)))
    np.testing.assert_allclose(exact(params, TOKENS), apply(params, TOKENS), atol=1e-3)
    silent = jax.jit(substitute(module, 1, lambda x, m: jnp.zeros_like(m)))(params, TOKENS)
    last = params["block_1"]["mlp"]
    without = params["block_1"] | {"mlp": last | {"dense_1": jax.tree.map(jnp.zeros_like, last["dense_1"])}}
    np.testing.assert_allclose(silent, apply(params | {"block_1": without}, TOKENS), rtol=1e-5, atol=1e-5)


def test_folded_norms_change_nothing_but_themselves(net):
    module, params, logits, _ = net
    folded_module, folded = fold_norms(module, params)
    found, seen = jax.jit(capture(folded_module, "embed", "block_0/mixer", "block_1/mlp", "block_1/norm_mlp"))(
        folded, TOKENS
    )
    np.testing.assert_allclose(found, logits, atol=2e-4 * np.abs(logits).max())
    for name in ("embed", "block_0/mixer", "block_1/mlp"):
        np.testing.assert_allclose(seen[name].mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(jnp.square(seen["block_1/norm_mlp"]).mean(-1), 1, atol=1e-3)
    fresh = jax.eval_shape(as_model(folded_module).init, jax.random.key(0), TOKENS)
    assert jax.tree.map(jnp.shape, folded) == jax.tree.map(lambda x: x.shape, fresh)


def test_batches_and_gradients(net):
    module, params, _, _ = net
    tokens = jnp.stack([TOKENS, TOKENS[::-1]])
    batch = jax.vmap(as_model(module).apply, (None, 0))
    both, gradient = jax.jit(lambda p: (batch(p, tokens), jax.grad(lambda p: batch(p, tokens)[1].sum())(p)))(params)
    np.testing.assert_allclose(both[1], jax.jit(as_model(module).apply)(params, tokens[1]), rtol=1e-4, atol=1e-4)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_names_with_a_prefix_and_old_buffers_are_known(tmp_path):
    arrays = drawn(gpt2_shapes())
    write(tmp_path, "gpt2", arrays)
    _, plain = load_host(tmp_path, "gpt2")
    mask = {f"h.{i}.attn.bias": np.ones((1, 1, CONTEXT, CONTEXT), np.float32) for i in range(L)}
    prefixed = {f"transformer.{name}": array for name, array in (arrays | mask).items()}
    write(tmp_path, "gpt2", prefixed | {"lm_head.weight": arrays["wte.weight"]})
    jax.tree.map(np.testing.assert_array_equal, load_host(tmp_path, "gpt2")[1], plain)
    write(tmp_path, "gpt2", arrays | {"lm_head.weight": arrays["wte.weight"] + 1})
    with pytest.raises(DataError, match=r"gpt2: weights: 'lm_head.weight' differs"):
        load_host(tmp_path, "gpt2")
    frequencies = {"gpt_neox.layers.0.attention.rotary_emb.inv_freq": np.ones(1, np.float32)}
    write(tmp_path, "pythia", {name: x.astype(np.float16) for name, x in drawn(neox_shapes()).items()} | frequencies)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(load_host(tmp_path, "pythia")[1]))


@pytest.mark.parametrize("name", NETS)
def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, name):
    arrays = drawn(NETS[name][1]())
    for array in arrays:
        if "0" not in array:  # the second layer, and what is no layer
            write(tmp_path, name, {other: x for other, x in arrays.items() if other != array})
            with pytest.raises(DataError, match=f"expected an array '{array}' of shape .* got none of that name"):
                load_host(tmp_path, name)
    last = list(arrays)[-2]
    write(tmp_path, name, arrays | {last: arrays[last].T.copy()})
    with pytest.raises(DataError, match=rf"'{last}': expected shape \(\d+, \d+\), got \(\d+, \d+\)"):
        load_host(tmp_path, name)
    write(tmp_path, name, arrays | {last.replace("1", "2", 1): arrays[last]})
    with pytest.raises(DataError, match="has no place in a network of these sizes"):
        load_host(tmp_path, name)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gpt2", {"model_type": "llama"}, "'model_type': expected one of gpt2, gpt_neox, got 'llama'"),
        ("gpt2", {"n_head": None}, "'n_head': expected a positive integer, got None"),
        ("gpt2", {"activation_function": "relu"}, "'activation_function': expected 'gelu_new', got 'relu'"),
        ("pythia", {"use_parallel_residual": False}, "'use_parallel_residual': expected True, got False"),
        ("pythia", {"intermediate_size": 24}, "'intermediate_size': expected 64, got 24"),
        ("pythia", {"rope_parameters": {"rope_theta": 5e5}}, "'rotary_emb_base': expected 10000, got 500000.0"),
    ],
)
def test_another_network_is_refused(tmp_path, name, change, message):
    write(tmp_path, name, drawn(NETS[name][1]()), NETS[name][0] | change)
    with pytest.raises(DataError, match=message):
        load_host(tmp_path, name)


def test_published_sizes_and_long_texts():
    assert (GPTNeoX().turned, GPTNeoX(features=2048).turned, GPT2().turned) == (16, 32, 0)
    count = lambda module: sum(  # noqa: E731
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(as_model(module).init, jax.random.key(0), TOKENS))
    )
    assert (count(GPT2()), count(GPTNeoX()), count(GPTNeoX(features=2048))) == (124439808, 405334016, 1414647808)
    for module in (GPT2(V, D, 1, H, 4), GPTNeoX(V, D, 1, H, 4)):
        with pytest.raises(ValueError, match="tokens: expected at most 4, got 5"):
            as_model(module).init(jax.random.key(0), jnp.zeros(5, jnp.int32))


@pytest.fixture
def texts(tmp_path):
    """A GPT-2 and its text."""
    write(tmp_path, "gpt2", drawn(gpt2_shapes()))
    for name, count in (("train", 400), ("val", 100)):
        np.random.default_rng(1).integers(0, V, count).astype(np.uint16).tofile(tmp_path / "gpt2" / f"{name}.bin")
    return tmp_path


def test_a_network_comes_with_its_text(texts):
    like = GPT2(V, D, L, H)
    module, params, train, held_out = load_text_host(texts, "gpt2", like, 300)
    assert (train.shape, held_out.shape, module.tied) == ((300,), (100,), False)
    np.testing.assert_array_equal(params["block_0"]["norm_mlp"]["scale"], 1)
    for size in ({"heads": 4}, {"features": 8}, {"layers": 3}, {"vocabulary": 5}):
        with pytest.raises(ValueError, match=rf"{next(iter(size))}: expected \d+ of a GPT2, as gpt2/config.json says"):
            load_text_host(texts, "gpt2", like.clone(**size), 300)
    (texts / "gpt2" / "val.bin").unlink()
    with pytest.raises(DataError, match=r"missing file: gpt2/val.bin or gpt2/val.npy"):
        load_text_host(texts, "gpt2", like, 300)
    np.full(50, V, np.uint16).tofile(texts / "gpt2" / "train.bin")
    with pytest.raises(DataError, match=rf"train.bin: expected token ids of 0 to {V - 1}, got {V}"):
        load_text_host(texts, "gpt2", like, 300)


def test_activations_are_those_of_the_rows(net):
    module, params, _, _ = net
    rows = dictionary_rows(L, 1, 2, 0)
    assert rows == (*[("transcoder", 1, i) for i in (0, 1)], *[("autoencoder", 1, i) for i in (0, 1)],
                    ("transcoder", 0, 0))  # fmt: skip
    text = jnp.asarray(TOKENS)  # one stretch fits, so that it is what is drawn
    x, m = jax.jit(lambda params: harvest(module, text, 2, T - 1, rows, jax.random.key(0), params))(params)
    _, seen = jax.jit(capture(module, *mlp_names(0), *mlp_names(1)))(params, text[:-1])
    names = [*[mlp_names(1)[0]] * 2, *[mlp_names(1)[1]] * 2, mlp_names(0)[0]]
    for row, (name, target) in enumerate(zip(names, [mlp_names(1)[1]] * 4 + [mlp_names(0)[1]], strict=True)):
        for found, part in ((x, name), (m, target)):
            np.testing.assert_allclose(found[row], jnp.tile(seen[part], (2, 1)), rtol=1e-4, atol=1e-4)
    many = jax.jit(lambda params: harvest_sample(module, text, 2, T - 1, 1, 30, jax.random.key(0), params))(params)
    assert many[0].shape == many[1].shape == (36, D)
    np.testing.assert_allclose(many[1][24:], m[0], rtol=1e-4, atol=1e-4)


def test_the_paper_preset_reads_the_files_and_trains(texts):
    experiment = load(experiments_folder() / "interpretability" / "transcoders.py")
    tiny = {"vocabulary": V, "features": D, "layers": L, "layer": 1, "heads": H, "length": 8, "width": 24, "steps": 2}
    config = dataclasses.replace(experiment.PRESETS["paper"], **tiny, batch=2, seeds=1, warm_up=1, dead_after=1)
    module, host, train, _, codes = experiment.host_and_text(config, Runner(1, jax.random.key(0), data_dir=texts))
    assert len(codes) == V
    task = experiment.text_task(config, module, train, experiment.rows_of(config))
    trained = fit(task, jax.random.key(1), 2, jax.tree.map(lambda x: x[0], host))
    assert trained.state.params.W_enc.shape == (9, D, 24)
    assert np.isfinite(trained.history["loss"]).all()
    with pytest.raises(DataError, match=r"missing file: gpt2/vocab.json"):
        experiment.run(config, Runner(1, jax.random.key(0), data_dir=texts))
