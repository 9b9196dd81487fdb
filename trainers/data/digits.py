"""scikit-learn's digits as a TFDS data set: real images, available without a network."""

import numpy as np
import tensorflow_datasets as tfds

# A fifth of each class's 180 or so images is for testing: 1,437 and 360 images in total.
_TEST_IMAGES = 360
_SEED = 0


class Digits(tfds.core.GeneratorBasedBuilder):
    """The 1,797 handwritten digits of `sklearn.datasets.load_digits`, 8x8 pixels, grey.

    TFDS registers it by name: after this module is imported, `tfds.load("digits")` works.
    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "A stratified split of scikit-learn's 1,797 images."}  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="1,797 handwritten digits of 8x8 pixels, from scikit-learn.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        # Imported here, so that only the first use of the data waits for scikit-learn.
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        # 0..16 becomes 0..255, so that the pixels use the range of every other image.
        images = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        train, test = train_test_split(
            np.arange(len(labels)), test_size=_TEST_IMAGES, random_state=_SEED, stratify=labels
        )
        return {
            "train": self._generate_examples(images, labels, train),
            "test": self._generate_examples(images, labels, test),
        }

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray, chosen: np.ndarray):
        for index in chosen:
            yield int(index), {"image": images[index], "label": int(labels[index])}
