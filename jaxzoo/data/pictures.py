"""Real pictures: files of scikit-learn and scikit-image, read without importing either."""

import io
from typing import NamedTuple

import numpy as np

from jaxzoo import extras
from jaxzoo.data.dataset import Dataset, read_checked

CC0 = "CC0"
FREE = "no known copyright restrictions"
PUBLIC = "public domain"
UNSTATED = "no licence stated; distributed by scikit-image, BSD-3-Clause"


class _File(NamedTuple):
    path: str  # package/path
    sha256: str
    mode: str  # of Pillow: RGB, L is grey, 1 is black and white
    licence: str
    source: str


PICTURES = {
    "astronaut": _File(
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "RGB",
        FREE,
        "NASA: Eileen Collins (1992)",
    ),
    "brick": _File(
        "skimage/data/brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "L",
        CC0,
        "CC0 Textures: Bricks25",
    ),
    "camera": _File(
        "skimage/data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        "L",
        CC0,
        "Lav Varshney",
    ),
    "cat": _File(
        "skimage/data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "RGB",
        CC0,
        "Stefan van der Walt: Chelsea",
    ),
    "cell": _File(
        "skimage/data/cell.png",
        "8d23a7fb81f7cc877cd09f330357fc7f595651306e84e17252f6e0a1b3f61515",
        "L",
        CC0,
        "Müller et al., Optics Express 26 (2018)",
    ),
    "checkerboard": _File(
        "skimage/data/chessboard_GRAY.png",
        "3e51870774515af4d07d820bd8827364c70839bf9b573c746e485095e893df90",
        "L",
        UNSTATED,
        "scikit-image",
    ),
    "china": _File(
        "sklearn/datasets/images/china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "RGB",
        "CC BY 2.0, danielbuechele",
        "https://www.flickr.com/photos/danielbuechele/6061409035",
    ),
    "clock": _File(
        "skimage/data/clock_motion.png",
        "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
        "L",
        PUBLIC,
        "Stefan van der Walt",
    ),
    "coffee": _File(
        "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "RGB",
        CC0,
        "Rachel Michetti",
    ),
    "coins": _File(
        "skimage/data/coins.png",
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        "L",
        FREE,
        "Brooklyn Museum Collection: Greek coins from Pompeii",
    ),
    "colorwheel": _File(
        "skimage/data/color.png",
        "7d2df993de2b4fa2a78e04e5df8050f49a9c511aa75e59ab3bd56ac9c98aef7e",
        "RGB",
        UNSTATED,
        "scikit-image",
    ),
    "flower": _File(
        "sklearn/datasets/images/flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        "RGB",
        "CC BY 2.0, vultilion",
        "https://www.flickr.com/photos/vultilion/6056698931",
    ),
    "grass": _File(
        "skimage/data/grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        "L",
        CC0,
        "DeviantArt, linolafett: Grass 01",
    ),
    "gravel": _File(
        "skimage/data/gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        "L",
        CC0,
        "CC0 Textures: Gravel04",
    ),
    "horse": _File(
        "skimage/data/horse.png",
        "c7fb60789fe394c485f842291ea3b21e50d140f39d6dcb5fb9917cc178225455",
        "1",
        CC0,
        "Andreas Preuss",
    ),
    "hubble_deep_field": _File(
        "skimage/data/hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        "RGB",
        PUBLIC,
        "NASA: Hubble eXtreme Deep Field (2012)",
    ),
    "immunohistochemistry": _File(
        "skimage/data/ihc.png",
        "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
        "RGB",
        FREE,
        "Center for Microscopy And Molecular Imaging: colonic glands",
    ),
    "microaneurysms": _File(
        "skimage/data/microaneurysms.png",
        "a1e1be59aa447f8ce082f7fa809997ab369a2b137cb6c4202abc647c7ccf6456",
        "L",
        CC0,
        "Budai et al., High-Resolution Fundus image database (2013)",
    ),
    "moon": _File(
        "skimage/data/moon.png",
        "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
        "L",
        UNSTATED,
        "scikit-image",
    ),
    "motorcycle_left": _File(
        "skimage/data/motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "RGB",
        UNSTATED,
        "Scharstein et al.: Middlebury stereo benchmark (2014)",
    ),
    "motorcycle_right": _File(
        "skimage/data/motorcycle_right.png",
        "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
        "RGB",
        UNSTATED,
        "Scharstein et al.: Middlebury stereo benchmark (2014)",
    ),
    "page": _File(
        "skimage/data/page.png",
        "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
        "L",
        UNSTATED,
        "scikit-image",
    ),
    "retina": _File(
        "skimage/data/retina.jpg",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        "RGB",
        CC0,
        "Häggström, WikiJournal of Medicine 1 (2014)",
    ),
    "rocket": _File(
        "skimage/data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "RGB",
        PUBLIC,
        "SpaceX",
    ),
    "shepp_logan_phantom": _File(
        "skimage/data/phantom.png",
        "552ff698167aa402cceb17981130607a228a0a0aa7c519299eaa4d5f301ba36c",
        "L",
        UNSTATED,
        "Shepp, Logan, IEEE Transactions on Nuclear Science 21 (1974)",
    ),
    "text": _File(
        "skimage/data/text.png",
        "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
        "L",
        FREE,
        "Wikipedia: Corner.png",
    ),
}


class Picture(NamedTuple):
    """One picture.

    Attributes:
      image: [h, w, 3] float32 colour or [h, w] float32 grey, in [0, 1].
      name: what it is called here.
      licence: terms of use, with the author where they ask for it.
      source: who made it.
      sha256: of the bytes of the file that was read.
    """

    image: np.ndarray
    name: str
    licence: str
    source: str
    sha256: str


def _read(path: str, sha256: str) -> bytes:
    package, _, rest = path.partition("/")
    return read_checked(extras.folder(package, "data") / rest, sha256)


def picture(name: str) -> Picture:
    """A real picture by name, "china" or "astronaut"; `PICTURES` has all names. Needs the extra `data`.

    The file is known by its hash; decoders of JPEG may differ in the last of 8 bits.

    Args:
      name: a key of `PICTURES`; the names are those of scikit-learn and scikit-image.

    Returns:
      The picture.

    Raises:
      ValueError: there is no picture of that name.
      ImportError: the package that carries it is missing.
      DataError: the file is missing, or not the one known.
    """
    if name not in PICTURES:
        raise ValueError(f"name: expected one of {', '.join(PICTURES)}; got {name!r}")
    import PIL.Image

    file = PICTURES[name]
    with PIL.Image.open(io.BytesIO(_read(file.path, file.sha256))) as image:
        pixels = np.asarray(image.convert("L" if file.mode == "1" else file.mode), np.float32) / 255
    return Picture(
        image=(pixels > 0.5).astype(np.float32) if file.mode == "1" else pixels,
        name=name,
        licence=file.licence,
        source=file.source,
        sha256=file.sha256,
    )


def lfw_subset() -> Dataset:
    """Faces, 1, and background, 0: x [200, 25, 25] float32 grey in [0, 1], y [200] int32. Needs the extra `data`."""
    sha256 = "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c"
    images = np.load(io.BytesIO(_read("skimage/data/lfw_subset.npy", sha256)), allow_pickle=False)
    return Dataset(
        x=images.astype(np.float32),
        y=np.repeat(np.array([1, 0], np.int32), 100),
        name="lfw_subset",
        licence=UNSTATED,
        source="Huang et al.: Labeled Faces in the Wild (2012)",
        sha256=sha256,
        target_names=("background", "face"),
    )
