"""PointNet: what a point cloud has to say of each of its points, whatever their order."""

import flax.linen as nn
import jax.numpy as jnp

from jaxzoo.geometry.uniform_init import uniform_init
from jaxzoo.layers import MLP
from jaxzoo.model import Model
from jaxzoo.ops import normalize
from jaxzoo.transforms import as_model


class PointNet(nn.Module):
    """A perceptron of each point, a maximum over points, and a head that sees both: [n, 3] -> [n, outputs].

    Attributes:
      narrow, wide: widths of local and of global features.
      outputs: numbers for each point.

    Source: Qi et al., "PointNet" (arXiv 1612.00593), the segmentation network without its learned alignments.
    """

    narrow: int = 24
    wide: int = 48
    outputs: int = 3

    @nn.compact
    def __call__(self, x):
        local = nn.relu(MLP((self.narrow, self.narrow), nn.relu, name="local")(x))
        whole = nn.relu(nn.Dense(self.wide, name="wide")(local)).max(0, keepdims=True)  # [1, wide]
        # The head's first layer on [local, whole] in two parts, so that the second is computed once a cloud.
        joint = nn.Dense(self.wide, name="of_local")(local)
        joint = nn.relu(joint + nn.Dense(self.wide, use_bias=False, name="of_whole")(whole))
        return MLP((self.narrow, self.outputs), nn.relu, name="head")(joint)


def normals_of(network):
    """A linen module [n, 3] -> [n, 3] as a `Model` of unit vectors, without any symmetry."""
    model = uniform_init(as_model(network))
    return Model(model.init, lambda params, x, *, key=None: normalize(model.apply(params, x)))


def unoriented_error(normals, exact):
    """Mean over points of 1 - (n . n*)^2, the squared sine of the angle between lines: [n, 3], [n, 3] -> []."""
    return (1 - jnp.square((normals * exact).sum(-1))).mean()
