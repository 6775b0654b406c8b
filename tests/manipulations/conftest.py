import cv2
import numpy as np
import pytest
from skimage import data


@pytest.fixture(scope="session")
def photos():
    """uint8 [3, 64, 64, 3]: a face, a cup of coffee, a cat."""
    crops = (
        data.astronaut()[:256, 96:352],
        data.coffee()[:384, :384],
        data.chelsea()[:300, :300],
    )
    return np.stack(
        [cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA) for crop in crops]
    )


@pytest.fixture(scope="session")
def images(photos):
    """The same as float32 in [0, 1]."""
    return (photos / 255).astype(np.float32)
